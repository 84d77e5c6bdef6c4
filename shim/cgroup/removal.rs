//! Removing a container's cgroup, for the cleaning up after a shim that crashed.

use std::thread;

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::directory::Directory;
use super::{Cgroup, CgroupError, pauses};

impl Cgroup {
    /// Removes the cgroup with its sub-cgroups from every hierarchy. One that is gone already is as good.
    ///
    /// Processes have to be gone first ([`Cgroup::kill_all`]); the kernel may need a moment after the last one, for
    /// which this waits.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Io`] with `EBUSY` if a cgroup is still in use after half a second. The other hierarchies are
    /// removed all the same.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let mut outcome = Ok(());
        for hierarchy in &self.hierarchies {
            let removed = remove_tree(&hierarchy.directory);
            outcome = outcome.and(removed);
        }
        outcome
    }
}

fn remove_tree(directory: &Directory) -> Result<(), CgroupError> {
    // A cgroup that is gone, or another one of the same name in its place, is not to be touched.
    if directory.is_gone()? {
        return Ok(());
    }
    let mut last = Ok(());
    for pause in pauses() {
        directory.climb(&mut |parent, name| parent.remove_child(name))?;
        match unlinkat(nix::fcntl::AT_FDCWD, directory.path(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(errno @ (Errno::EBUSY | Errno::ENOTEMPTY)) => {
                last = Err(CgroupError::io("remove", directory.path(), errno));
                thread::sleep(pause);
            }
            Err(errno) => return Err(CgroupError::io("remove", directory.path(), errno)),
        }
    }
    last
}
