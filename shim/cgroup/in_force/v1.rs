//! The v1 controllers' files. Source: the kernel's Documentation/admin-guide/cgroup-v1.

use oci_spec::runtime::LinuxResources;

use super::{Limit, Value, has_swap, hugetlb, numbers_of, throttles, weight_of_all, weights_of_disks};

pub(super) fn limits(resources: &LinuxResources, limits: &mut Vec<Limit>) {
    memory(resources, limits);
    cpu(resources, limits);
    if let Some(pids) = resources.pids().map(|pids| pids.limit()).filter(|limit| *limit != 0) {
        limits.push(Limit::new("pids", "pids.max", Value::number(pids)));
    }
    limits.extend(resources.hugepage_limits().iter().flatten().map(|page| hugetlb(page, "limit_in_bytes")));
    if let Some(weight) = weight_of_all(resources) {
        let of = |file: &str| Limit::new("blkio", file, Value::Number(Some(weight)));
        limits.push(of("blkio.bfq.weight").or(of("blkio.weight")));
    }
    let disks = weights_of_disks(resources).map(|line| Limit::new("blkio", "blkio.bfq.weight_device", line));
    limits.extend(disks);
    for (file, _, device) in throttles(resources) {
        let line = format!("{} {}", numbers_of(device), device.rate());
        limits.push(Limit::new("blkio", format!("blkio.throttle.{file}"), Value::Line(line)));
    }
}

fn memory(resources: &LinuxResources, limits: &mut Vec<Limit>) {
    let Some(memory) = resources.memory() else { return };
    let mut push = |file: &str, value: Option<i64>, optional| {
        let given = value.filter(|value| *value != 0);
        limits.extend(given.map(|value| Limit::new("memory", file, Value::bytes(value)).optional_if(optional)));
    };
    push("memory.limit_in_bytes", memory.limit(), false);
    let without_swap = memory.swap() == Some(-1) || !has_swap();
    push("memory.memsw.limit_in_bytes", memory.swap(), without_swap);
    push("memory.soft_limit_in_bytes", memory.reservation(), false);
}

fn cpu(resources: &LinuxResources, limits: &mut Vec<Limit>) {
    let Some(cpu) = resources.cpu() else { return };
    let mut push = |controller, file: &str, value: Option<Value>| {
        limits.extend(value.map(|value| Limit::new(controller, file, value)));
    };
    let unsigned = |value: Option<u64>| value.filter(|value| *value != 0).map(|value| Value::Number(Some(value)));
    push("cpu", "cpu.cfs_period_us", unsigned(cpu.period()));
    push("cpu", "cpu.cfs_quota_us", cpu.quota().filter(|quota| *quota != 0).map(Value::number));
    push(
        "cpu",
        "cpu.shares",
        unsigned(cpu.shares().map(|shares| if shares == 0 { 0 } else { shares.clamp(2, 262_144) })),
    );
    let list = |list: &Option<String>| list.clone().filter(|list| !list.is_empty()).map(Value::List);
    push("cpuset", "cpuset.cpus", list(cpu.cpus()));
    push("cpuset", "cpuset.mems", list(cpu.mems()));
}
