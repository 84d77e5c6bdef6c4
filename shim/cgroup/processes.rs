//! The processes of a cgroup: listing, freezing and killing all of them.

use std::io;
use std::thread;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::directory::Directory;
use super::{Cgroup, CgroupError, Version, pauses};
use crate::ticks::Ticks;

/// v1 hierarchies by how surely every process of a container is in its cgroup there; a runtime joins all that are mounted.
const WHERE_PROCESSES_ARE: [&str; 7] = ["freezer", "devices", "pids", "memory", "cpu", "name=systemd", "blkio"];

impl Cgroup {
    /// All processes of the container, those in sub-cgroups too, in ascending order. Zombies are not listed by the kernel.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Gone`] after removal, and whatever cannot be read or understood.
    pub fn pids(&self) -> Result<Vec<u32>, CgroupError> {
        let top = self.processes()?;
        if top.is_gone()? {
            return Err(CgroupError::Gone { path: top.path().to_path_buf() });
        }
        let mut pids = Vec::new();
        top.walk(&mut |directory| {
            // Absent: a threaded v2 cgroup, whose processes the domain above it lists, or one that was just removed.
            let Some(file) = directory.read("cgroup.procs")? else {
                return Ok(());
            };
            for line in file.text().lines() {
                // 0 stands for a process outside the reader's pid namespace, which cannot be acted on.
                match file.parsed(line, line)? {
                    0 => return Err(file.malformed(line)),
                    pid => pids.push(pid),
                }
            }
            Ok(())
        })?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Stops every process of the container until [`Cgroup::thaw`], and returns once all have stopped.
    ///
    /// # Errors
    ///
    /// [`CgroupError::NoController`] on v1 without a freezer; [`CgroupError::NotSettled`] after half a second. After any error
    /// the container is told to go on again.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        match self.settle_freezer(true) {
            Err(error @ CgroupError::NotSettled { .. }) => self.settle_freezer(false).and(Err(error)),
            // Whether it stands still can't be told, so that it goes on can't be waited for.
            Err(error) => {
                if let Err(other) = self.tell_freezer(false) {
                    crate::warn!("{} may be frozen: {}", self.path().display(), crate::log::chain(&other));
                }
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Lets the processes go on.
    ///
    /// # Errors
    ///
    /// As [`Cgroup::freeze`].
    pub fn thaw(&self) -> Result<(), CgroupError> {
        self.settle_freezer(false)
    }

    /// Whether every process of the container is stopped by [`Cgroup::freeze`] or by an ancestor's freezer.
    ///
    /// # Errors
    ///
    /// [`CgroupError::NoController`] on v1 without a freezer, [`CgroupError::Gone`] after removal.
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        let directory = self.required("freezer")?;
        let frozen = match self.version() {
            Version::V1 => directory.read("freezer.state")?.map(|file| file.text() == "FROZEN"),
            Version::V2 => directory
                .read("cgroup.events")?
                .map(|file| file.value("frozen"))
                .transpose()?
                .flatten()
                .map(|it| it == 1),
        };
        match frozen {
            Some(frozen) => Ok(frozen),
            None if directory.is_gone()? => Err(CgroupError::Gone { path: directory.path().to_path_buf() }),
            None => Err(CgroupError::NoController { controller: "freezer" }),
        }
    }

    /// Kills every process of the container, sub-cgroups and frozen ones included, and returns once none is left.
    /// A cgroup that is gone has none.
    ///
    /// v2 does it in one write (cgroup.kill, 5.14); elsewhere rounds of freeze, SIGKILL and thaw, so that a fork
    /// bomb cannot outrun it. A process is killed through a pidfd that was seen in the cgroup after it was opened,
    /// so a reused pid cannot be hit.
    ///
    /// # Errors
    ///
    /// [`CgroupError::StillPopulated`] if some are left after half a second of pauses.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        if let Some(unified) = self.killable_at_once() {
            match unified.write("cgroup.kill", "1") {
                Err(error) if error.is_gone() => return Ok(()),
                written => written?,
            }
        }
        for pause in pauses() {
            match self.kill_round(&|_| true) {
                Ok(0) => return Ok(()),
                Ok(_) => thread::sleep(pause),
                Err(error) if error.is_gone() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        match self.pids() {
            Ok(pids) if pids.is_empty() => Ok(()),
            Ok(pids) => Err(CgroupError::StillPopulated { path: self.path().to_path_buf(), left: pids.len() }),
            Err(error) if error.is_gone() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Kills what has begun in the container since a moment, and returns once none of that is left. A cgroup that is gone has none.
    /// As in [`Cgroup::kill_all`], rounds with pauses: a killed process is listed until it has ended, and others may be forked meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Cgroup::kill_all`].
    pub fn kill_since(&self, moment: Ticks) -> Result<(), CgroupError> {
        let has_begun_since = |pid: u32| has_begun_since(pid, moment);
        for pause in pauses() {
            match self.kill_round(&has_begun_since) {
                Ok(0) => return Ok(()),
                Ok(_) => thread::sleep(pause),
                Err(error) if error.is_gone() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let left = self.pids()?.into_iter().filter(|pid| has_begun_since(*pid)).count();
        if left == 0 { Ok(()) } else { Err(CgroupError::StillPopulated { path: self.path().to_path_buf(), left }) }
    }

    /// The hierarchy whose `cgroup.procs` lists the container's processes.
    pub(super) fn processes(&self) -> Result<&Directory, CgroupError> {
        if self.version() == Version::V2 {
            return self.unified();
        }
        let preferred = WHERE_PROCESSES_ARE.iter().find_map(|controller| self.controller(controller));
        let any = || self.hierarchies.first().map(|hierarchy| &hierarchy.directory);
        preferred.or_else(any).ok_or(CgroupError::NoController { controller: "pids" })
    }

    fn killable_at_once(&self) -> Option<&Directory> {
        let unified = self.unified().ok().filter(|_| self.version() == Version::V2)?;
        unified.has("cgroup.kill").then_some(unified)
    }

    /// One round for those that are meant; answers how many it found.
    pub(super) fn kill_round(&self, is_meant: &dyn Fn(u32) -> bool) -> Result<usize, CgroupError> {
        if !self.pids()?.into_iter().any(is_meant) {
            return Ok(0);
        }
        let stopped = match self.freeze() {
            Ok(()) => true,
            // Without a freezer, or with one that a stuck process holds up, rounds of signals still do it.
            Err(CgroupError::NoController { .. } | CgroupError::NotSettled { .. }) => false,
            Err(error) => return Err(error),
        };
        let killed = self.signal(is_meant);
        // v1 delivers SIGKILL to a frozen process only once it is thawed.
        if stopped {
            self.thaw()?;
        }
        killed
    }

    fn signal(&self, is_meant: &dyn Fn(u32) -> bool) -> Result<usize, CgroupError> {
        let mut targets = Vec::new();
        for pid in self.pids()?.into_iter().filter(|pid| is_meant(*pid)) {
            let Some(target) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
                continue;
            };
            match pidfd_open(target, PidfdFlags::empty()) {
                Ok(pidfd) => targets.push((pid, pidfd)),
                Err(Errno::SRCH) => {}
                Err(errno) => return Err(kill_failed(pid, errno)),
            }
        }
        let still_here = self.pids()?;
        for (pid, pidfd) in &targets {
            if still_here.binary_search(pid).is_err() {
                continue;
            }
            match pidfd_send_signal(pidfd, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(kill_failed(*pid, errno)),
            }
        }
        Ok(targets.len())
    }

    fn tell_freezer(&self, frozen: bool) -> Result<(), CgroupError> {
        let (name, value) = match (self.version(), frozen) {
            (Version::V1, true) => ("freezer.state", "FROZEN"),
            (Version::V1, false) => ("freezer.state", "THAWED"),
            (Version::V2, true) => ("cgroup.freeze", "1"),
            (Version::V2, false) => ("cgroup.freeze", "0"),
        };
        self.required("freezer")?.write(name, value)
    }

    fn settle_freezer(&self, frozen: bool) -> Result<(), CgroupError> {
        self.tell_freezer(frozen)?;
        for pause in pauses() {
            if self.is_frozen()? == frozen {
                return Ok(());
            }
            thread::sleep(pause);
            // v1 forgets a process that was forked while it froze the others, unless it is told again.
            self.tell_freezer(frozen)?;
        }
        let wanted = if frozen { "frozen" } else { "thawed" };
        Err(CgroupError::NotSettled { path: self.required("freezer")?.path().to_path_buf(), wanted })
    }
}

/// One that is gone since it was listed may have left a child: only where all stand still it counts for nothing.
fn has_begun_since(pid: u32, moment: Ticks) -> bool {
    Ticks::of_process(pid).is_none_or(|begun| begun >= moment)
}

fn kill_failed(pid: u32, errno: Errno) -> CgroupError {
    CgroupError::io("kill", format!("/proc/{pid}"), io::Error::from(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_gone_meanwhile_counts_as_begun() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(has_begun_since(child.id(), Ticks::now()));
        assert!(!has_begun_since(1, Ticks::now()));
    }
}
