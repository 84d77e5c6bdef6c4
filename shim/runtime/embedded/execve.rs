//! Telling when init has become the container's program.
//!
//! Init holds a FIFO of the state directory open for writing, closed at its execve. Whoever has it open for reading sees its end then.
//! Nobody else has it: the processes that made init are gone by then, and none of the container may look into init before its execve.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, open};

/// Makes the FIFO; what comes back is to be held until init has inherited it.
pub(super) fn make(fifo: &Path) -> io::Result<OwnedFd> {
    mkfifo(fifo, Mode::S_IRUSR | Mode::S_IWUSR)?;
    // In both directions, so that the open waits for nobody.
    Ok(open(fifo, OFlags::RDWR | OFlags::CLOEXEC, rustix::fs::Mode::empty())?)
}

/// The end for reading, to be opened before init is let go; `None` for a container that has none, as of an earlier version.
pub(super) fn watch(fifo: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match open(fifo, flags, rustix::fs::Mode::empty()) {
        Ok(end) => Ok(Some(end)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Waits until init runs its program, or has ended. The deadline of the call interrupts it.
pub(super) fn wait(end: &OwnedFd) -> io::Result<()> {
    let mut polled = [PollFd::new(end, PollFlags::empty())];
    poll(&mut polled, None)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_seen_when_the_last_writer_is_gone() {
        let fifo = std::env::temp_dir().join(format!("palisade-execve-{}", std::process::id()));
        let held = make(&fifo).unwrap();
        let end = watch(&fifo).unwrap().unwrap();
        let waiting = std::thread::spawn(move || wait(&end));
        drop(held);
        waiting.join().unwrap().unwrap();
        std::fs::remove_file(&fifo).unwrap();
        assert!(watch(&fifo).unwrap().is_none());
    }
}
