//! Limits. One that is absent, zero or negative is none.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Dimension, at, changed, filled, items, place, push, put, seen};

pub(super) const ALL: &[Dimension] = &[
    Dimension::new("memory", |a, b| memory(a, b, "limit"), |d| lift(d, "limit")),
    Dimension::new("swap", |a, b| memory(a, b, "swap"), |d| lift(d, "swap")),
    Dimension::new("memory reservation", |a, b| memory(a, b, "reservation"), |d| lift(d, "reservation")),
    Dimension::new("kernel memory", |a, b| memory(a, b, "kernel"), |d| lift(d, "kernel")),
    Dimension::new("kernel TCP memory", |a, b| memory(a, b, "kernelTCP"), |d| lift(d, "kernelTCP")),
    Dimension::new(
        "swappiness",
        |a, b| changed(a, b, "/linux/resources/memory/swappiness"),
        |d| {
            put(d, "/linux/resources/memory/swappiness", json!(100));
        },
    ),
    Dimension::new("OOM killer", oom_killer, |d| put(d, "/linux/resources/memory/disableOOMKiller", json!(true))),
    Dimension::new("CPU quota", cpu, |d| put(d, "/linux/resources/cpu/quota", json!(-1))),
    Dimension::new(
        "CPU burst",
        |a, b| filled(a, b, "/linux/resources/cpu/burst"),
        |d| {
            put(d, "/linux/resources/cpu/burst", json!(99_999));
        },
    ),
    Dimension::new(
        "real-time budget",
        |a, b| filled(a, b, "/linux/resources/cpu/realtimeRuntime"),
        |d| {
            put(d, "/linux/resources/cpu/realtimeRuntime", json!(950_000));
        },
    ),
    Dimension::new(
        "real-time period",
        |a, b| filled(a, b, "/linux/resources/cpu/realtimePeriod"),
        |d| {
            put(d, "/linux/resources/cpu/realtimePeriod", json!(1_000_000));
        },
    ),
    Dimension::new(
        "CPU shares",
        |a, b| changed(a, b, "/linux/resources/cpu/shares"),
        |d| {
            put(d, "/linux/resources/cpu/shares", json!(262_144));
        },
    ),
    Dimension::new(
        "CPUs",
        |a, b| beyond(a, b, "/linux/resources/cpu/cpus"),
        |d| {
            put(d, "/linux/resources/cpu/cpus", json!("0-7"));
        },
    ),
    Dimension::new(
        "memory nodes",
        |a, b| beyond(a, b, "/linux/resources/cpu/mems"),
        |d| {
            put(d, "/linux/resources/cpu/mems", json!("0-7"));
        },
    ),
    Dimension::new(
        "tasks",
        |a, b| lower(a, b, "/linux/resources/pids/limit"),
        |d| {
            put(d, "/linux/resources/pids/limit", json!(-1));
        },
    ),
    Dimension::new("huge pages", huge_pages, |d| {
        push(d, "/linux/resources/hugepageLimits", json!({"pageSize": "2MB", "limit": i64::MAX}));
    }),
    Dimension::new("disk throttles", disk, |d| {
        let block = place(d, "/linux/resources/blockIO");
        THROTTLES.iter().for_each(|list| put(block, &format!("/{list}"), json!([])));
    }),
    Dimension::new("disk weight", weight, |d| put(d, "/linux/resources/blockIO/weight", json!(1000))),
    Dimension::new(
        "RDMA",
        |a, b| changed(a, b, "/linux/resources/rdma"),
        |d| {
            put(d, "/linux/resources/rdma", json!({}));
        },
    ),
    Dimension::new(
        "network",
        |a, b| filled(a, b, "/linux/resources/network"),
        |d| {
            put(d, "/linux/resources/network/classID", json!(1_048_577));
        },
    ),
    Dimension::new("cgroup files", files, |d| put(d, "/linux/resources/unified/memory.low", json!("max"))),
    Dimension::new("cgroup limits", file_limits, |d| {
        for name in ["memory.max", "memory.high", "memory.swap.max", "pids.max", "cpu.max"] {
            let file = place(d, "/linux/resources/unified").get_mut(name);
            if let Some(value) = file.filter(|value| value.as_str().is_some_and(|text| text.parse::<u64>().is_ok())) {
                *value = json!("max");
            }
        }
    }),
];

