//! The thread that answers.
//!
//! Not the shim's own: a container that asks without end would hold up the verbs. Not the streams' either: a container can keep that
//! one waiting, and then the calls of all others would wait too.

use std::io;
use std::sync::OnceLock;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

/// Reading and writing records takes little.
const STACK: usize = 256 << 10;

static LOOP: OnceLock<Handle> = OnceLock::new();

/// Runs a task there.
///
/// # Errors
///
/// The kernel's: no thread, or no event loop, can be made.
pub(super) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> io::Result<JoinHandle<()>> {
    let handle = match LOOP.get() {
        Some(handle) => handle,
        // Of two first callers at once both make a loop; the one that is not kept idles.
        None => {
            let handle = start()?;
            LOOP.get_or_init(|| handle)
        }
    };
    Ok(handle.spawn(task))
}

fn start() -> io::Result<Handle> {
    let event_loop = Builder::new_current_thread().enable_io().enable_time().build()?;
    let handle = event_loop.handle().clone();
    let run = move || event_loop.block_on(std::future::pending::<()>());
    drop(thread::Builder::new().name("seccomp".into()).stack_size(STACK).spawn(run)?);
    Ok(handle)
}
