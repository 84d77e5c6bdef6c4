//! The unified hierarchy's files (cgroup-v2.rst) as `io.containerd.cgroups.v2.Metrics`.

use containerd_shim_protos::cgroups_v2::metrics::{
    CPUStat, HugeTlbStat, IOEntry, IOStat, MemoryEvents, MemoryStat, Metrics, PSIData, PSIStats, PidsStat, RdmaEntry,
    RdmaStat,
};
use containerd_shim_protos::protobuf::MessageField;

use super::{hugetlb, rdma};
use crate::cgroup::directory::{CgroupFile, Directory};
use crate::cgroup::{Cgroup, CgroupError};

type Found<T> = Result<MessageField<T>, CgroupError>;

pub(super) fn metrics(cgroup: &Cgroup) -> Result<Metrics, CgroupError> {
    let directory = cgroup.unified()?;
    Ok(Metrics {
        pids: pids(directory)?,
        cpu: cpu(directory)?,
        memory: memory(directory)?,
        memory_events: memory_events(directory)?,
        io: io(directory)?,
        rdma: rdma(directory)?,
        hugetlb: hugetlb(directory)?,
        ..Metrics::default()
    })
}

fn pids(directory: &Directory) -> Found<PidsStat> {
    let Some(current) = directory.number("pids.current")? else {
        return Ok(MessageField::none());
    };
    let limit = directory.limit("pids.max", u64::MAX)?.unwrap_or_default();
    Ok(MessageField::some(PidsStat { current, limit, ..PidsStat::default() }))
}

fn cpu(directory: &Directory) -> Found<CPUStat> {
    let Some(file) = directory.read("cpu.stat")? else {
        return Ok(MessageField::none());
    };
    let mut stat = CPUStat { psi: pressure(directory, "cpu.pressure")?, ..CPUStat::default() };
    file.fill(&mut stat, cpu_field)?;
    Ok(MessageField::some(stat))
}

fn cpu_field<'s>(stat: &'s mut CPUStat, key: &str) -> Option<&'s mut u64> {
    Some(match key {
        "usage_usec" => &mut stat.usage_usec,
        "user_usec" => &mut stat.user_usec,
        "system_usec" => &mut stat.system_usec,
        "nr_periods" => &mut stat.nr_periods,
        "nr_throttled" => &mut stat.nr_throttled,
        "throttled_usec" => &mut stat.throttled_usec,
        "nr_bursts" => &mut stat.nr_bursts,
        "burst_usec" => &mut stat.burst_usec,
        _ => return None,
    })
}

fn memory(directory: &Directory) -> Found<MemoryStat> {
    let Some(file) = directory.read("memory.stat")? else {
        return Ok(MessageField::none());
    };
    let mut stat = MemoryStat { psi: pressure(directory, "memory.pressure")?, ..MemoryStat::default() };
    file.fill(&mut stat, memory_field)?;
    let sizes = [
        ("memory.current", &mut stat.usage),
        ("memory.max", &mut stat.usage_limit),
        ("memory.peak", &mut stat.max_usage),
        ("memory.swap.current", &mut stat.swap_usage),
        ("memory.swap.max", &mut stat.swap_limit),
        ("memory.swap.peak", &mut stat.swap_max_usage),
    ];
    for (name, place) in sizes {
        if let Some(value) = directory.limit(name, u64::MAX)? {
            *place = value;
        }
    }
    Ok(MessageField::some(stat))
}

fn memory_field<'s>(stat: &'s mut MemoryStat, key: &str) -> Option<&'s mut u64> {
    Some(match key {
        "anon" => &mut stat.anon,
        "file" => &mut stat.file,
        "kernel_stack" => &mut stat.kernel_stack,
        "slab" => &mut stat.slab,
        "sock" => &mut stat.sock,
        "shmem" => &mut stat.shmem,
        "file_mapped" => &mut stat.file_mapped,
        "file_dirty" => &mut stat.file_dirty,
        "file_writeback" => &mut stat.file_writeback,
        "anon_thp" => &mut stat.anon_thp,
        "inactive_anon" => &mut stat.inactive_anon,
        "active_anon" => &mut stat.active_anon,
        "inactive_file" => &mut stat.inactive_file,
        "active_file" => &mut stat.active_file,
        "unevictable" => &mut stat.unevictable,
        "slab_reclaimable" => &mut stat.slab_reclaimable,
        "slab_unreclaimable" => &mut stat.slab_unreclaimable,
        "pgfault" => &mut stat.pgfault,
        "pgmajfault" => &mut stat.pgmajfault,
        // Since 5.9 the kernel splits these in an anon and a file part; the message has one place, and the file
        // part is what the older counter meant.
        "workingset_refault" | "workingset_refault_file" => &mut stat.workingset_refault,
        "workingset_activate" | "workingset_activate_file" => &mut stat.workingset_activate,
        "workingset_nodereclaim" => &mut stat.workingset_nodereclaim,
        "pgrefill" => &mut stat.pgrefill,
        "pgscan" => &mut stat.pgscan,
        "pgsteal" => &mut stat.pgsteal,
        "pgactivate" => &mut stat.pgactivate,
        "pgdeactivate" => &mut stat.pgdeactivate,
        "pglazyfree" => &mut stat.pglazyfree,
        "pglazyfreed" => &mut stat.pglazyfreed,
        "thp_fault_alloc" => &mut stat.thp_fault_alloc,
        "thp_collapse_alloc" => &mut stat.thp_collapse_alloc,
        _ => return None,
    })
}

