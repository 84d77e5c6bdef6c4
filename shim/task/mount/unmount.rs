//! Taking mounts down by path.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use super::MountError;

/// More mounts than anybody stacks on one directory.
const MOST_STACKED: usize = 128;

/// Unmounts whatever is mounted on `path` and below it, lazily, without following a link at its end. A path with nothing
/// mounted, or that does not exist, is fine, so it can be called again.
///
/// # Errors
///
/// [`MountError::Io`] for what cannot be unmounted.
pub fn unmount(path: &Path) -> Result<(), MountError> {
    let failed =
        |path: &Path, source: io::Error| MountError::Io { action: "unmount", path: path.to_path_buf(), source };
    let path = match real_path(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        real => real.map_err(|source| failed(path, source))?,
    };
    let table = "/proc/thread-self/mountinfo";
    let mountinfo =
        fs::read_to_string(table).map_err(|source| MountError::Io { action: "read", path: table.into(), source })?;
    // Later lines are mounted over or below earlier ones.
    for mount_point in mount_points(&mountinfo).filter(|point| point.starts_with(&path)).rev() {
        unmount_once(&mount_point).map_err(|source| failed(&mount_point, source))?;
    }
    for _ in 0..MOST_STACKED {
        if !unmount_once(&path).map_err(|source| failed(&path, source))? {
            return Ok(());
        }
    }
    Err(failed(&path, Errno::EBUSY.into()))
}

/// Unmounts the topmost mount; `false` if there was none.
pub(super) fn unmount_once(path: &Path) -> io::Result<bool> {
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(true),
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// The path with the links in its parents resolved, as mountinfo shows it; its last component is left alone.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(fs::canonicalize(parent)?.join(name)),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

pub(super) fn mount_points(mountinfo: &str) -> impl DoubleEndedIterator<Item = PathBuf> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(|field| PathBuf::from(unescaped(field)))
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescaped(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(field.to_owned(), |plain, (escape, character)| plain.replace(escape, character))
}
