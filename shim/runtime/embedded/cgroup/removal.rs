//! Removing cgroup directories while the last processes are dying.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{CgroupError, processes};
use crate::cgroup::tree;

/// First wait when a cgroup is busy; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_micros(200);
const LONGEST_WAIT: Duration = Duration::from_millis(20);

/// Removes a directory with all cgroups inside it.
pub(super) fn remove_tree(directory: &Path, until: Instant) -> Result<(), CgroupError> {
    let mut wait = FIRST_WAIT;
    loop {
        let error = match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if processes::is_gone(&error) => return Ok(()),
            Err(error) => error,
        };
        if error.kind() != io::ErrorKind::ResourceBusy || Instant::now() >= until {
            return Err(CgroupError::Busy { path: directory.to_owned(), source: error });
        }
        tree::remove_below(directory)?;
        if fs::remove_dir(directory).is_ok() {
            return Ok(());
        }
        thread::sleep(wait);
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
