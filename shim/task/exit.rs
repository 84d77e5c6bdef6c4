//! How a process ended.

use std::time::{SystemTime, UNIX_EPOCH};

use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;
use rustix::process::WaitStatus;

/// Status of a process that was killed with SIGKILL, as shells and containerd count it: 128 + 9.
pub const SIGKILL_STATUS: u32 = 128 + 9;

/// Exit status and time of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    status: u32,
    at: SystemTime,
}

impl Exit {
    /// From what wait4(2) says: the exit code, or 128 + the signal. `None` if the process didn't end.
    #[must_use]
    pub fn from_wait(status: WaitStatus) -> Option<Self> {
        Self::from_codes(status.exit_status(), status.terminating_signal())
    }

    fn from_codes(exit: Option<i32>, signal: Option<i32>) -> Option<Self> {
        let code = exit.or_else(|| signal.map(|signal| 128 + signal))?;
        u32::try_from(code).ok().map(Self::now)
    }

    /// Of a process that has just ended with this status.
    #[must_use]
    pub fn now(status: u32) -> Self {
        Self { status, at: SystemTime::now() }
    }

    /// Of a process that could not be started; as containerd's own shim answers.
    #[must_use]
    pub fn never_ran() -> Self {
        Self::now(255)
    }

    /// The status, 0 to 255.
    #[must_use]
    pub fn status(self) -> u32 {
        self.status
    }

    /// When the shim learnt of it.
    #[must_use]
    pub fn at(self) -> SystemTime {
        self.at
    }
}

/// A time as protobuf has it.
#[must_use]
pub fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
        ..Timestamp::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_count_from_128() {
        assert_eq!(Exit::from_codes(None, Some(9)).unwrap().status(), SIGKILL_STATUS);
        assert_eq!(Exit::from_codes(None, Some(37)).unwrap().status(), 128 + 37, "SIGRTMIN+3");
        assert_eq!(Exit::from_codes(Some(3), None).unwrap().status(), 3);
    }

    #[test]
    fn a_stop_is_no_exit() {
        assert_eq!(Exit::from_codes(None, None), None);
    }
}
