//! Copying between a source and a sink until the source ends.
//!
//! Between pipes the kernel moves the pages itself (splice(2)), so a copy holds no buffer: output that nobody
//! reads waits in the pipes and stops the writer, as it would without a shim.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::StdioError;
use crate::unsafe_syscalls::async_fd;

/// Most bytes moved in one call: the default size of a pipe.
const CHUNK: usize = 64 << 10;
/// Buffer for what can't be spliced: terminals and files.
const BUFFER: usize = 4 << 10;

/// Where bytes come from.
#[derive(Debug)]
pub(super) enum Source {
    /// A pipe's or FIFO's reading end.
    Pipe(AsyncFd<OwnedFd>),
    /// A terminal's master end.
    Terminal(Arc<AsyncFd<OwnedFd>>),
}

/// Where bytes go.
#[derive(Debug)]
pub(super) enum Sink {
    /// A pipe's or FIFO's writing end.
    Pipe(AsyncFd<OwnedFd>),
    /// A terminal's master end.
    Terminal(Arc<AsyncFd<OwnedFd>>),
    /// A regular file.
    File(File),
}

impl Sink {
    pub(super) fn pipe(fd: OwnedFd) -> Result<Self, StdioError> {
        nonblocking(fd, Interest::WRITABLE).map(Self::Pipe)
    }
}

/// A pipe's or FIFO's reading end as a source.
pub(super) fn source(fd: OwnedFd) -> Result<Source, StdioError> {
    nonblocking(fd, Interest::READABLE).map(Source::Pipe)
}

/// Registers a descriptor with the event loop.
pub(super) fn nonblocking(fd: OwnedFd, interest: Interest) -> Result<AsyncFd<OwnedFd>, StdioError> {
    rustix::io::ioctl_fionbio(&fd, true).map_err(|errno| StdioError::Pipe(errno.into()))?;
    async_fd(fd, interest).map_err(StdioError::Pipe)
}

/// Copies until the source ends or the sink is gone. Errors end a copy; they concern one stream only.
pub(super) async fn copy(source: Source, sink: Sink) {
    let copied = match (&source, &sink) {
        (Source::Pipe(from), Sink::Pipe(to)) => splice_all(from, to).await,
        (Source::Pipe(from), sink) => buffer_all(from, sink).await,
        (Source::Terminal(from), sink) => buffer_all(from, sink).await,
    };
    if let Err(error) = copied
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        crate::warn!("stdio copy: {error}");
    }
}

async fn splice_all(from: &AsyncFd<OwnedFd>, to: &AsyncFd<OwnedFd>) -> io::Result<()> {
    loop {
        let mut readable = from.readable().await?;
        let mut writable = to.writable().await?;
        match splice(from, None, to, None, CHUNK, SpliceFlags::NONBLOCK | SpliceFlags::MOVE) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(Errno::AGAIN) => match why_again(from, to)? {
                Again::NoInput => readable.clear_ready(),
                Again::NoRoom => writable.clear_ready(),
                Again::Neither => tokio::task::yield_now().await,
            },
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Which side made splice(2) answer EAGAIN, as far as it still holds.
enum Again {
    NoInput,
    NoRoom,
    /// What was missing has come meanwhile.
    Neither,
}

/// Both sides are looked at in one poll(2): a side may only be waited for when it is seen not to be ready, since
/// the event loop tells of changes, and a change that came before would never be told again.
fn why_again(from: &AsyncFd<OwnedFd>, to: &AsyncFd<OwnedFd>) -> io::Result<Again> {
    let mut sides =
        [PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN), PollFd::from_borrowed_fd(to.as_fd(), PollFlags::OUT)];
    poll(&mut sides, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    let [input, room] = sides.map(|side| !side.revents().is_empty());
    Ok(match (input, room) {
        (false, _) => Again::NoInput,
        (true, false) => Again::NoRoom,
        (true, true) => Again::Neither,
    })
}

async fn buffer_all(from: &AsyncFd<OwnedFd>, sink: &Sink) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.async_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, buffer.as_mut_slice())?)).await;
        let count = match read {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            // A terminal whose last process has ended answers EIO. Source: tty_ioctl(4), pty(7).
            Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(()),
            Err(error) => return Err(error),
        };
        write_all(sink, buffer.get(..count).unwrap_or_default()).await?;
    }
}

async fn write_all(sink: &Sink, mut bytes: &[u8]) -> io::Result<()> {
    let fd = match sink {
        Sink::File(file) => return (&mut &*file).write_all(bytes),
        Sink::Pipe(fd) => fd,
        Sink::Terminal(fd) => fd.as_ref(),
    };
    while !bytes.is_empty() {
        let count = fd.async_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, bytes)?)).await?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}
