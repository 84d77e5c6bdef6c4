//! The unified hierarchy's files. Source: the kernel's Documentation/admin-guide/cgroup-v2.rst.

use std::collections::BTreeSet;

use oci_spec::runtime::LinuxResources;

use super::super::apply::{io_weight, weight_of_shares};
use super::{Limit, Value, has_swap, hugetlb, numbers_of, throttles, weight_of_all, weights_of_disks};

/// `systemds`: systemd has a hand in the cgroup.
pub(super) fn limits(resources: &LinuxResources, systemds: bool, limits: &mut Vec<Limit>) {
    let has = |name: &str| resources.unified().as_ref().is_some_and(|unified| unified.contains_key(name));
    // Three files are one weight.
    let given = |name: &str| match name {
        "cpu.weight" => ["cpu.weight", "cpu.weight.nice", "cpu.idle"].into_iter().any(has),
        // A line changes the rates that it names.
        "io.max" => false,
        name => has(name),
    };
    let mut all = Vec::new();
    memory(resources, &mut all);
    cpu(resources, &mut all);
    if let Some(pids) = resources.pids().map(|pids| pids.limit()).filter(|limit| *limit != 0) {
        all.push(Limit::new("pids", "pids.max", Value::number(pids)));
    }
    all.extend(resources.hugepage_limits().iter().flatten().map(|page| hugetlb(page, "max")));
    weights(resources, &mut all);
    let rates = rates_of_unified(resources);
    for (_, key, device) in throttles(resources) {
        let device_and_key = format!("{} {key}", numbers_of(device));
        if rates.contains(&device_and_key) {
            continue;
        }
        let value = Value::OfDevice { device: numbers_of(device), word: format!("{key}={}", device.rate()) };
        all.push(Limit::new("io", "io.max", value));
    }
    // What `unified` says of a file is written last and counts.
    limits.extend(all.into_iter().filter(|limit| !given(&limit.file)));
    let of_limits = |(file, _): &(&String, &String)| !systemds || *file != WHO_IS_KILLED;
    let mut unified: Vec<_> = resources.unified().iter().flatten().filter(of_limits).collect();
    unified.sort();
    for (file, text) in unified {
        let without_swap = file == "memory.swap.max" && !has_swap();
        let values = text.lines().flat_map(|line| values(file, line));
        limits.extend(values.map(|value| Limit::new("unified", file, value).optional_if(without_swap)));
    }
}

/// Systemd writes its own over it whenever it changes or reads a unit (before version 253).
const WHO_IS_KILLED: &str = "memory.oom.group";

/// BFQ's file where that scheduler is there, else the cost model's.
fn weights(resources: &LinuxResources, limits: &mut Vec<Limit>) {
    let of = |file: &str, weight: u64| Limit::new("io", file, Value::Line(format!("default {weight}")));
    if let Some(weight) = weight_of_all(resources) {
        let other = of("io.weight", io_weight(weight));
        limits.push(of("io.bfq.weight", weight).or(other));
    }
    limits.extend(weights_of_disks(resources).map(|line| Limit::new("io", "io.bfq.weight", line)));
}

/// The rates that `io.max` of `unified` gives, each as disk and key.
fn rates_of_unified(resources: &LinuxResources) -> BTreeSet<String> {
    let text = resources.unified().as_ref().and_then(|unified| unified.get("io.max"));
    let lines = text.into_iter().flat_map(|text| text.lines());
    let of_line = |line: &str| -> Vec<String> {
        let mut words = line.split_whitespace();
        let disk = words.next().unwrap_or_default().to_owned();
        words.filter_map(|word| Some(format!("{disk} {}", word.split_once('=')?.0))).collect()
    };
    lines.flat_map(of_line).collect()
}

/// Files of `memory.` that hold bytes; what else begins so is numbers.
const BYTES: [&str; 7] = [
    "memory.max",
    "memory.high",
    "memory.low",
    "memory.min",
    "memory.swap.max",
    "memory.swap.high",
    "memory.zswap.max",
];

/// What a file shows once this line was written.
fn values(file: &str, text: &str) -> Vec<Value> {
    let mut words = text.split_whitespace();
    match (file, words.next(), words.next()) {
        // The period stays.
        ("cpu.max", Some(quota), None) => vec![Value::First(quota.to_owned())],
        ("io.max", Some(device), Some(_)) => {
            let words = text.split_whitespace().skip(1);
            words.map(|word| Value::OfDevice { device: device.to_owned(), word: word.to_owned() }).collect()
        }
        ("io.weight" | "io.bfq.weight", Some(weight), None) => vec![Value::Line(format!("default {weight}"))],
        _ => vec![value(file, text)],
    }
}

fn value(file: &str, text: &str) -> Value {
    match text.trim().parse::<u64>() {
        _ if text.trim() == "max" => Value::Number(None),
        Ok(number) if BYTES.contains(&file) => Value::Bytes(Some(number)),
        Ok(number) => Value::Number(Some(number)),
        Err(_) if file.starts_with("cpuset.") && file != "cpuset.cpus.partition" => Value::List(text.into()),
        Err(_) => Value::Line(text.into()),
    }
}

fn memory(resources: &LinuxResources, limits: &mut Vec<Limit>) {
    let Some(memory) = resources.memory() else { return };
    let given = |value: Option<i64>| value.filter(|value| *value != 0);
    let mut push = |file: &str, value: Option<i64>, optional| {
        limits.extend(value.map(|value| Limit::new("memory", file, Value::bytes(value)).optional_if(optional)));
    };
    push("memory.max", given(memory.limit()), false);
    let swap = match (given(memory.swap()), given(memory.limit())) {
        (Some(-1), _) => Some(-1),
        // v2 limits swap alone; the specification gives the sum.
        (Some(sum), Some(limit)) if limit > 0 => Some(sum - limit),
        _ => None,
    };
    push("memory.swap.max", swap, !has_swap());
    push("memory.low", given(memory.reservation()), false);
}

fn cpu(resources: &LinuxResources, limits: &mut Vec<Limit>) {
    let Some(cpu) = resources.cpu() else { return };
    let (quota, period) = (cpu.quota().filter(|it| *it != 0), cpu.period().filter(|it| *it != 0));
    let quota = quota.map(|quota| if quota < 0 { "max".to_owned() } else { quota.to_string() });
    match (quota, period) {
        (Some(quota), Some(period)) => {
            limits.push(Limit::new("cpu", "cpu.max", Value::Words(format!("{quota} {period}"))))
        }
        // The kernel's default, which every runtime writes.
        (Some(quota), None) => limits.push(Limit::new("cpu", "cpu.max", Value::Words(format!("{quota} 100000")))),
        (None, _) => {}
    }
    if let Some(weights) = cpu.shares().and_then(cpu_weights) {
        limits.push(Limit::new("cpu", "cpu.weight", Value::OneOf(weights)));
    }
    for (file, list) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
        let list = list.clone().filter(|list| !list.is_empty());
        limits.extend(list.map(|list| Limit::new("cpuset", file, Value::List(list))));
    }
}

/// By the curve of newer runtimes and by the line of older ones. Source: kubernetes/kubernetes#131216.
fn cpu_weights(shares: u64) -> Option<BTreeSet<u64>> {
    let curve = weight_of_shares(shares)?;
    let line = 1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142;
    Some(BTreeSet::from([curve, line]))
}
