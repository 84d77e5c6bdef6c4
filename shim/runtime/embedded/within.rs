//! Commands that the shim's own process can do in place of a new one: `start` and `delete` of a container without hooks.
//!
//! They read and write files of the state directory and of cgroups, connect to a socket, and change nothing of the process that does them.
//! What runs other programs or asks systemd is left to a process of its own, with its deadline.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::error::RuntimeFailure;
use super::id::ContainerId;
use super::{delete, report, start};

/// Enough to read a record.
const STACK: usize = 256 << 10;

/// How far a command came in the shim's process.
#[derive(Debug)]
pub(super) enum Progress {
    /// It is done.
    Done,
    /// Nothing was done: it takes a process.
    NotHere,
}

/// A command that may be done here.
#[derive(Debug)]
pub(in crate::runtime) struct Within {
    root: PathBuf,
    id: String,
    verb: Verb,
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Start,
    Delete { force: bool },
}

/// Why it failed, or did not end.
#[derive(Debug)]
pub(in crate::runtime) enum NotDone {
    /// As a process would have logged it.
    Failed(String),
    /// The time was over.
    Deadline,
}

impl Within {
    pub(in crate::runtime) fn start(root: PathBuf, id: &str) -> Self {
        Self { root, id: id.to_owned(), verb: Verb::Start }
    }

    pub(in crate::runtime) fn delete(root: PathBuf, id: &str, force: bool) -> Self {
        Self { root, id: id.to_owned(), verb: Verb::Delete { force } }
    }

    /// Does it on a thread of its own; `None` if nothing was done and a process must do it.
    ///
    /// A thread that is past the deadline ends when what it waits for does: init, or its cgroup.
    pub(in crate::runtime) async fn attempt(self, deadline: Duration) -> Option<Result<(), NotDone>> {
        let (sender, done) = oneshot::channel();
        let work = move || {
            // Whoever asked may have gone away.
            drop(sender.send(self.go()));
        };
        // Without a thread a process may still be had.
        thread::Builder::new().stack_size(STACK).spawn(work).ok()?;
        match tokio::time::timeout(deadline, done).await {
            Ok(Ok(Ok(Progress::Done))) => Some(Ok(())),
            Ok(Ok(Ok(Progress::NotHere))) => None,
            Ok(Ok(Err(failure))) => Some(Err(NotDone::Failed(report::one_line(&failure)))),
            Ok(Err(_)) => Some(Err(NotDone::Failed("the thread ended".to_owned()))),
            Err(_) => Some(Err(NotDone::Deadline)),
        }
    }

    fn go(&self) -> Result<Progress, RuntimeFailure> {
        let Ok(id) = ContainerId::new(&self.id) else { return Ok(Progress::NotHere) };
        match self.verb {
            Verb::Start => start::start_within(&self.root, &id),
            Verb::Delete { force } => delete::delete_within(&self.root, &id, force),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(within: Within) -> Option<Result<(), NotDone>> {
        let event_loop = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        event_loop.block_on(within.attempt(Duration::from_secs(10)))
    }

    #[test]
    fn what_a_process_would_say_is_said() {
        let root = PathBuf::from("/nowhere");
        let told = attempt(Within::start(root.clone(), "c"));
        assert!(matches!(&told, Some(Err(NotDone::Failed(why))) if why == "container c does not exist"), "{told:?}");
        // Left to one.
        assert!(attempt(Within::start(root.clone(), "../c")).is_none());
        assert!(attempt(Within::delete(root, "c", true)).is_none());
    }
}
