//! containerd's FIFOs. Source: fifo(7).

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use super::StdioError;

/// The last component may not be a link: the path is the caller's, and the shim is root.
const COMMON: OFlags = OFlags::CLOEXEC.union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW);

/// Opens a FIFO to write to. Opened for both directions, so that it neither waits for a reader nor fails
/// while containerd, the reader, is being restarted.
pub(super) fn open_output(path: &Path) -> Result<OwnedFd, StdioError> {
    open_fifo(path, OFlags::RDWR)
}

/// Opens a FIFO to read from, and a writing end that keeps it from ending before `CloseIO`.
pub(super) fn open_input(path: &Path) -> Result<(OwnedFd, OwnedFd), StdioError> {
    let read = open_fifo(path, OFlags::RDONLY)?;
    let hold = open_fifo(path, OFlags::WRONLY)?;
    Ok((read, hold))
}

fn open_fifo(path: &Path, access: OFlags) -> Result<OwnedFd, StdioError> {
    let failed = |errno: rustix::io::Errno| StdioError::Io { action: "open", path: path.into(), source: errno.into() };
    // A first look without opening: to open a device can have effects.
    let seen = rustix::fs::lstat(path).map_err(failed)?;
    is_fifo(path, seen.st_mode)?;
    let fd = open(path, access | COMMON, Mode::empty()).map_err(failed)?;
    is_fifo(path, fstat(&fd).map_err(failed)?.st_mode)?;
    Ok(fd)
}

fn is_fifo(path: &Path, mode: u32) -> Result<(), StdioError> {
    if FileType::from_raw_mode(mode) == FileType::Fifo {
        Ok(())
    } else {
        Err(StdioError::WrongKind { path: path.into(), expected: "FIFO" })
    }
}
