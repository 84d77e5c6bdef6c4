//! The process that goes into the container first, and starts the newcomer there.

use std::fs;
use std::io;

use oci_spec::runtime::{PosixRlimit, PosixRlimitType, Process};
use rustix::process::{Gid, Resource, Rlimit, Uid, setrlimit};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use thiserror::Error;

use super::channel::ChildEnds;
use super::namespaces::ForeignNamespaces;
use super::newcomer::Newcomer;
use super::scheduling;
use crate::runtime::embedded::cgroup::{CgroupError, ContainerCgroup, Inside};
use crate::runtime::embedded::init_process::InitProcess;
use crate::runtime::embedded::program::chain;
use crate::unsafe_syscalls::{end_now, fork};

/// Why the container can't be entered.
#[derive(Debug, Error)]
enum GuideError {
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("set {kind:?}")]
    Limit { kind: PosixRlimitType, source: io::Error },
    #[error("{doing}")]
    Kernel { doing: &'static str, source: io::Error },
}

fn kernel<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> GuideError {
    move |source| GuideError::Kernel { doing, source: source.into() }
}

/// Where it goes, and what it needs for that.
pub(super) struct Guide<'a> {
    pub(super) process: &'a Process,
    pub(super) cgroup: &'a ContainerCgroup,
    pub(super) init: InitProcess,
    pub(super) namespaces: ForeignNamespaces,
}

impl Guide<'_> {
    /// Enters the container and starts the newcomer there. Ends this process.
    pub(super) fn lead(self, newcomer: Newcomer<'_>, mut channels: ChildEnds, inside: &Inside) -> ! {
        match self.enter(inside).and_then(|()| fork().map_err(kernel("start the process"))) {
            Ok(None) => newcomer.begin(channels),
            Ok(Some(pid)) => end_now(i32::from(channels.tell_pid(pid).is_err())),
            Err(error) => {
                channels.tell_failure(&chain(&error));
                end_now(1)
            }
        }
    }

    /// Everything that takes the host's view and privileges, then the namespaces.
    fn enter(&self, inside: &Inside) -> Result<(), GuideError> {
        let affinity = self.process.exec_cpu_affinity().as_ref();
        let initial = affinity.and_then(|affinity| affinity.initial().as_deref());
        scheduling::set_affinity(initial).map_err(kernel("set execCPUAffinity.initial"))?;
        self.cgroup.join(self.init.pid(), inside)?;
        let last = affinity.and_then(|affinity| affinity.cpu_affinity_final().as_deref());
        scheduling::set_affinity(last).map_err(kernel("set execCPUAffinity.final"))?;
        scheduling::set_io_priority(self.process.io_priority().as_ref()).map_err(kernel("set ioPriority"))?;
        scheduling::set_scheduler(self.process.scheduler().as_ref()).map_err(kernel("set scheduler"))?;
        self.process.rlimits().iter().flatten().try_for_each(set_limit)?;
        set_apparmor_profile(self.process.apparmor_profile().as_deref()).map_err(kernel("set the AppArmor profile"))?;
        self.namespaces.join().map_err(kernel("join the container's namespaces"))?;
        if self.namespaces.has_users() {
            // Still the host's root, who has no name in there.
            set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).map_err(kernel("become the container's root group"))?;
            set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).map_err(kernel("become the container's root"))?;
        }
        Ok(())
    }
}

/// Takes effect at the next execve, also of a child. Source: kernel `Documentation/admin-guide/LSM/apparmor.rst`, Linux 5.8.
fn set_apparmor_profile(profile: Option<&str>) -> io::Result<()> {
    let Some(profile) = profile.filter(|profile| !profile.is_empty()) else { return Ok(()) };
    let text = format!("exec {profile}");
    match fs::write("/proc/thread-self/attr/apparmor/exec", &text) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::write("/proc/thread-self/attr/exec", &text),
        written => written,
    }
}

fn set_limit(limit: &PosixRlimit) -> Result<(), GuideError> {
    // RLIM_INFINITY.
    let value = |number: u64| (number != u64::MAX).then_some(number);
    let wanted = Rlimit { current: value(limit.soft()), maximum: value(limit.hard()) };
    let failed = |errno: rustix::io::Errno| GuideError::Limit { kind: limit.typ(), source: errno.into() };
    setrlimit(resource(limit.typ()), wanted).map_err(failed)
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}
