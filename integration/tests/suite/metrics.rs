//! What a shim tells of a container's usage, against the container's own files: all that the kubelet reads (its `cri_stats_provider` by
//! way of containerd's CRI plugin), in the message of either cgroup version.

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::{cgroups::metrics as v1, cgroups_v2::metrics as v2};
use libtest_mimic::Failed;
use palisade_integration::cgroup::{Files, is_unified, of_version};
use palisade_integration::tasks::Tasks;

use crate::limits::Sleeper;
use crate::support::Check;

/// Of a container that was throttled, with these limits in bytes and tasks.
pub(crate) fn expect_complete(tasks: &Tasks, container: &Sleeper<'_>, memory: u64, pids: u64) -> Check {
    let files = Files::of(container.pid)?.without("container");
    let before = files.cpu_time()?;
    let all = tasks.metrics(&container.id)?;
    let [metrics] = all.as_slice() else { return Err(format!("{} metrics", all.len()).into()) };
    let told = if is_unified() { Told::of_v2(decoded(&metrics.value)?) } else { Told::of_v1(decoded(&metrics.value)?) };
    let after = files.cpu_time()?;
    expect!((before..=after).contains(&told.cpu_time), "CPU time {} outside of {before}..={after}", told.cpu_time);
    expect!(told.user_and_system > 0 && told.user_and_system <= after + after / 10, "{told:?}");
    expect_eq!(
        told.throttled,
        files.counter("cpu", ["cpu.stat"; 2], "nr_throttled").unwrap_or_default(),
        "throttled periods"
    );
    expect!(told.throttled > 0 && told.throttled_time > 0, "a container that was throttled: {told:?}");
    expect_eq!((told.memory_limit, told.pids_limit), (memory, pids), "limits");
    expect!(told.memory > 0 && told.memory <= memory && told.anonymous > 0 && told.pids > 0, "usage: {told:?}");
    // The working set is what is used without it.
    let read = files.counter("memory", ["memory.stat"; 2], of_version(["total_inactive_file", "inactive_file"]));
    expect_eq!(Some(told.inactive_file), read, "inactive file pages");
    expect!(told.page_faults > 0, "page faults: {told:?}");
    expect!(told.io, "no entry for block devices");
    let pressure = is_unified().then(|| files.text("cpu", ["", "cpu.pressure"])).flatten().is_some();
    expect_eq!(told.pressure, [pressure; 3], "pressure of CPU, memory and block devices, as the kernel has it");
    Ok(())
}

fn decoded<M: Message>(bytes: &[u8]) -> Result<M, Failed> {
    Ok(M::parse_from_bytes(bytes)?)
}

/// What both messages have: times in microseconds, sizes in bytes.
#[derive(Debug)]
struct Told {
    cpu_time: u64,
    user_and_system: u64,
    throttled: u64,
    throttled_time: u64,
    memory: u64,
    memory_limit: u64,
    anonymous: u64,
    inactive_file: u64,
    page_faults: u64,
    pids: u64,
    pids_limit: u64,
    /// Whether there is something of block devices.
    io: bool,
    /// Of CPU, memory, block devices.
    pressure: [bool; 3],
}

impl Told {
    fn of_v1(metrics: v1::Metrics) -> Self {
        let (usage, throttling) = (&metrics.cpu.usage, &metrics.cpu.throttling);
        Self {
            cpu_time: usage.total / 1000,
            user_and_system: (usage.user + usage.kernel) / 1000,
            throttled: throttling.throttled_periods,
            throttled_time: throttling.throttled_time / 1000,
            memory: metrics.memory.usage.usage,
            memory_limit: metrics.memory.usage.limit,
            anonymous: metrics.memory.rss,
            inactive_file: metrics.memory.total_inactive_file,
            page_faults: metrics.memory.pg_fault,
            pids: metrics.pids.current,
            pids_limit: metrics.pids.limit,
            io: metrics.blkio.is_some(),
            pressure: [false; 3],
        }
    }

    fn of_v2(metrics: v2::Metrics) -> Self {
        let (cpu, memory) = (&metrics.cpu, &metrics.memory);
        Self {
            cpu_time: cpu.usage_usec,
            user_and_system: cpu.user_usec + cpu.system_usec,
            throttled: cpu.nr_throttled,
            throttled_time: cpu.throttled_usec,
            memory: memory.usage,
            memory_limit: memory.usage_limit,
            anonymous: memory.anon,
            inactive_file: memory.inactive_file,
            page_faults: memory.pgfault,
            pids: metrics.pids.current,
            pids_limit: metrics.pids.limit,
            io: metrics.io.is_some(),
            pressure: [cpu.psi.is_some(), memory.psi.is_some(), metrics.io.psi.is_some()],
        }
    }
}
