//! Signals to a process by pidfd, so that a pid that was reused is never hit.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::error::TaskError;
use crate::unsafe_syscalls::pidfd_send_signal;

/// SIGKILL's number.
pub(super) const SIGKILL: u32 = 9;
/// SIGTERM's number.
pub(super) const SIGTERM: u32 = 15;
/// Highest signal number: SIGRTMAX.
const MAX_SIGNAL: u32 = 64;

/// A process that can be signalled.
#[derive(Debug)]
pub(super) struct SignalTarget(OwnedFd);

impl SignalTarget {
    /// Opens `pid`, which must not have been waited for yet.
    pub(super) fn open(pid: u32) -> Result<Self, TaskError> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(TaskError::Finished)?;
        pidfd_open(raw, PidfdFlags::empty()).map(Self).map_err(|errno| failed(errno.into()))
    }

    /// Sends `signal`, any number from 1 to 64.
    pub(super) fn send(&self, signal: u32) -> Result<(), TaskError> {
        let number = i32::try_from(signal).ok().filter(|_| (1..=MAX_SIGNAL).contains(&signal));
        let number = number.ok_or_else(|| TaskError::Invalid { field: "signal", value: signal.to_string() })?;
        pidfd_send_signal(self, number).map_err(failed)
    }
}

/// ESRCH is the wanted end of a kill, and has a code of its own.
fn failed(source: io::Error) -> TaskError {
    if source.raw_os_error() == Some(libc::ESRCH) {
        TaskError::Finished
    } else {
        TaskError::System { action: "send a signal", source }
    }
}

impl AsFd for SignalTarget {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signal_numbers_are_sent() {
        let own = SignalTarget::open(std::process::id()).unwrap();
        for number in [0, 65, u32::MAX] {
            assert!(matches!(own.send(number), Err(TaskError::Invalid { field: "signal", .. })), "{number}");
        }
    }

    #[test]
    fn a_process_that_is_gone_is_finished() {
        assert!(matches!(SignalTarget::open(u32::MAX >> 2), Err(TaskError::Finished)));
        assert!(matches!(SignalTarget::open(0), Err(TaskError::Finished)));
    }
}
