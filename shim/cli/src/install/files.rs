//! Files of the node: read whole, replaced as a whole, within its tree.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fsync, mkdirat, openat, renameat, unlinkat,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::error::InstallError;
use crate::doctor::tree::Tree;

/// Of a file that is installed or kept, in bytes: a program has some 10 MB.
const MOST: u64 = 512 << 20;

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Held {
    /// A file of root's.
    pub(super) fn roots(bytes: impl Into<Vec<u8>>, mode: u32) -> Self {
        Self { bytes: bytes.into(), mode, uid: 0, gid: 0 }
    }

    /// The same file with another content.
    pub(super) fn with(&self, text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec(), ..self.clone() }
    }

    pub(super) fn sha256(&self) -> String {
        sha256(&self.bytes)
    }

    /// Its text, where it is one.
    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where a path leads to: a file that is a link is written where it is.
fn real(tree: &Tree, path: &str) -> Result<PathBuf, InstallError> {
    if let Some(steps) = tree.way(path).map_err(InstallError::Look)? {
        return Ok(steps.last().map_or_else(|| PathBuf::from(path), |step| PathBuf::from(&step.path)));
    }
    if tree.link(path).is_some() {
        return Err(InstallError::Dangling { path: path.to_owned() });
    }
    Ok(PathBuf::from(path))
}

/// A file's content, owner and mode; none where there is none.
pub(super) fn held(tree: &Tree, path: &str) -> Result<Option<Held>, InstallError> {
    let Some(steps) = tree.way(path).map_err(InstallError::Look)? else {
        real(tree, path)?;
        return Ok(None);
    };
    let Some(step) = steps.last().filter(|step| step.kind == FileType::RegularFile) else {
        return Err(InstallError::NoFile { path: path.to_owned() });
    };
    let (mode, uid, gid) = (step.mode, step.uid, step.gid);
    let bytes = tree.bytes(path, MOST + 1).map_err(InstallError::Look)?;
    if bytes.as_ref().is_some_and(|bytes| bytes.len() as u64 > MOST) {
        return Err(InstallError::Look(format!("{path} is too large to be kept")));
    }
    Ok(bytes.map(|bytes| Held { bytes, mode, uid, gid }))
}

fn parent(tree: &Tree, path: &Path) -> io::Result<OwnedFd> {
    tree.open_directory(path.parent().unwrap_or_else(|| Path::new("/")))
}

fn name(path: &Path) -> &Path {
    path.file_name().map_or(path, Path::new)
}

/// The name under which a file is written before it takes its place; one that a killed run left is replaced.
fn temporary(path: &Path) -> PathBuf {
    PathBuf::from(format!(".palisade-install.{}", name(path).display()))
}

/// Replaces a file as a whole: whoever has the old one open, or runs it, keeps it.
pub(super) fn write(tree: &Tree, path: &str, held: &Held) -> Result<(), InstallError> {
    write_if(tree, path, held, || true).map(drop)
}

/// The same, if it is still to be replaced when all of it is written; whether it was.
pub(super) fn write_if(
    tree: &Tree,
    path: &str,
    held: &Held,
    still: impl FnOnce() -> bool,
) -> Result<bool, InstallError> {
    let real = real(tree, path)?;
    let written = || -> io::Result<bool> {
        let directory = parent(tree, &real)?;
        let temporary = temporary(&real);
        absent(unlinkat(&directory, &temporary, AtFlags::empty()))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&directory, &temporary, flags, Mode::from_raw_mode(0o600))?;
        let finished = fill(file, held).and_then(|()| {
            let is_wanted = still();
            if is_wanted {
                renameat(&directory, &temporary, &directory, name(&real))?;
            }
            Ok(is_wanted)
        });
        if !matches!(finished, Ok(true)) {
            absent(unlinkat(&directory, &temporary, AtFlags::empty()))?;
        }
        let replaced = finished?;
        fsync(&directory)?;
        Ok(replaced)
    };
    written().map_err(InstallError::file("write", path))
}

fn fill(file: OwnedFd, held: &Held) -> io::Result<()> {
    let mut file = File::from(file);
    file.write_all(&held.bytes)?;
    fchown(&file, Some(Uid::from_raw(held.uid)), Some(Gid::from_raw(held.gid)))?;
    fchmod(&file, Mode::from_raw_mode(held.mode))?;
    file.sync_all()
}

/// Removes what a killed run may have left beside a file that it was about to replace.
pub(super) fn clean(tree: &Tree, path: &str) -> Result<(), InstallError> {
    let real = real(tree, path)?;
    let cleaned = || -> io::Result<()> {
        match parent(tree, &real) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            directory => absent(unlinkat(directory?, temporary(&real), AtFlags::empty())),
        }
    };
    cleaned().map_err(InstallError::file("clean up beside", path))
}

/// Removes a file, and what a killed run may have left beside it.
pub(super) fn remove(tree: &Tree, path: &str) -> Result<(), InstallError> {
    let path_of = Path::new(path);
    let removed = || -> io::Result<()> {
        let directory = match parent(tree, path_of) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            directory => directory?,
        };
        absent(unlinkat(&directory, temporary(path_of), AtFlags::empty()))?;
        absent(unlinkat(&directory, name(path_of), AtFlags::empty()))?;
        Ok(fsync(&directory)?)
    };
    removed().map_err(InstallError::file("remove", path))
}

/// Makes a directory of root's and those above it, as far as they are not there.
pub(super) fn make_directories(tree: &Tree, path: &str, mode: u32) -> Result<(), InstallError> {
    let mut all: Vec<&Path> = Path::new(path).ancestors().filter(|path| *path != Path::new("/")).collect();
    all.reverse();
    for path in all {
        let text = path.to_string_lossy().into_owned();
        if tree.way(path).map_err(InstallError::Look)?.is_some() {
            continue;
        }
        let make = || -> io::Result<()> {
            let above = parent(tree, path)?;
            mkdirat(&above, name(path), Mode::from_raw_mode(mode))?;
            // Whatever this process' mask takes away.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            fchmod(openat(&above, name(path), flags, Mode::empty())?, Mode::from_raw_mode(mode))?;
            Ok(fsync(&above)?)
        };
        make().map_err(InstallError::file("make", &text))?;
    }
    Ok(())
}

/// Removes a directory if nothing is in it; whether it is gone.
pub(super) fn remove_directory(tree: &Tree, path: &str) -> Result<bool, InstallError> {
    let path_of = Path::new(path);
    let removed = parent(tree, path_of).and_then(|above| Ok(unlinkat(&above, name(path_of), AtFlags::REMOVEDIR)?));
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        // Something is mounted there, or it is a link of the admin's.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOTDIR | libc::EEXIST)) => Ok(false),
        Err(error) => Err(InstallError::file("remove", path)(error)),
    }
}

/// What is not there need not be removed.
fn absent(removed: Result<(), Errno>) -> io::Result<()> {
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
