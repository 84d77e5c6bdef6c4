//! What the filters of containers ask the shim: calls that were refused, to report them, or calls that run, to learn of them.
//!
//! ```text
//! a call ─ filter asks ─▶ listener ─▶ the thread of this room: answer by the filter itself ─▶ errno, or "go on" ─▶ tally
//! ```
//!
//! The listener comes from the embedded runtime over a datagram socket in the container's private directory, with the filter that it
//! answers for. Answers are given on a thread of their own, so neither the verbs nor the streams wait for them, and at a bounded rate:
//! a container that floods the shim with calls waits for its answers, and nobody else does. Where the shim dies, the kernel answers
//! ENOSYS. Nothing of a process's memory is read, only the registers of a call.

mod calls;
mod listener;
mod rate;
mod refusals;
mod socket;
mod subject;
mod thread;

use std::io;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::bundle::PrivateDir;
use crate::runtime::Listening;
use socket::ListenerSocket;

pub use calls::{CallRecord, VERSION as RECORD_VERSION};
pub use subject::Subject;

/// Longest wait for the last lines about a container.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What is wanted of a container's filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A report of what it refuses.
    Refusals,
    /// A record of what runs.
    Calls,
}

/// The watch over one container. Dropped, it ends as with [`Watch::end`], without being waited for.
#[derive(Debug)]
pub struct Watch {
    listening: Listening,
    /// Dropped to end the task.
    _stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Listens in a container's private directory.
    ///
    /// # Errors
    ///
    /// The kernel's: no socket can be made, or no thread.
    pub fn start(dir: &PrivateDir, kind: Kind, subject: Subject) -> io::Result<Self> {
        let socket = ListenerSocket::bind(dir.path())?;
        let path = socket.path_for_runtime().to_owned();
        let listening = match kind {
            Kind::Refusals => Listening::Refusals(path),
            Kind::Calls => Listening::Calls(path),
        };
        let (stop, stopped) = oneshot::channel();
        let watch = listener::watch(socket, kind, subject, stopped);
        Ok(Self { listening, _stop: stop, task: thread::spawn(watch)? })
    }

    /// What the runtime is told.
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Ends the watch, once the container has no process any more: what was not told yet is told now.
    pub async fn end(self) {
        let Self { _stop: stop, task, .. } = self;
        drop(stop);
        if tokio::time::timeout(LAST_LINES, task).await.is_err() {
            crate::warn!("the last refused calls of a container may not be on record");
        }
    }
}
