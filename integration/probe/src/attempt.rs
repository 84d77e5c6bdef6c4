//! Running one attempt in a process of its own, so that what it changes, and a filter that kills, ends with it.

use std::io::{self, Read as _};

use palisade_probe::{Outcome, Verdict};
use serde::Serialize;

use crate::syscalls::{self, Forked};

/// A primitive to try. `run` returns `Ok` when the kernel let it through.
pub(crate) struct Attempt {
    pub(crate) name: &'static str,
    pub(crate) run: fn() -> io::Result<()>,
}

/// How many processes could be made.
#[derive(Serialize)]
pub(crate) struct Forks {
    started: u32,
    errno: i32,
}

/// The child's exit code for an attempt that met no refusal; its errno goes through the pipe.
const SECONDS: u32 = 10;

/// Tries it in a child that an alarm ends after ten seconds.
pub(crate) fn run(attempt: &Attempt) -> io::Result<Outcome> {
    let (mut reader, writer) = io::pipe()?;
    let pid = match syscalls::fork()? {
        Forked::Child => {
            syscalls::alarm(SECONDS);
            let errno = (attempt.run)().err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EINVAL));
            syscalls::report_and_exit(&writer, errno)
        }
        Forked::Parent(pid) => pid,
    };
    drop(writer);
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer)?;
    let signal = syscalls::wait(pid)?;
    let errno = answer.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
    let (result, errno) = match (errno, signal) {
        (Some(0), _) => (Verdict::Reached, 0),
        (Some(errno), _) => (Verdict::Refused, errno),
        (None, signal) => (Verdict::Killed, signal.unwrap_or(0)),
    };
    Ok(Outcome { name: attempt.name.to_owned(), result, errno })
}

/// Makes processes that wait until the kernel refuses another one or `most` is reached, then ends them all.
pub(crate) fn count_forks(most: u32) -> io::Result<Forks> {
    let mut children = Vec::new();
    let mut errno = 0;
    while children.len() < most as usize {
        match syscalls::fork() {
            Ok(Forked::Child) => syscalls::wait_for_end(),
            Ok(Forked::Parent(pid)) => children.push(pid),
            Err(error) => {
                errno = error.raw_os_error().unwrap_or(0);
                break;
            }
        }
    }
    let started = u32::try_from(children.len()).map_err(io::Error::other)?;
    for pid in children {
        syscalls::kill(pid)?;
        syscalls::wait(pid)?;
    }
    Ok(Forks { started, errno })
}