fn memory_events(directory: &Directory) -> Found<MemoryEvents> {
    let Some(file) = directory.read("memory.events")? else {
        return Ok(MessageField::none());
    };
    let mut events = MemoryEvents::default();
    file.fill(&mut events, event_field)?;
    Ok(MessageField::some(events))
}

fn event_field<'s>(events: &'s mut MemoryEvents, key: &str) -> Option<&'s mut u64> {
    Some(match key {
        "low" => &mut events.low,
        "high" => &mut events.high,
        "max" => &mut events.max,
        "oom" => &mut events.oom,
        "oom_kill" => &mut events.oom_kill,
        "oom_group_kill" => &mut events.oom_group_kill,
        _ => return None,
    })
}

fn io(directory: &Directory) -> Found<IOStat> {
    let Some(file) = directory.read("io.stat")? else {
        return Ok(MessageField::none());
    };
    let usage = file.text().lines().map(|line| io_entry(&file, line)).collect::<Result<_, _>>()?;
    let psi = pressure(directory, "io.pressure")?;
    Ok(MessageField::some(IOStat { usage, psi, ..IOStat::default() }))
}

/// A line `8:16 rbytes=1 wbytes=2 …`. A device without any io may stand alone on its line.
fn io_entry(file: &CgroupFile, line: &str) -> Result<IOEntry, CgroupError> {
    let mut words = line.split_whitespace();
    let (major, minor) = words.next().and_then(|device| device.split_once(':')).ok_or_else(|| file.malformed(line))?;
    let mut entry =
        IOEntry { major: file.parsed(major, line)?, minor: file.parsed(minor, line)?, ..IOEntry::default() };
    for word in words {
        let (key, value) = word.split_once('=').ok_or_else(|| file.malformed(line))?;
        let place = match key {
            "rbytes" => &mut entry.rbytes,
            "wbytes" => &mut entry.wbytes,
            "rios" => &mut entry.rios,
            "wios" => &mut entry.wios,
            // Discards, and what io.cost and io.latency add, have no place in the message.
            _ => continue,
        };
        *place = file.parsed(value, line)?;
    }
    Ok(entry)
}

fn pressure(directory: &Directory, name: &str) -> Found<PSIStats> {
    let Some(file) = directory.read(name)? else {
        return Ok(MessageField::none());
    };
    let mut stats = PSIStats::default();
    for line in file.text().lines() {
        let (kind, averages) = line.split_once(' ').ok_or_else(|| file.malformed(line))?;
        let place = match kind {
            "some" => &mut stats.some,
            "full" => &mut stats.full,
            _ => return Err(file.malformed(line)),
        };
        *place = MessageField::some(averages_of(&file, averages, line)?);
    }
    Ok(MessageField::some(stats))
}

/// The tail of a line `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` (psi.rst).
fn averages_of(file: &CgroupFile, averages: &str, line: &str) -> Result<PSIData, CgroupError> {
    let mut data = PSIData::default();
    for word in averages.split_whitespace() {
        match word.split_once('=') {
            Some(("avg10", value)) => data.avg10 = file.parsed(value, line)?,
            Some(("avg60", value)) => data.avg60 = file.parsed(value, line)?,
            Some(("avg300", value)) => data.avg300 = file.parsed(value, line)?,
            Some(("total", value)) => data.total = file.parsed(value, line)?,
            _ => return Err(file.malformed(line)),
        }
    }
    Ok(data)
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

fn hugetlb(directory: &Directory) -> Result<Vec<HugeTlbStat>, CgroupError> {
    hugetlb::page_sizes(directory, ".current")?.into_iter().map(|size| huge_pages(directory, size)).collect()
}

fn huge_pages(directory: &Directory, pagesize: String) -> Result<HugeTlbStat, CgroupError> {
    let file = |suffix: &str| format!("hugetlb.{pagesize}.{suffix}");
    let events = directory.read(&file("events"))?;
    Ok(HugeTlbStat {
        current: directory.number(&file("current"))?.unwrap_or_default(),
        max: directory.limit(&file("max"), u64::MAX)?.unwrap_or_default(),
        failcnt: events.map(|events| events.value("max")).transpose()?.flatten().unwrap_or_default(),
        pagesize,
        ..HugeTlbStat::default()
    })
}
