//! The v1 controllers' files (kernel admin-guide/cgroup-v1) as `io.containerd.cgroups.v1.Metrics`.

use containerd_shim_protos::cgroups::metrics::{
    CPUStat, CPUUsage, HugetlbStat, MemoryEntry, MemoryOomControl, MemoryStat, Metrics, PidsStat, RdmaEntry, RdmaStat,
    Throttle,
};
use containerd_shim_protos::protobuf::MessageField;

use super::{blkio, hugetlb, rdma};
use crate::cgroup::directory::Directory;
use crate::cgroup::{Cgroup, CgroupError};

type Found<T> = Result<MessageField<T>, CgroupError>;

/// cpuacct.stat counts in USER_HZ, which is 100 on every architecture that containers run on (cpuacct.rst).
const NANOSECONDS_PER_TICK: u64 = 1_000_000_000 / 100;

pub(super) fn metrics(cgroup: &Cgroup) -> Result<Metrics, CgroupError> {
    Ok(Metrics {
        pids: in_controller(cgroup, "pids", pids)?,
        cpu: cpu(cgroup)?,
        memory: in_controller(cgroup, "memory", memory)?,
        memory_oom_control: in_controller(cgroup, "memory", oom_control)?,
        blkio: in_controller(cgroup, "blkio", blkio::blkio)?,
        rdma: in_controller(cgroup, "rdma", rdma)?,
        hugetlb: cgroup.controller("hugetlb").map(hugetlb).transpose()?.unwrap_or_default(),
        ..Metrics::default()
    })
}

/// Reads a message from the container's directory of `controller`; absent where it has none of its own.
fn in_controller<T>(cgroup: &Cgroup, controller: &str, read: fn(&Directory) -> Found<T>) -> Found<T> {
    cgroup.controller(controller).map_or_else(|| Ok(MessageField::none()), read)
}

fn pids(directory: &Directory) -> Found<PidsStat> {
    let Some(current) = directory.number("pids.current")? else {
        return Ok(MessageField::none());
    };
    let limit = directory.limit("pids.max", 0)?.unwrap_or_default();
    Ok(MessageField::some(PidsStat { current, limit, ..PidsStat::default() }))
}

fn cpu(cgroup: &Cgroup) -> Found<CPUStat> {
    let usage = in_controller(cgroup, "cpuacct", cpu_usage)?;
    let throttling = in_controller(cgroup, "cpu", throttling)?;
    if usage.is_none() && throttling.is_none() {
        return Ok(MessageField::none());
    }
    Ok(MessageField::some(CPUStat { usage, throttling, ..CPUStat::default() }))
}

fn cpu_usage(directory: &Directory) -> Found<CPUUsage> {
    let Some(total) = directory.number("cpuacct.usage")? else {
        return Ok(MessageField::none());
    };
    let mut usage = CPUUsage { total, ..CPUUsage::default() };
    if let Some(file) = directory.read("cpuacct.stat")? {
        file.fill(&mut usage, ticks_field)?;
        usage.user = usage.user.saturating_mul(NANOSECONDS_PER_TICK);
        usage.kernel = usage.kernel.saturating_mul(NANOSECONDS_PER_TICK);
    }
    if let Some(file) = directory.read("cpuacct.usage_percpu")? {
        let cpus = file.text().split_whitespace();
        usage.per_cpu = cpus.map(|cpu| file.parsed(cpu, file.text())).collect::<Result<_, _>>()?;
    }
    Ok(MessageField::some(usage))
}

fn ticks_field<'s>(usage: &'s mut CPUUsage, key: &str) -> Option<&'s mut u64> {
    match key {
        "user" => Some(&mut usage.user),
        "system" => Some(&mut usage.kernel),
        _ => None,
    }
}

fn throttling(directory: &Directory) -> Found<Throttle> {
    let Some(file) = directory.read("cpu.stat")? else {
        return Ok(MessageField::none());
    };
    let mut throttle = Throttle::default();
    file.fill(&mut throttle, throttle_field)?;
    Ok(MessageField::some(throttle))
}

fn throttle_field<'s>(throttle: &'s mut Throttle, key: &str) -> Option<&'s mut u64> {
    match key {
        "nr_periods" => Some(&mut throttle.periods),
        "nr_throttled" => Some(&mut throttle.throttled_periods),
        "throttled_time" => Some(&mut throttle.throttled_time),
        _ => None,
    }
}

fn memory(directory: &Directory) -> Found<MemoryStat> {
    let Some(file) = directory.read("memory.stat")? else {
        return Ok(MessageField::none());
    };
    let mut stat = MemoryStat {
        usage: memory_entry(directory, "memory")?,
        swap: memory_entry(directory, "memory.memsw")?,
        kernel: memory_entry(directory, "memory.kmem")?,
        kernel_tcp: memory_entry(directory, "memory.kmem.tcp")?,
        ..MemoryStat::default()
    };
    file.fill(&mut stat, memory_field)?;
    Ok(MessageField::some(stat))
}

