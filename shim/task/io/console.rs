//! A terminal: the runtime makes it and sends its master end over a socket.
//!
//! Source: runc `docs/terminals.md`, detached mode.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, open};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixListener;

use super::copy::{Sink, Source, nonblocking};
use super::{Owner, StdioError};

/// The runtime sends the terminal during its call, whose own deadline is as long.
const RECEIVE: Duration = Duration::from_secs(60);

/// A listening socket for one terminal, in the private directory.
///
/// Its path can exceed what an address holds, so it is bound and passed on through a descriptor of the
/// directory (`/proc/<pid>/fd/<n>/<name>`).
#[derive(Debug)]
pub(crate) struct ConsoleSocket {
    listener: UnixListener,
    /// Keeps the number in `path_for_runtime` alive.
    _dir: OwnedFd,
    path_for_runtime: PathBuf,
    path: PathBuf,
}

impl ConsoleSocket {
    /// Listens in `dir`; `name` is one file name.
    pub(crate) fn listen(dir: &Path, name: &str) -> Result<Self, StdioError> {
        let failed =
            |source: io::Error| StdioError::Io { action: "listen for a terminal in", path: dir.into(), source };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(dir, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let path_for_runtime = PathBuf::from(format!("/proc/{}/fd/{}/{name}", std::process::id(), fd.as_raw_fd()));
        let listener = UnixListener::bind(&path_for_runtime).map_err(failed)?;
        Ok(Self { listener, _dir: fd, path_for_runtime, path: dir.join(name) })
    }

    /// The path for the runtime's `--console-socket`.
    pub(crate) fn path_for_runtime(&self) -> &Path {
        &self.path_for_runtime
    }

    /// Takes the terminal that the runtime sends, and gives its other end to the user that the process runs as.
    pub(crate) async fn receive(self, owner: Owner) -> Result<Console, StdioError> {
        let master = tokio::time::timeout(RECEIVE, self.receive_fd())
            .await
            .unwrap_or_else(|elapsed| Err(elapsed.into()))
            .map_err(StdioError::NoTerminal)?;
        give_peer_to(&master, owner).map_err(StdioError::NoTerminal)?;
        let master = nonblocking(master, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Console { master: Arc::new(master) })
    }

    async fn receive_fd(&self) -> io::Result<OwnedFd> {
        let (stream, _) = self.listener.accept().await?;
        loop {
            stream.readable().await?;
            match stream.try_io(Interest::READABLE, || receive_one(&stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received,
            }
        }
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            crate::warn!("remove {:?}: {error}", self.path);
        }
    }
}

/// The slave end is reached through the master, never by a path that the container's processes can influence.
/// Source: ioctl_tty(2), TIOCGPTPEER.
fn give_peer_to(master: &OwnedFd, owner: Owner) -> io::Result<()> {
    let peer = ioctl_tiocgptpeer(master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    Ok(fchown(&peer, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?)
}

fn receive_one(stream: &tokio::net::UnixStream) -> io::Result<OwnedFd> {
    let mut name = [0; 128];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(stream, &mut [IoSliceMut::new(&mut name)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    ancillary
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// A terminal's master end.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    master: Arc<AsyncFd<OwnedFd>>,
}

impl Console {
    pub(super) fn source(&self) -> Source {
        Source::Terminal(Arc::clone(&self.master))
    }

    pub(super) fn sink(&self) -> Sink {
        Sink::Terminal(Arc::clone(&self.master))
    }

    pub(super) fn resize(&self, width: u16, height: u16) -> io::Result<()> {
        let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&*self.master, size)?)
    }
}
