//! The unified hierarchy's files (cgroup-v2.rst).

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::{MemoryLimits, Setting, check_usage, hugetlb_file, or_max, rdma, refuse_leaf_weights, settle, throttles};
use crate::cgroup::CgroupError;
use crate::cgroup::directory::Directory;

pub(super) fn apply(directory: &Directory, resources: &LinuxResources) -> Result<(), CgroupError> {
    if let Some(memory) = resources.memory() {
        apply_memory(directory, memory)?;
    }
    if let Some(cpu) = resources.cpu() {
        apply_cpu(directory, cpu)?;
        for (name, list) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
            if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
                directory.write(name, list)?;
            }
        }
    }
    if let Some(limit) = resources.pids().map(|pids| pids.limit()).filter(|limit| *limit != 0) {
        directory.write("pids.max", &or_max(limit))?;
    }
    apply_block_io(directory, resources)?;
    for page in resources.hugepage_limits().iter().flatten() {
        let limit = or_max(page.limit());
        directory.write(&hugetlb_file(page.page_size(), "max")?, &limit)?;
        // Reserved pages count apart and are taken at mmap; kernels before 5.7 have no such file.
        let reserved = hugetlb_file(page.page_size(), "rsvd.max")?;
        if directory.has(&reserved) {
            directory.write(&reserved, &limit)?;
        }
    }
    rdma(directory, resources)?;
    apply_unified(directory, resources)
}

fn apply_memory(directory: &Directory, memory: &LinuxMemory) -> Result<(), CgroupError> {
    check_usage(directory, memory, "memory.current")?;
    let limits = MemoryLimits::of(memory)?;
    if let Some(swap) = swap_alone(&limits)? {
        write_swap(directory, swap)?;
    }
    if let Some(limit) = limits.memory {
        directory.write("memory.max", &or_max(limit))?;
    }
    if let Some(reservation) = memory.reservation().filter(|it| *it != 0) {
        directory.write("memory.low", &or_max(reservation))?;
    }
    if let Some(bytes) = memory.kernel_tcp().filter(|it| *it > 0) {
        return Err(no_v2("memory.kernelTCP", bytes));
    }
    if memory.disable_oom_killer() == Some(true) {
        return Err(no_v2("memory.disableOOMKiller", "true"));
    }
    Ok(())
}

/// v2 limits swap alone; the spec gives the sum.
fn swap_alone(limits: &MemoryLimits) -> Result<Option<i64>, CgroupError> {
    match (limits.with_swap, limits.memory) {
        (None, _) => Ok(None),
        (Some(-1), _) => Ok(Some(-1)),
        (Some(sum), Some(memory)) => Ok(Some(sum - memory)),
        (Some(sum), None) => Err(CgroupError::Refused {
            field: "memory.swap",
            value: sum.to_string(),
            allowed: "-1, or together with memory.limit",
        }),
    }
}

fn write_swap(directory: &Directory, swap: i64) -> Result<(), CgroupError> {
    match directory.write("memory.swap.max", &or_max(swap)) {
        // A kernel without swap neither swaps nor needs a limit on it.
        Err(CgroupError::NoSuchLimit { .. }) if swap <= 0 => Ok(()),
        written => written,
    }
}

fn apply_cpu(directory: &Directory, cpu: &LinuxCpu) -> Result<(), CgroupError> {
    let realtime = cpu.realtime_runtime().filter(|it| *it != 0).map(|it| it.to_string());
    if let Some(value) = realtime.or_else(|| cpu.realtime_period().filter(|it| *it != 0).map(|it| it.to_string())) {
        return Err(no_v2("cpu.realtimeRuntime", value));
    }
    let mut settings: Vec<Setting> = Vec::new();
    if let Some(idle) = cpu.idle() {
        settings.push(("cpu.idle".to_owned(), idle.to_string()));
    }
    if let Some(weight) = cpu.shares().and_then(weight_of_shares) {
        settings.push(("cpu.weight".to_owned(), weight.to_string()));
    }
    let (quota, period) = (cpu.quota().filter(|it| *it != 0), cpu.period().filter(|it| *it != 0));
    if quota.is_some() || period.is_some() {
        settings.push(("cpu.max".to_owned(), cpu_max(directory, quota, period)?));
    }
    if let Some(burst) = cpu.burst() {
        settings.push(("cpu.max.burst".to_owned(), burst.to_string()));
    }
    settle(directory, settings)
}

