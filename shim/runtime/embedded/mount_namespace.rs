//! A container's mount namespace, entered between `create` and `start`: what libcontainer has not done to its mounts.

use std::fs::File;
use std::io;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// Does some work in the mount namespace of `init`, where `/` is the container's root.
///
/// # Errors
///
/// The namespace can't be entered.
pub(super) fn within<T: Send>(init: i32, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let namespace = File::open(format!("/proc/{init}/ns/mnt"))?;
    // A thread with a file system view of its own can enter the namespace; the process stays where it is.
    let enter = || {
        unshare(CloneFlags::CLONE_FS)?;
        setns(&namespace, CloneFlags::CLONE_NEWNS)?;
        Ok(work())
    };
    thread::scope(|scope| {
        let entered = thread::Builder::new().spawn_scoped(scope, enter)?;
        entered.join().map_err(|_| io::Error::other("the thread in the mount namespace panicked"))?
    })
}
