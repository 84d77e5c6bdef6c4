//! Signals to a process by pidfd, so that a pid that was reused is never hit.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::error::TaskError;
use super::host::SignalTarget;
use crate::unsafe_syscalls::pidfd_send_signal;

/// Highest signal number: SIGRTMAX.
const MAX_SIGNAL: i32 = 64;

/// A signal's number, 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalNumber(i32);

impl SignalNumber {
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGTERM.
    pub(super) const TERM: Self = Self(15);

    /// As a request has it.
    pub(super) fn parse(signal: u32) -> Result<Self, TaskError> {
        let number = i32::try_from(signal).ok().filter(|number| (1..=MAX_SIGNAL).contains(number));
        number.map(Self).ok_or_else(|| TaskError::Invalid { field: "signal", value: signal.to_string() })
    }

    /// As system calls have it.
    #[must_use]
    pub fn get(self) -> i32 {
        self.0
    }
}

/// A process that can be signalled.
#[derive(Debug)]
pub(super) struct PidFd(OwnedFd);

impl PidFd {
    /// Opens `pid`, which must not have been waited for yet.
    pub(super) fn open(pid: u32) -> Result<Self, TaskError> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(TaskError::Finished)?;
        pidfd_open(raw, PidfdFlags::empty()).map(Self).map_err(|errno| failed(errno.into()))
    }
}

impl SignalTarget for PidFd {
    fn send(&self, signal: SignalNumber) -> Result<(), TaskError> {
        pidfd_send_signal(self, signal.get()).map_err(failed)
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

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signal_numbers_are_sent() {
        for number in [0, 65, u32::MAX] {
            let refused = SignalNumber::parse(number);
            assert!(matches!(refused, Err(TaskError::Invalid { field: "signal", .. })), "{number}");
        }
        assert_eq!((SignalNumber::parse(9).unwrap(), SignalNumber::parse(64).unwrap().get()), (SignalNumber::KILL, 64));
    }

    #[test]
    fn a_process_that_is_gone_is_finished() {
        assert!(matches!(PidFd::open(u32::MAX >> 2), Err(TaskError::Finished)));
        assert!(matches!(PidFd::open(0), Err(TaskError::Finished)));
    }
}
