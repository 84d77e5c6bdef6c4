//! CPU affinity, scheduling class and disk class of a process.

use std::io;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use oci_spec::runtime::{IOPriorityClass, LinuxIOPriority, LinuxSchedulerFlag, LinuxSchedulerPolicy, Scheduler};

use crate::unsafe_syscalls::{self, SchedAttr};

/// Restricts this process to CPUs, written as in `/sys`: `0-3,8`.
pub(super) fn set_affinity(list: Option<&str>) -> io::Result<()> {
    let Some(list) = list.map(str::trim).filter(|list| !list.is_empty()) else { return Ok(()) };
    let mut cpus = CpuSet::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number =
            |text: &str| text.trim().parse::<usize>().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        for cpu in number(first)?..=number(last)?.min(CpuSet::count()) {
            cpus.set(cpu)?;
        }
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &cpus)?)
}

/// Source: ioprio_set(2), `linux/ioprio.h`.
pub(super) fn set_io_priority(priority: Option<&LinuxIOPriority>) -> io::Result<()> {
    let Some(priority) = priority else { return Ok(()) };
    let class: u16 = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level =
        u16::try_from(priority.priority()).ok().filter(|level| *level < 8).ok_or(io::ErrorKind::InvalidInput)?;
    unsafe_syscalls::set_own_io_priority(class << 13 | level)
}

/// Source: sched_setattr(2).
pub(super) fn set_scheduler(scheduler: Option<&Scheduler>) -> io::Result<()> {
    let Some(scheduler) = scheduler else { return Ok(()) };
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let flags = scheduler.flags().iter().flatten().fold(0, |flags, flag| flags | flag_bit(flag));
    let attributes = SchedAttr {
        policy,
        flags,
        nice: scheduler.nice().unwrap_or(0),
        priority: u32::try_from(scheduler.priority().unwrap_or(0)).map_err(|_| io::ErrorKind::InvalidInput)?,
        runtime: scheduler.runtime().unwrap_or(0),
        deadline: scheduler.deadline().unwrap_or(0),
        period: scheduler.period().unwrap_or(0),
    };
    unsafe_syscalls::set_own_scheduler(&attributes)
}

fn flag_bit(flag: &LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}