/// Both values of `cpu.max`, the one not given as it is now: a period alone must not lift the quota.
fn cpu_max(directory: &Directory, quota: Option<i64>, period: Option<u64>) -> Result<String, CgroupError> {
    let quota = quota.map(or_max);
    if let (Some(quota), Some(period)) = (&quota, period) {
        return Ok(format!("{quota} {period}"));
    }
    let path = || directory.path().join("cpu.max");
    let file = directory.read("cpu.max")?.ok_or_else(|| CgroupError::NoSuchLimit { path: path() })?;
    let (quota_now, period_now) = file.text().split_once(' ').ok_or_else(|| file.malformed(file.text()))?;
    let quota = quota.unwrap_or_else(|| quota_now.to_owned());
    Ok(period.map_or_else(|| format!("{quota} {period_now}"), |period| format!("{quota} {period}")))
}

/// `cpu.weight` (1 to 10000) for v1 shares (2 to 262144): the logarithmic curve through 2 → 1, 1024 → 100 and
/// 262144 → 10000 (kubernetes/kubernetes#131216), so that the default of one is the default of the other. Zero shares are none.
pub(in crate::cgroup) fn weight_of_shares(shares: u64) -> Option<u64> {
    let log = match shares {
        0 => return None,
        1..=2 => return Some(1),
        262_144.. => return Some(10_000),
        // Below 2^18, so the conversion is exact.
        shares => f64::from(u32::try_from(shares).unwrap_or(u32::MAX)).log2(),
    };
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the curve stays between 1 and 10000")]
    Some(10f64.powf(exponent).ceil() as u64)
}

fn apply_block_io(directory: &Directory, resources: &LinuxResources) -> Result<(), CgroupError> {
    refuse_leaf_weights(resources)?;
    let block_io = resources.block_io().as_ref();
    if let Some(weight) = block_io.and_then(|it| it.weight()).filter(|weight| *weight != 0) {
        if directory.has("io.bfq.weight") {
            directory.write("io.bfq.weight", &weight.to_string())?;
        } else {
            directory.write("io.weight", &format!("default {}", io_weight(weight.into())))?;
        }
    }
    for device in block_io.and_then(|it| it.weight_device().as_ref()).into_iter().flatten() {
        let Some(weight) = device.weight().filter(|weight| *weight != 0) else {
            continue;
        };
        directory.write("io.bfq.weight", &format!("{}:{} {weight}", device.major(), device.minor()))?;
    }
    for (_, key, device) in throttles(resources) {
        // v1 and the spec say zero for no limit.
        let rate = if device.rate() == 0 { "max".to_owned() } else { device.rate().to_string() };
        directory.write("io.max", &format!("{}:{} {key}={rate}", device.major(), device.minor()))?;
    }
    Ok(())
}

/// `io.weight` (1 to 10000) for the spec's 10 to 1000.
pub(in crate::cgroup) fn io_weight(weight: u64) -> u64 {
    1 + (weight.clamp(10, 1000) - 10) * 9999 / 990
}

fn apply_unified(directory: &Directory, resources: &LinuxResources) -> Result<(), CgroupError> {
    let mut settings: Vec<_> = resources.unified().iter().flatten().collect();
    settings.sort();
    for (name, value) in settings {
        // `cgroup.` files move, freeze and kill; the rest must name a controller's file in this very directory.
        let plain = name.contains('.') && !name.contains('/') && !name.starts_with('.');
        if !plain || name.starts_with("cgroup.") {
            return Err(CgroupError::Refused {
                field: "unified",
                value: name.clone(),
                allowed: "files of a controller, such as memory.high",
            });
        }
        value.lines().try_for_each(|line| directory.write(name, line))?;
    }
    Ok(())
}

fn no_v2(field: &'static str, value: impl ToString) -> CgroupError {
    CgroupError::Refused { field, value: value.to_string(), allowed: "absent on a node with cgroup v2" }
}
