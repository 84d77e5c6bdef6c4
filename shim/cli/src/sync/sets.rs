//! The sets of a node, `cluster/set-…` beside its policy file, and which of them is in force: the one that `cluster/current` names.
//!
//! A set is laid whole, judged, and comes into force by the rename of a link. Whatever ends this program in between leaves the old one in
//! force, and what it had begun is removed later. Nothing but sets and that link is ever touched.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use palisade::gate::{CLUSTER, CURRENT};
use rustix::fs::{FlockOperation, flock};

use super::files::Files;
use crate::error::CliError;

/// What a set's name begins with.
const SET: &str = "set-";
/// The link that is about to be `current`.
const NEXT: &str = "next";

/// What is locked, and how long another one's work is waited for.
const LOCK: &str = "lock";
const PATIENCE: Duration = Duration::from_secs(10);

/// What became of what is wanted.
pub(super) enum Swap {
    /// It is in force already.
    None,
    /// It came into force.
    Done {
        /// What it treats differently.
        differences: String,
    },
}

pub(super) struct Sets {
    dir: PathBuf,
}

impl Sets {
    /// Of the node whose policy file is in `to`.
    pub(super) fn open(to: &Path) -> Result<Self, CliError> {
        let dir = to.join(CLUSTER);
        let failed = |source| CliError::Replace { path: dir.clone(), source };
        DirBuilder::new().recursive(true).mode(0o755).create(&dir).map_err(failed)?;
        Ok(Self { dir })
    }

    /// One works on them at a time, until it lets go of this. On a file that only root can open: anybody may lock what they can read.
    fn lock(&self) -> Result<File, CliError> {
        let path = self.dir.join(LOCK);
        let lock = || {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            let begun = Instant::now();
            loop {
                match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    Err(error) if error == rustix::io::Errno::WOULDBLOCK && begun.elapsed() < PATIENCE => {}
                    Err(error) => return Err(error.into()),
                    Ok(()) => return Ok(file),
                }
                thread::sleep(PATIENCE / 100);
            }
        };
        lock().map_err(|source| CliError::Replace { path: path.clone(), source })
    }

    /// The set that is in force, by its name, and its files.
    pub(super) fn in_force(&self) -> Result<Option<(String, Files)>, CliError> {
        match self.current() {
            None => Ok(None),
            Some(name) => Files::laid(&self.dir.join(&name)).map(|files| Some((name, files))),
        }
    }

    fn current(&self) -> Option<String> {
        fs::read_link(self.dir.join(CURRENT)).ok().map(|name| name.to_string_lossy().into_owned())
    }

    /// Brings these files into force as one set, if `judge` has nothing against it.
    pub(super) fn bring(
        &self,
        files: &Files,
        judge: impl FnOnce(&Path) -> Result<String, CliError>,
    ) -> Result<Swap, CliError> {
        let locked = self.lock()?;
        let swap = self.swap(files, judge);
        // Shims that read the one before are not in the way of a third.
        self.remove_but(1);
        drop(locked);
        swap
    }

    fn swap(&self, files: &Files, judge: impl FnOnce(&Path) -> Result<String, CliError>) -> Result<Swap, CliError> {
        let known = self.current();
        if known.is_some_and(|known| Files::laid(&self.dir.join(known)).is_ok_and(|laid| laid == *files)) {
            return Ok(Swap::None);
        }
        let name = format!("{SET}{}-{}", nanoseconds(), files.sha256().get(..12).unwrap_or_default());
        let set = self.dir.join(&name);
        let judged = lay(&set, files).and_then(|()| judge(&set));
        let swapped = judged.and_then(|differences| {
            self.point_at(&name)?;
            Ok(Swap::Done { differences })
        });
        if swapped.is_err() {
            drop(fs::remove_dir_all(set));
        }
        swapped
    }

    /// Removes what is not in force, once whoever read the one before has long done so.
    pub(super) fn tidy(&self) {
        if let Ok(_locked) = self.lock() {
            self.remove_but(0);
        }
    }

    /// From here on each shim reads the other set.
    fn point_at(&self, name: &str) -> Result<(), CliError> {
        let (next, current) = (self.dir.join(NEXT), self.dir.join(CURRENT));
        let swap = || {
            match fs::remove_file(&next) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            symlink(name, &next)?;
            fs::rename(&next, &current)?;
            File::open(&self.dir)?.sync_all()
        };
        swap().map_err(|source| CliError::Replace { path: current.clone(), source })
    }

    /// Removes the sets that are not in force, but for so many of the newest. What can't be removed now is removed the next time.
    fn remove_but(&self, newest: usize) {
        let current = self.current();
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let sets = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let names = sets.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| is_ours(name) && Some(name) != current.as_ref()).collect();
        // Their names begin with the time at which they were laid.
        names.sort();
        for name in names.iter().rev().skip(newest) {
            drop(fs::remove_dir_all(self.dir.join(name)));
        }
    }
}

/// `set-<nanoseconds since 1970>-<digits of a digest>`.
fn is_ours(name: &str) -> bool {
    let parts = name.strip_prefix(SET).and_then(|rest| rest.split_once('-'));
    let all = |text: &str, of: fn(&u8) -> bool| !text.is_empty() && text.as_bytes().iter().all(of);
    parts.is_some_and(|(time, digest)| all(time, u8::is_ascii_digit) && all(digest, u8::is_ascii_hexdigit))
}

/// No two sets have one name: a shim tells by it that it has read one set alone.
fn nanoseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// Writes the files where nothing was before, and down to the disk.
fn lay(set: &Path, files: &Files) -> Result<(), CliError> {
    let mut directories = vec![set.to_owned()];
    let mut lay = || {
        directory(set)?;
        for (place, text) in files.each() {
            let path = set.join(place);
            if let Some(parent) = path.parent().filter(|parent| !directories.iter().any(|known| known == parent)) {
                directory(parent)?;
                directories.push(parent.to_owned());
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path)?;
            file.write_all(text.as_bytes())?;
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            file.sync_all()?;
        }
        directories.iter().try_for_each(|directory| File::open(directory)?.sync_all())
    };
    lay().map_err(|source| CliError::Replace { path: set.to_owned(), source })
}

/// Whatever the umask is: the shim takes no directory that others can write.
fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_called_as_a_set_is_one() {
        assert!(is_ours("set-17-0a"));
        for name in ["set-", "set-17", "set-17-", "set--0a", "set-x-0a", "set-17-xy", "mine", "current", "next"] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
