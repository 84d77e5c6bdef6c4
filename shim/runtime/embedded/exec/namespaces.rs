//! The namespaces of a container that a process of its has to join: all in which it is not already.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::thread::{ThreadNameSpaceType as Kinds, move_into_thread_name_spaces};

use crate::runtime::embedded::init_process::InitProcess;

/// Names in `/proc/<pid>/ns`. Source: namespaces(7).
const KINDS: [(&str, Kinds); 8] = [
    ("user", Kinds::USER),
    ("mnt", Kinds::MOUNT),
    ("pid", Kinds::PROCESS_ID),
    ("net", Kinds::NETWORK),
    ("ipc", Kinds::INTER_PROCESS_COMMUNICATION),
    ("uts", Kinds::HOST_NAME_AND_NIS_DOMAIN_NAME),
    ("cgroup", Kinds::CONTROL_GROUP),
    ("time", Kinds::TIME),
];

/// What init has and this process has not.
#[derive(Debug)]
pub(super) struct ForeignNamespaces {
    init: OwnedFd,
    kinds: Kinds,
}

impl ForeignNamespaces {
    /// Compares this process with init.
    ///
    /// # Errors
    ///
    /// `NotFound` if init is gone, or the kernel's reason.
    pub(super) fn of(init: InitProcess) -> io::Result<Self> {
        // The descriptor is of exactly this process, so is what is compared: a pid that is reused meanwhile fails the check below.
        let pidfd = init.pidfd()?.ok_or(io::ErrorKind::NotFound)?;
        let mut kinds = Kinds::empty();
        for (name, kind) in KINDS {
            let of = |process: &str| identity(&Path::new("/proc").join(process).join("ns").join(name));
            match (of(&init.pid().to_string())?, of("self")?) {
                (Some(theirs), Some(ours)) if theirs == ours => {}
                // A kind that the kernel does not have.
                (None, None) => {}
                _ => kinds |= kind,
            }
        }
        if !init.is_alive() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self { init: pidfd, kinds })
    }

    pub(super) fn has_users(&self) -> bool {
        self.kinds.contains(Kinds::USER)
    }

    /// Joins all of them in one step. Children of this process are in the pid namespace, it itself is not. Source: setns(2), Linux 5.8.
    ///
    /// # Errors
    ///
    /// The kernel's reason; then none was joined.
    pub(super) fn join(&self) -> io::Result<()> {
        if self.kinds.is_empty() {
            return Ok(());
        }
        Ok(move_into_thread_name_spaces(self.init.as_fd(), self.kinds)?)
    }
}

fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_the_same_namespaces_has_nothing_to_join() {
        let own = InitProcess::observe(std::process::id().try_into().unwrap()).unwrap();
        let foreign = ForeignNamespaces::of(own).unwrap();
        assert!(foreign.kinds.is_empty() && !foreign.has_users(), "{foreign:?}");
        foreign.join().unwrap();
    }
}
