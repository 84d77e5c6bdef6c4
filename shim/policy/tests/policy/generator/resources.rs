//! Resources: every group.

use proptest::prelude::*;
use serde_json::json;

use super::devices;
use super::parts::{Json, Temper, list, map, maybe, merged, numbers, object, pick, truth, words};

const SIGNED: &[i64] = &[i64::MIN, -1, 0, 1, 4095, 4096, 1 << 20, 1 << 30, 1 << 36, (1 << 36) + 1, i64::MAX];

const RATES: &[u64] = &[0, 1, 999, 1000, 100_000, 1 << 40, u64::MAX];

pub(super) fn of(temper: Temper) -> Json {
    object(vec![
        ("devices", maybe(80, devices::rules(temper))),
        ("memory", maybe(80, memory())),
        ("cpu", maybe(80, cpu())),
        ("pids", maybe(60, object(vec![("limit", numbers(&[i64::MIN, -1, 0, 1, 2048, 4096, 4097, i64::MAX]))]))),
        ("blockIO", maybe(30, block_io())),
        ("hugepageLimits", maybe(30, hugepages())),
        ("network", maybe(20, network())),
        ("rdma", maybe(20, rdma())),
        ("unified", maybe(60, unified(temper))),
    ])
}

fn memory() -> Json {
    object(vec![
        ("limit", maybe(80, numbers(SIGNED))),
        ("reservation", maybe(30, numbers(SIGNED))),
        ("swap", maybe(60, numbers(SIGNED))),
        ("kernel", maybe(20, numbers(SIGNED))),
        ("kernelTCP", maybe(20, numbers(SIGNED))),
        ("swappiness", maybe(20, numbers(&[0_u64, 60, 100, u64::MAX]))),
        ("disableOOMKiller", maybe(30, truth())),
        ("useHierarchy", maybe(20, truth())),
        ("checkBeforeUpdate", maybe(20, truth())),
    ])
}

fn cpu() -> Json {
    object(vec![
        ("shares", maybe(50, numbers(&[0_u64, 2, 1024, 262_144, u64::MAX]))),
        ("quota", maybe(70, numbers(&[i64::MIN, -1, 0, 1, 999, 1000, 50_000, 800_000, 800_001, i64::MAX]))),
        ("burst", maybe(30, numbers(RATES))),
        ("period", maybe(60, numbers(&[0_u64, 1, 999, 1000, 50_000, 100_000, 1_000_000, u64::MAX]))),
        ("realtimeRuntime", maybe(20, numbers(SIGNED))),
        ("realtimePeriod", maybe(20, numbers(RATES))),
        ("cpus", maybe(30, words(&["", "0", "0-3", "0,2"]))),
        ("mems", maybe(30, words(&["", "0"]))),
        ("idle", maybe(20, numbers(&[0_i64, 1, -1]))),
    ])
}

fn block_io() -> Json {
    let weight: fn() -> Json = || numbers(&[0_u16, 10, 500, 1000, u16::MAX]);
    // One that is no disk's refuses the whole.
    let majors: fn() -> Json = || numbers(&[0_i64, 8, 8, 0, 8, 0, 8, 0, 8, 0, 8, 0, 8, 0, 8, 0, 8, 0, 8, -1]);
    let device = || object(vec![("major", majors()), ("minor", numbers(&[0_i64, 16]))]);
    let weighed =
        merged(vec![device(), object(vec![("weight", maybe(60, weight())), ("leafWeight", maybe(40, weight()))])]);
    let throttled = || maybe(40, list(merged(vec![device(), object(vec![("rate", numbers(RATES))])]), 2));
    object(vec![
        ("weight", maybe(50, weight())),
        ("leafWeight", maybe(40, weight())),
        ("weightDevice", maybe(40, list(weighed, 2))),
        ("throttleReadBpsDevice", throttled()),
        ("throttleWriteBpsDevice", throttled()),
        ("throttleReadIOPSDevice", throttled()),
        ("throttleWriteIOPSDevice", throttled()),
    ])
}

fn hugepages() -> Json {
    let limit = numbers(&[0_u32, 1, 1 << 30]);
    list(object(vec![("pageSize", words(&["2MB", "1GB", "64KB"])), ("limit", limit)]), 3)
}

fn network() -> Json {
    let priority = object(vec![("name", words(&["eth0", "lo"])), ("priority", numbers(&[0_u32, 500, u32::MAX]))]);
    object(vec![
        ("classID", maybe(60, numbers(&[0_u32, 1_048_577, u32::MAX]))),
        ("priorities", maybe(60, list(priority, 2))),
    ])
}

fn rdma() -> Json {
    let limits: fn() -> Json = || maybe(60, numbers(&[0_u32, 3, u32::MAX]));
    map(&["mlx5_1", "mlx4_0"], object(vec![("hcaHandles", limits()), ("hcaObjects", limits())]), 2)
}

/// The files of cgroup v2, each with values of its own.
fn unified(temper: Temper) -> Json {
    let file = |name: &'static str, values: &'static [&'static str]| {
        let value = maybe(25, words(values));
        value.prop_map(move |value| if value.is_null() { json!({}) } else { json!({name: value}) }).boxed()
    };
    let sizes: &[&str] = &["max", "0", "1", "4096", "1073741824", "99999999999999"];
    let known = merged(vec![
        file("memory.max", sizes),
        file("memory.high", sizes),
        file("memory.min", sizes),
        file("memory.low", sizes),
        file("memory.swap.max", sizes),
        file("memory.oom.group", &["0", "1"]),
        file("pids.max", &["max", "0", "1", "2048", "4096", "4097"]),
        file("cpu.max", &["max", "max 100000", "1000", "50000 100000", "900000 100000", "1 1000000", "max 1000"]),
        file("cpu.weight", &["1", "100", "10000"]),
        file("cpu.weight.nice", &["-20", "0", "19"]),
        file("cpu.idle", &["0", "1"]),
        file("io.max", &["8:0 rbps=max", "8:0 rbps=1 wiops=99999999", "8:16 wbps=7 riops=max"]),
        file("io.weight", &["1", "default 10000", "8:0 100"]),
        file("io.bfq.weight", &["1", "default 1000", "8:0 100"]),
    ]);
    let unknown = pick(vec![
        json!({"cgroup.procs": "1"}),
        json!({"io.latency": "8:0 target=10"}),
        json!({"memory.max": "1k"}),
        json!({"cpu.max": "1 2 3"}),
        json!({"cpu.max": "1000 5"}),
        json!({"../x": "1"}),
        json!({"pids.max": "99999999999999999999"}),
    ]);
    temper.mix(known.clone(), merged(vec![known, unknown]))
}