/// A limit; none counts as the highest.
fn limit(value: &Value) -> u64 {
    value.as_u64().filter(|limit| *limit > 0).unwrap_or(u64::MAX)
}

fn lower(before: &Value, after: &Value, pointer: &str) -> Option<String> {
    let (old, new) = (limit(at(before, pointer)), limit(at(after, pointer)));
    seen(new > old, || format!("was {old} and is {new}"))
}

fn memory(before: &Value, after: &Value, field: &str) -> Option<String> {
    lower(before, after, &format!("/linux/resources/memory/{field}"))
}

fn lift(document: &mut Value, field: &str) {
    put(document, &format!("/linux/resources/memory/{field}"), json!(-1));
}

fn oom_killer(before: &Value, after: &Value) -> Option<String> {
    let off = |document: &Value| *at(document, "/linux/resources/memory/disableOOMKiller") == json!(true);
    seen(off(after) && !off(before), || "is off".to_owned())
}

/// Microseconds of CPU time, in how many.
fn share(document: &Value) -> Option<(u128, u128)> {
    let cpu = at(document, "/linux/resources/cpu");
    let quota = cpu["quota"].as_u64().filter(|quota| *quota > 0)?;
    let period = cpu["period"].as_u64().filter(|period| *period > 0).unwrap_or(100_000);
    Some((quota.into(), period.into()))
}

fn cpu(before: &Value, after: &Value) -> Option<String> {
    let (quota, period) = share(before)?;
    let more = share(after).is_none_or(|(new_quota, new_period)| new_quota * period > quota * new_period);
    seen(more, || format!("was {quota}/{period} and is {:?}", share(after)))
}

/// The last limit of a size counts.
fn huge_pages(before: &Value, after: &Value) -> Option<String> {
    let list = |document| items(document, "/linux/resources/hugepageLimits").iter();
    // Zero is a limit here: no such page at all.
    let of = |document, size: &Value| {
        let last = list(document).rev().find(|limit| limit["pageSize"] == *size);
        last.and_then(|limit| limit["limit"].as_u64()).unwrap_or(u64::MAX)
    };
    list(before).find_map(|one| {
        let (old, new) = (of(before, &one["pageSize"]), of(after, &one["pageSize"]));
        seen(new > old, || format!("{} was {old} and is {new}", one["pageSize"]))
    })
}

const THROTTLES: [&str; 4] =
    ["throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice"];

/// The last rate of a disk counts, and zero is none.
fn disk(before: &Value, after: &Value) -> Option<String> {
    let of = |document, list: &str, disk: &Value| {
        let mut all = items(document, &format!("/linux/resources/blockIO/{list}")).iter().rev();
        let last = all.find(|other| (&other["major"], &other["minor"]) == (&disk["major"], &disk["minor"]));
        last.map_or(u64::MAX, |last| limit(&last["rate"]))
    };
    THROTTLES.iter().find_map(|list| {
        let disks = items(before, &format!("/linux/resources/blockIO/{list}")).iter();
        disks.into_iter().find_map(|one| {
            let (old, new) = (of(before, list, one), of(after, list, one));
            seen(new > old, || format!("{list} of {one} was {old} and is {new}"))
        })
    })
}

/// None is the kernel's, 100.
fn weight(before: &Value, after: &Value) -> Option<String> {
    let weights = |document| -> Vec<(String, u64)> {
        let block = at(document, "/linux/resources/blockIO");
        let devices = block["weightDevice"].as_array().into_iter().flatten();
        let devices =
            devices.enumerate().map(|(i, device)| (format!("{i} {} {}", device["major"], device["minor"]), device));
        let all = devices.chain([("all".to_owned(), block)]);
        let of = |(name, of): (String, &Value)| {
            ["weight", "leafWeight"].map(|key| (format!("{name} {key}"), of[key].as_u64().unwrap_or(100)))
        };
        all.flat_map(of).collect()
    };
    let (old, new) = (weights(before), weights(after));
    let of = |name: &String| old.iter().find(|(known, _)| known == name).map_or(100, |(_, weight)| *weight);
    let more = new.iter().find(|(name, weight)| *weight > of(name));
    more.map(|(name, weight)| format!("{name} was {} and is {weight}", of(name)))
}

