//! A container's init process, told apart from a later process with the same pid.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::ticks::Stat;

/// A pid and when it started: together they name one process for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InitProcess {
    pid: i32,
    /// Clock ticks since boot.
    #[serde(rename = "startTime")]
    start_time: u64,
}

impl InitProcess {
    /// The process that has this pid now.
    ///
    /// # Errors
    ///
    /// The kernel's, if there is none.
    pub(super) fn observe(pid: i32) -> io::Result<Self> {
        let stat = Stat::of_process(pid.cast_unsigned())?;
        Ok(Self { pid, start_time: stat.began.since_boot() })
    }

    pub(super) fn pid(self) -> i32 {
        self.pid
    }

    /// Whether it still runs. A zombie does not.
    pub(super) fn is_alive(self) -> bool {
        let is_this = |stat: Stat| stat.began.since_boot() == self.start_time;
        Stat::of_process(self.pid.cast_unsigned()).is_ok_and(|stat| is_this(stat) && !matches!(stat.state, 'Z' | 'X'))
    }

    /// A descriptor of exactly this process; `None` if it is gone.
    ///
    /// # Errors
    ///
    /// The kernel's reason for not giving one.
    pub(super) fn pidfd(self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // The check comes after the open: what is alive now with that start time is what the descriptor holds.
            Ok(fd) => Ok(self.is_alive().then_some(fd)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_pid() -> i32 {
        std::process::id().try_into().unwrap()
    }

    #[test]
    fn a_process_with_another_start_time_is_another_process() {
        let own = InitProcess::observe(own_pid()).unwrap();
        assert!(own.is_alive());
        assert!(own.pidfd().unwrap().is_some());
        let stale = InitProcess { start_time: own.start_time + 1, ..own };
        assert!(!stale.is_alive());
        assert!(stale.pidfd().unwrap().is_none());
    }

    /// A program gives itself a name by that of its file, which an image can hold.
    #[test]
    fn a_process_whose_name_is_no_text_is_alive() {
        use std::os::unix::ffi::OsStrExt as _;

        let folder = std::env::temp_dir().join(format!("palisade-odd-init-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let program = folder.join(std::ffi::OsStr::from_bytes(b"odd\xff"));
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let mut child = std::process::Command::new(&program).arg("60").spawn().unwrap();
        let observed = InitProcess::observe(child.id().try_into().unwrap());
        let alive = observed.as_ref().is_ok_and(|process| process.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(alive, "{observed:?}");
        assert!(!observed.unwrap().is_alive());
    }
}