/// The four files of one kind of memory; absent where the kernel does not count that kind.
fn memory_entry(directory: &Directory, kind: &str) -> Found<MemoryEntry> {
    let number = |name: &str| directory.number(&format!("{kind}.{name}"));
    let Some(usage) = number("usage_in_bytes")? else {
        return Ok(MessageField::none());
    };
    Ok(MessageField::some(MemoryEntry {
        usage,
        limit: number("limit_in_bytes")?.unwrap_or_default(),
        max: number("max_usage_in_bytes")?.unwrap_or_default(),
        failcnt: number("failcnt")?.unwrap_or_default(),
        ..MemoryEntry::default()
    }))
}

fn memory_field<'s>(stat: &'s mut MemoryStat, key: &str) -> Option<&'s mut u64> {
    Some(match key {
        "cache" => &mut stat.cache,
        "rss" => &mut stat.rss,
        "rss_huge" => &mut stat.rss_huge,
        "mapped_file" => &mut stat.mapped_file,
        "dirty" => &mut stat.dirty,
        "writeback" => &mut stat.writeback,
        "pgpgin" => &mut stat.pg_pg_in,
        "pgpgout" => &mut stat.pg_pg_out,
        "pgfault" => &mut stat.pg_fault,
        "pgmajfault" => &mut stat.pg_maj_fault,
        "inactive_anon" => &mut stat.inactive_anon,
        "active_anon" => &mut stat.active_anon,
        "inactive_file" => &mut stat.inactive_file,
        "active_file" => &mut stat.active_file,
        "unevictable" => &mut stat.unevictable,
        "hierarchical_memory_limit" => &mut stat.hierarchical_memory_limit,
        "hierarchical_memsw_limit" => &mut stat.hierarchical_swap_limit,
        "total_cache" => &mut stat.total_cache,
        "total_rss" => &mut stat.total_rss,
        "total_rss_huge" => &mut stat.total_rss_huge,
        "total_mapped_file" => &mut stat.total_mapped_file,
        "total_dirty" => &mut stat.total_dirty,
        "total_writeback" => &mut stat.total_writeback,
        "total_pgpgin" => &mut stat.total_pg_pg_in,
        "total_pgpgout" => &mut stat.total_pg_pg_out,
        "total_pgfault" => &mut stat.total_pg_fault,
        "total_pgmajfault" => &mut stat.total_pg_maj_fault,
        "total_inactive_anon" => &mut stat.total_inactive_anon,
        "total_active_anon" => &mut stat.total_active_anon,
        "total_inactive_file" => &mut stat.total_inactive_file,
        "total_active_file" => &mut stat.total_active_file,
        "total_unevictable" => &mut stat.total_unevictable,
        _ => return None,
    })
}

fn oom_control(directory: &Directory) -> Found<MemoryOomControl> {
    let Some(file) = directory.read("memory.oom_control")? else {
        return Ok(MessageField::none());
    };
    let mut control = MemoryOomControl::default();
    file.fill(&mut control, oom_field)?;
    Ok(MessageField::some(control))
}

fn oom_field<'s>(control: &'s mut MemoryOomControl, key: &str) -> Option<&'s mut u64> {
    match key {
        "oom_kill_disable" => Some(&mut control.oom_kill_disable),
        "under_oom" => Some(&mut control.under_oom),
        "oom_kill" => Some(&mut control.oom_kill),
        _ => None,
    }
}

fn rdma(directory: &Directory) -> Found<RdmaStat> {
    if !directory.has("rdma.current") {
        return Ok(MessageField::none());
    }
    let entries = |name| -> Result<Vec<RdmaEntry>, CgroupError> {
        Ok(rdma::lines(directory, name)?.into_iter().map(rdma_entry).collect())
    };
    let (current, limit) = (entries("rdma.current")?, entries("rdma.max")?);
    Ok(MessageField::some(RdmaStat { current, limit, ..RdmaStat::default() }))
}

fn rdma_entry(line: rdma::DeviceLine) -> RdmaEntry {
    RdmaEntry { device: line.device, hca_handles: line.handles, hca_objects: line.objects, ..RdmaEntry::default() }
}

fn hugetlb(directory: &Directory) -> Result<Vec<HugetlbStat>, CgroupError> {
    hugetlb::page_sizes(directory, ".usage_in_bytes")?.into_iter().map(|size| huge_pages(directory, size)).collect()
}

fn huge_pages(directory: &Directory, pagesize: String) -> Result<HugetlbStat, CgroupError> {
    let number = |name: &str| directory.number(&format!("hugetlb.{pagesize}.{name}"));
    Ok(HugetlbStat {
        usage: number("usage_in_bytes")?.unwrap_or_default(),
        max: number("max_usage_in_bytes")?.unwrap_or_default(),
        failcnt: number("failcnt")?.unwrap_or_default(),
        pagesize,
        ..HugetlbStat::default()
    })
}