/// Of a list of numbers; none is all.
fn beyond(before: &Value, after: &Value, pointer: &str) -> Option<String> {
    let numbers = |document| -> Option<BTreeSet<u32>> {
        let text = at(document, pointer).as_str().filter(|text| !text.is_empty())?;
        let ranges = text.split(',').map(|range| range.split_once('-').unwrap_or((range, range)));
        let of = |text: &str| text.parse::<u32>().unwrap();
        Some(ranges.flat_map(|(first, last)| of(first)..=of(last)).collect())
    };
    let old = numbers(before)?;
    let more = numbers(after).is_none_or(|new| !new.is_subset(&old));
    seen(more, || format!("{pointer} was {} and is {}", at(before, pointer), at(after, pointer)))
}

const FILES: &str = "/linux/resources/unified";

/// Files of the cgroup that nobody asked for, and limits in them that are gone.
fn files(before: &Value, after: &Value) -> Option<String> {
    let names = |document: &Value| -> Vec<String> {
        at(document, FILES).as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let (old, mut new) = (names(before), names(after));
    // These only slow a container down, and end more of it.
    new.retain(|name| old.contains(name) || !["memory.high", "memory.oom.group"].contains(&name.as_str()));
    seen(old != new, || format!("were {old:?} and are {new:?}"))
}

/// How much a cgroup file lets through, as (amount, in how much).
fn amount(name: &str, text: &str) -> (u128, u128) {
    const MOST: u128 = u64::MAX as u128;
    let number = |text: &str| text.parse().unwrap_or(MOST);
    match (name, text.split_once(' ')) {
        ("cpu.max", Some((quota, period))) => (number(quota), number(period)),
        ("cpu.max", None) => (number(text), 100_000),
        _ => (number(text), 1),
    }
}

/// Files that limit; all others have the value that was asked for.
const LIMITS: [&str; 5] = ["memory.max", "memory.high", "memory.swap.max", "pids.max", "cpu.max"];

/// Whether a file about disks lets more through.
fn has_more_of_disks(name: &str, old: &str, new: &str) -> bool {
    let numbers = |text: &str| -> Vec<u128> {
        let words = text.split_whitespace().filter(|word| !word.contains(':') && *word != "default");
        words.map(|word| amount(name, word.rsplit('=').next().unwrap()).0).collect()
    };
    let keys = |text: &str| -> Vec<String> {
        text.split_whitespace()
            .map(|word| word.split('=').next().unwrap().to_owned())
            .filter(|key| key.parse::<u64>().is_err())
            .collect()
    };
    keys(old) != keys(new) || numbers(old).iter().zip(numbers(new)).any(|(old, new)| new > *old)
}

fn file_limits(before: &Value, after: &Value) -> Option<String> {
    let files = at(before, FILES).as_object().into_iter().flatten();
    let mut pairs = files.filter_map(|(name, old)| Some((name, old.as_str()?, at(after, FILES).get(name)?.as_str()?)));
    pairs.find_map(|(name, old, new)| {
        let ((old_amount, old_whole), (new_amount, new_whole)) = (amount(name, old), amount(name, new));
        let more = new_amount * old_whole > old_amount * new_whole;
        let gained = match name.as_str() {
            "io.max" | "io.weight" | "io.bfq.weight" => has_more_of_disks(name, old, new),
            // Whom the OOM killer ends is nobody's gain.
            "memory.oom.group" => false,
            name if LIMITS.contains(&name) => more,
            _ => old != new,
        };
        seen(gained, || format!("{name} was {old:?} and is {new:?}"))
    })
}
