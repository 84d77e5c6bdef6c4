//! The v1 controllers' files.

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::{MemoryLimits, check_usage, hugetlb_file, or_max, rdma, refuse_leaf_weights, settle, throttles};
use crate::cgroup::directory::Directory;
use crate::cgroup::{Cgroup, CgroupError};

pub(super) fn apply(cgroup: &Cgroup, resources: &LinuxResources) -> Result<(), CgroupError> {
    if let Some(unified) = resources.unified().as_ref().filter(|unified| !unified.is_empty()) {
        return Err(CgroupError::Refused {
            field: "unified",
            value: unified.keys().cloned().collect::<Vec<_>>().join(" "),
            allowed: "absent on a node with cgroup v1",
        });
    }
    if let Some(memory) = resources.memory() {
        apply_memory(cgroup, memory)?;
    }
    if let Some(cpu) = resources.cpu() {
        apply_cpu(cgroup, cpu)?;
        apply_cpuset(cgroup, cpu)?;
    }
    if let Some(limit) = resources.pids().map(|pids| pids.limit()).filter(|limit| *limit != 0) {
        cgroup.required("pids")?.write("pids.max", &or_max(limit))?;
    }
    apply_block_io(cgroup, resources)?;
    for page in resources.hugepage_limits().iter().flatten() {
        let file = hugetlb_file(page.page_size(), "limit_in_bytes")?;
        cgroup.required("hugetlb")?.write(&file, &page.limit().to_string())?;
    }
    if resources.rdma().as_ref().is_some_and(|devices| !devices.is_empty()) {
        rdma(cgroup.required("rdma")?, resources)?;
    }
    Ok(())
}

fn apply_memory(cgroup: &Cgroup, memory: &LinuxMemory) -> Result<(), CgroupError> {
    let limits = MemoryLimits::of(memory)?;
    let mut settings = Vec::new();
    let mut set = |name: &str, value: Option<i64>| {
        settings.extend(value.filter(|it| *it != 0).map(|it| (name.to_owned(), it.to_string())));
    };
    set("memory.limit_in_bytes", limits.memory);
    set("memory.memsw.limit_in_bytes", limits.with_swap);
    set("memory.soft_limit_in_bytes", memory.reservation());
    // memory.kernel is obsolete since Linux 5.4 and runc ignores it, too: kernel memory counts as memory.
    set("memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp());
    if let Some(swappiness) = memory.swappiness() {
        settings.push(("memory.swappiness".to_owned(), swappiness.to_string()));
    }
    if let Some(disable) = memory.disable_oom_killer() {
        settings.push(("memory.oom_control".to_owned(), u8::from(disable).to_string()));
    }
    if settings.is_empty() {
        return Ok(());
    }
    let directory = cgroup.required("memory")?;
    check_usage(directory, memory, "memory.usage_in_bytes")?;
    // A kernel without swap accounting has no memsw: no limit on it is what it does anyway.
    if limits.with_swap == Some(-1) && !directory.has("memory.memsw.limit_in_bytes") {
        settings.retain(|(name, _)| name != "memory.memsw.limit_in_bytes");
    }
    settle(directory, settings)
}

fn apply_cpu(cgroup: &Cgroup, cpu: &LinuxCpu) -> Result<(), CgroupError> {
    let mut settings = Vec::new();
    let mut set = |name: &str, value: Option<String>| settings.extend(value.map(|it| (name.to_owned(), it)));
    let unsigned = |value: Option<u64>| value.filter(|it| *it != 0).map(|it| it.to_string());
    let signed = |value: Option<i64>| value.filter(|it| *it != 0).map(|it| it.to_string());
    set("cpu.cfs_period_us", unsigned(cpu.period()));
    set("cpu.cfs_quota_us", signed(cpu.quota()));
    // Zero is a burst, the default, and an idle state.
    set("cpu.cfs_burst_us", cpu.burst().map(|it| it.to_string()));
    set("cpu.idle", cpu.idle().map(|it| it.to_string()));
    set("cpu.rt_period_us", unsigned(cpu.realtime_period()));
    set("cpu.rt_runtime_us", signed(cpu.realtime_runtime()));
    if !settings.is_empty() {
        settle(cgroup.required("cpu")?, settings)?;
    }
    match cpu.shares().filter(|shares| *shares != 0) {
        Some(shares) => apply_shares(cgroup.required("cpu")?, shares),
        None => Ok(()),
    }
}

/// The kernel caps shares without a word, so what it took is read back.
fn apply_shares(directory: &Directory, shares: u64) -> Result<(), CgroupError> {
    directory.write("cpu.shares", &shares.to_string())?;
    match directory.number("cpu.shares")? {
        Some(taken) if taken == shares => Ok(()),
        _ => Err(CgroupError::Refused {
            field: "cpu.shares",
            value: shares.to_string(),
            allowed: "2 to 262144; the kernel has set the nearest",
        }),
    }
}

fn apply_cpuset(cgroup: &Cgroup, cpu: &LinuxCpu) -> Result<(), CgroupError> {
    for (name, list) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            cgroup.required("cpuset")?.write(name, list)?;
        }
    }
    Ok(())
}

fn apply_block_io(cgroup: &Cgroup, resources: &LinuxResources) -> Result<(), CgroupError> {
    refuse_leaf_weights(resources)?;
    let block_io = resources.block_io().as_ref();
    if let Some(weight) = block_io.and_then(|it| it.weight()).filter(|weight| *weight != 0) {
        cgroup.required("blkio")?.write("blkio.bfq.weight", &weight.to_string())?;
    }
    for device in block_io.and_then(|it| it.weight_device().as_ref()).into_iter().flatten() {
        let Some(weight) = device.weight().filter(|weight| *weight != 0) else {
            continue;
        };
        let line = format!("{}:{} {weight}", device.major(), device.minor());
        cgroup.required("blkio")?.write("blkio.bfq.weight_device", &line)?;
    }
    for (file, _, device) in throttles(resources) {
        let line = format!("{}:{} {}", device.major(), device.minor(), device.rate());
        cgroup.required("blkio")?.write(&format!("blkio.throttle.{file}"), &line)?;
    }
    Ok(())
}
