//! One run at a time on a node, from before it is looked at until nothing more is done.

use std::fs::File;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, openat, statat};
use rustix::io::Errno;

use super::error::InstallError;
use super::files;
use super::record::{self, DIRECTORY, KEPT, Record};
use crate::doctor::tree::Tree;

const LOCK: &str = "/var/lib/palisade/install/lock";
/// How often a lock whose file went while it was taken is taken anew.
const ATTEMPTS: usize = 8;

/// Held as long as the file is open.
pub(super) struct Lock {
    tree: Tree,
    file: File,
    /// The directory above, where it was made for this alone.
    pub(super) made: Vec<String>,
}

impl Lock {
    pub(super) fn take(tree: Tree) -> Result<Self, InstallError> {
        let above = DIRECTORY.rsplit_once('/').map_or(DIRECTORY, |(above, _)| above);
        let file = (0..ATTEMPTS).find_map(|_| attempt(&tree).transpose());
        let file = file.unwrap_or_else(|| Err(InstallError::Busy { path: LOCK.to_owned() }))?;
        let others = tree.list(above).map_err(InstallError::Look)?.unwrap_or_default();
        let is_alone = others.iter().all(|name| DIRECTORY.ends_with(&format!("/{name}")));
        let is_first = is_alone && Record::read(&tree)?.is_none();
        let made = if is_first { vec![above.to_owned()] } else { Vec::new() };
        Ok(Self { tree, file, made })
    }

    /// The last thing that a run does. Where nothing is installed then, the lock's file goes with these directories: whoever has it open already
    /// finds that it is not the one of that name any more, and takes the lock anew.
    pub(super) fn release(self, directories: &[String]) -> Result<(), InstallError> {
        let tree = &self.tree;
        if Record::read(tree)?.is_none() {
            record::remove(tree)?;
            files::remove(tree, LOCK)?;
            files::remove_directory(tree, DIRECTORY)?;
            directories.iter().rev().try_for_each(|path| files::remove_directory(tree, path).map(drop))?;
        }
        drop(self.file);
        Ok(())
    }
}

/// None: the file went while it was taken, with the run that had the lock.
fn attempt(tree: &Tree) -> Result<Option<File>, InstallError> {
    files::make_directories(tree, KEPT, 0o700)?;
    let failed = |errno: Errno| InstallError::file("lock", LOCK)(errno.into());
    let directory = tree.open_directory(DIRECTORY.as_ref()).map_err(InstallError::file("open", DIRECTORY))?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match openat(&directory, "lock", flags, Mode::from_raw_mode(0o600)) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Err(InstallError::Busy { path: LOCK.to_owned() }),
        locked => locked.map_err(failed)?,
    }
    let own = fstat(&file).map_err(failed)?;
    match statat(&directory, "lock", AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        there => {
            let there = there.map_err(failed)?;
            let is_same = (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino);
            Ok(is_same.then(|| File::from(file)))
        }
    }
}
