//! What calls by number and arguments answer, each made in a child of its own.

use std::io;

use palisade_probe::{Made, Table};

use crate::syscalls::{self, Forked};

/// Seconds after which a call that waits is ended: SIGALRM is then its answer.
const PATIENCE: u32 = 1;

/// The answer to each call, in their order.
pub(crate) fn run(list: &str) -> io::Result<Vec<i32>> {
    let calls = Made::parse_list(list).ok_or_else(|| io::Error::other("no list of calls"))?;
    calls.iter().map(answer).collect()
}

/// The errno, 0 for a call that ran, or the signal that ended the child, negated.
fn answer(call: &Made) -> io::Result<i32> {
    let Forked::Parent(child) = syscalls::fork()? else {
        syscalls::alarm(PATIENCE);
        let errno = match call.table {
            Table::Native => syscalls::errno_of(call.number, call.arguments),
            Table::Interrupt => syscalls::errno_by_interrupt(call.number, call.arguments),
        };
        syscalls::end(errno);
    };
    let ended = syscalls::wait_status(child)?;
    Ok(if libc::WIFSIGNALED(ended) { -libc::WTERMSIG(ended) } else { libc::WEXITSTATUS(ended) })
}
