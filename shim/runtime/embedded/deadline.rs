//! The time limit of a call.
//!
//! The first alarm only interrupts: the system call that libcontainer waits in fails with EINTR, so the call ends
//! on its error path and takes back what it made. A call that does not end even then is ended by the second one.

use std::io;
use std::time::Duration;

use crate::unsafe_syscalls;

/// Time between the interruption and the end of the process, for cleaning up.
const GRACE: Duration = Duration::from_secs(10);

/// Starts the clock. Children do not inherit it.
pub(super) fn arm(limit: Duration) -> io::Result<()> {
    unsafe_syscalls::interrupt_then_end(limit, GRACE)
}

/// Stops the clock, for a call that waits for a process of the container.
pub(super) fn disarm() -> io::Result<()> {
    unsafe_syscalls::interrupt_then_end(Duration::ZERO, Duration::ZERO)
}
