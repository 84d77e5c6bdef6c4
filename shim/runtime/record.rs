//! What the shim writes down of a container, so that it can be removed when the shim is gone.

use serde::{Deserialize, Serialize};

use super::choice::OciRuntime;
use crate::cgroup::Cgroup;
use crate::ticks::Ticks;

/// File name of the record in the private directory.
pub const RECORD_NAME: &str = "container.json";

/// Read by `shim delete`, possibly of a later version: fields are only ever added, with a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    runtime: OciRuntime,
    pid: u32,
    start_time: u64,
    sandbox: String,
    socket: String,
    #[serde(default)]
    cgroups_path: String,
}

impl ContainerRecord {
    /// The record of a container that is about to be created. `sandbox` is its pod's id, empty outside pods.
    #[must_use]
    pub fn new(runtime: OciRuntime, sandbox: &str, socket: &str, cgroups_path: &str) -> Self {
        Self {
            runtime,
            pid: 0,
            start_time: 0,
            sandbox: sandbox.into(),
            socket: socket.into(),
            cgroups_path: cgroups_path.into(),
        }
    }

    /// The record once the init process is known.
    #[must_use]
    pub fn with_init(self, pid: u32) -> Self {
        Self { pid, start_time: start_time(pid).unwrap_or(0), ..self }
    }

    /// The runtime that made the container.
    #[must_use]
    pub fn runtime(&self) -> &OciRuntime {
        &self.runtime
    }

    /// The init process, 0 while it is unknown.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When the init process started, in clock ticks since boot; with the pid that names it for good.
    #[must_use]
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// The sandbox that the container belongs to.
    #[must_use]
    pub fn sandbox(&self) -> &str {
        &self.sandbox
    }

    /// Address of the daemon, as a URI.
    #[must_use]
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// The container's cgroup: the one that its spec names, since init may have moved itself below it; else the one
    /// of the init process, if that very process is still there (a pid may have been reused).
    #[must_use]
    pub fn cgroup(&self) -> Option<Cgroup> {
        if !self.cgroups_path.is_empty() {
            return Cgroup::of_spec(&self.cgroups_path).ok();
        }
        let is_there = self.pid != 0 && start_time(self.pid) == Some(self.start_time);
        if is_there { Cgroup::of_process(self.pid).ok() } else { None }
    }
}

fn start_time(pid: u32) -> Option<u64> {
    Ticks::of_process(pid).map(Ticks::since_boot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_pid_is_not_the_container() {
        let runtime = OciRuntime::chosen_by(&palisade_policy::Policy::builtin());
        let record = ContainerRecord::new(runtime, "", "", "").with_init(std::process::id());
        assert_ne!(record.start_time, 0);
        let stale = ContainerRecord { start_time: record.start_time + 1, ..record };
        assert!(stale.cgroup().is_none());
    }
}
