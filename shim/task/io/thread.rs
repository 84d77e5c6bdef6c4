//! The thread that moves the bytes of all streams.
//!
//! A container can keep the other end of its pipes locked for as long as it likes: while write(2) waits for a page of a mapped file,
//! whose filesystem answers when the pod's own server does, the kernel holds the pipe's lock, and even a nonblocking read or splice(2)
//! waits for it, without being interruptible. On the shim's own loop that would hold up the very calls that could kill the writer.

use std::io;
use std::sync::OnceLock;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

/// Copies keep no data on it.
const STACK: usize = 256 << 10;

static LOOP: OnceLock<Option<Handle>> = OnceLock::new();

/// Runs a copy there. Its descriptors stay registered with the caller's loop.
pub(super) fn spawn(copy: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let handle = LOOP.get_or_init(|| {
        start()
            .inspect_err(|error| crate::warn!("start the thread of the streams, so they share the shim's: {error}"))
            .ok()
    });
    match handle {
        Some(handle) => handle.spawn(copy),
        None => tokio::spawn(copy),
    }
}

fn start() -> io::Result<Handle> {
    let event_loop = Builder::new_current_thread().build()?;
    let handle = event_loop.handle().clone();
    let run = move || event_loop.block_on(std::future::pending::<()>());
    drop(thread::Builder::new().name("streams".into()).stack_size(STACK).spawn(run)?);
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_stream_that_is_stuck_does_not_hold_up_the_shim() {
        let event_loop = Builder::new_current_thread().build().unwrap();
        let (release, stuck) = mpsc::channel();
        let (say, said) = mpsc::channel();
        event_loop.block_on(async {
            let copy = spawn(async move {
                say.send(stuck.recv_timeout(Duration::from_secs(5)).is_ok()).unwrap();
            });
            tokio::task::yield_now().await;
            release.send(()).unwrap_or_default();
            copy.await.unwrap();
        });
        assert_eq!(said.recv(), Ok(true));
    }
}
