//! A terminal of the container's own, for a process that joins it.
//!
//! It is made inside, so it is of the container's devpts; its slave end is reached through the master and never by a path, which the
//! container could have replaced (CVE-2025-52565). Source: runc `docs/terminals.md`, pty(7).

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, fstatfs, major, minor, open};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, sendmsg, socket_with,
};
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// `DEVPTS_SUPER_MAGIC`.
const DEVPTS_MAGIC: i64 = 0x1cd1;
/// The multiplexer's numbers. Source: kernel `Documentation/admin-guide/devices.txt`.
const PTMX: (u32, u32) = (5, 2);
/// Inside the instance of devpts, where no link can stand for it.
const PTMX_PATH: &str = "/dev/pts/ptmx";

/// A connection to whoever wants the terminal, made before the container is entered.
#[derive(Debug)]
pub(super) struct ConsoleConnection(OwnedFd);

impl ConsoleConnection {
    pub(super) fn to(path: &Path) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self(socket))
    }

    /// Makes a terminal, hands its master end over, and makes it this process's own: its controlling terminal and its three streams.
    /// The process must lead a session.
    pub(super) fn give_terminal(self) -> io::Result<()> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let master = open(PTMX_PATH, flags, Mode::empty())?;
        check(&master)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        self.send(&master)?;
        ioctl_tiocsctty(&slave)?;
        dup2_stdin(&slave)?;
        dup2_stdout(&slave)?;
        Ok(dup2_stderr(&slave)?)
    }

    /// runc sends the name of the terminal along, and some readers want a byte at least.
    fn send(&self, master: &OwnedFd) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [master.as_fd()];
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        sendmsg(&self.0, &[IoSlice::new(PTMX_PATH.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

/// What stands at the path could be anything of the image's.
fn check(master: &OwnedFd) -> io::Result<()> {
    let seen = fstat(master)?;
    #[allow(clippy::unnecessary_cast, reason = "the type of f_type differs between architectures")]
    let is_devpts = fstatfs(master)?.f_type as i64 == DEVPTS_MAGIC;
    let is_ptmx = FileType::from_raw_mode(seen.st_mode) == FileType::CharacterDevice
        && (major(seen.st_rdev), minor(seen.st_rdev)) == PTMX;
    if is_devpts && is_ptmx {
        Ok(())
    } else {
        Err(io::Error::other("/dev/pts/ptmx of the container is no terminal multiplexer"))
    }
}
