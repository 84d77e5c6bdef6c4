//! Having the kernel ready for a process to be moved into a cgroup.
//!
//! The first move after a while waits for an RCU grace period, 10 ms and more on an idle machine; moves in the next moments don't, since the
//! kernel keeps what it waited for. Source: kernel `cgroup_attach_lock`, `rcu_sync_enter`.
//!
//! A create moves the container's process. To move the shim to where it is already, on a thread of its own and as soon as a create is to be
//! expected, has the wait over when the runtime gets there. Where it fails nothing is lost but the time.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::thread;

use super::locate::{self, Membership, Mount};
use super::{CgroupError, proc_file};

/// Enough for a few reads and a write.
const STACK: usize = 128 << 10;

/// Starts the wait for a move that comes soon, and returns at once.
pub fn expect_attach() {
    // That nothing was gained is nobody's business.
    drop(thread::Builder::new().stack_size(STACK).spawn(|| drop(stay())));
}

/// Moves this process into its own cgroup.
fn stay() -> Result<(), CgroupError> {
    let Some(directory) = own_directory()? else { return Ok(()) };
    let file = directory.join("cgroup.procs");
    let failed = |source| CgroupError::io("write", &file, source);
    let mut procs = OpenOptions::new().write(true).open(&file).map_err(failed)?;
    // Whoever has moved the shim meanwhile is not overridden.
    if own_directory()?.as_ref() != Some(&directory) {
        return Ok(());
    }
    procs.write_all(b"0").map_err(failed)
}

/// The lock is one for all hierarchies, so any of them will do.
fn own_directory() -> Result<Option<PathBuf>, CgroupError> {
    let mounts = Mount::parse(&proc_file("/proc/self/mountinfo")?)?;
    let own = Membership::parse(&proc_file("/proc/self/cgroup")?)?;
    own.iter().find_map(|one| locate::directory(one, &mounts).transpose()).transpose()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_shim_stays_where_it_is() {
        let own = || fs::read_to_string("/proc/self/cgroup").unwrap();
        let before = own();
        let directory = own_directory().unwrap().expect("cgroups are mounted");
        assert!(directory.join("cgroup.procs").exists(), "{directory:?}");
        if rustix::process::geteuid().is_root() {
            stay().unwrap();
        }
        assert_eq!(own(), before);
    }
}
