//! Who is connected to the daemon. One that holds no container for long was given up: containerd failed between `start` and the first
//! Create, or after the last Delete, and nobody will ever ask it to end. containerd 2.1 keeps the connection to such a one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::watch;

/// How long an empty daemon waits for somebody to connect. containerd connects as soon as `start` has printed the address, on a machine
/// that has the time.
const ALONE: Duration = Duration::from_secs(30);
/// How long it waits for whoever is connected to create something; containerd does so at once.
const IDLE: Duration = Duration::from_secs(600);

/// How many connections are open. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Callers(Arc<watch::Sender<usize>>);

impl Callers {
    /// Counts a connection for as long as it is open.
    pub(crate) fn count(&self, stream: UnixStream) -> Connection {
        self.0.send_modify(|open| *open += 1);
        Connection { stream, callers: self.clone() }
    }

    /// Waits until `is_empty` says that there is nothing to stay for, after a while without a change of who is connected.
    pub(crate) async fn given_up(&self, is_empty: impl Fn() -> bool) {
        let mut open = self.0.subscribe();
        loop {
            let patience = if *open.borrow_and_update() == 0 { ALONE } else { IDLE };
            let changed = tokio::time::timeout(patience, open.changed()).await;
            // With containerd away its containers go on.
            if changed.is_err() && is_empty() {
                return;
            }
        }
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    callers: Callers,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.callers.0.send_modify(|open| *open = open.saturating_sub(1));
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::os::unix::net::UnixStream as StdUnixStream;

    fn connection(callers: &Callers) -> Connection {
        let (ours, _) = StdUnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        callers.count(UnixStream::from_std(ours).unwrap())
    }

    /// Whether it is given up within that time of the paused clock.
    async fn given_up(callers: &Callers, seconds: u64, is_empty: bool) -> bool {
        tokio::time::timeout(Duration::from_secs(seconds), callers.given_up(|| is_empty)).await.is_ok()
    }

    fn paused(test: impl Future<Output = ()>) {
        let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        event_loop.block_on(test);
    }

    #[test]
    fn an_empty_daemon_is_given_up_sooner_if_nobody_is_connected() {
        paused(async {
            let callers = Callers::default();
            assert!(given_up(&callers, 31, true).await);
            assert!(!given_up(&callers, 10_000, false).await, "its containers go on");
            let open = connection(&callers);
            assert!(!given_up(&callers, 599, true).await, "somebody is connected");
            assert!(given_up(&callers, 601, true).await, "and asks for nothing");
            drop(open);
            assert!(given_up(&callers, 31, true).await);
        });
    }

    #[test]
    fn what_a_later_caller_has_emptied_is_given_up_then() {
        paused(async {
            let (callers, empty) = (Callers::default(), Cell::new(false));
            let deletes = async {
                tokio::time::sleep(Duration::from_secs(100)).await;
                let open = connection(&callers);
                empty.set(true);
                tokio::time::sleep(Duration::from_secs(5)).await;
                drop(open);
            };
            tokio::join!(callers.given_up(|| empty.get()), deletes);
        });
    }
}
