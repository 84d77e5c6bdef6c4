//! Work that waits for the kernel, on a thread of its own, so that other verbs and exits go on meanwhile.

use std::io;
use std::thread;

use tokio::sync::oneshot;

use super::error::TaskError;

/// Mounts and cgroup files need little.
const STACK: usize = 256 << 10;

/// Runs `work` on a thread and waits for it.
///
/// tokio's blocking pool is not used: it panics when the kernel has no thread to give, which is when a node is
/// out of pids, and a panic would take the pod along.
///
/// # Errors
///
/// [`TaskError::System`] when there is no thread, else the work's own error.
pub(super) async fn off_loop<T: Send + 'static, E: Into<TaskError> + Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, TaskError> {
    let (sender, done) = oneshot::channel();
    // Whoever asked may have gone away; the work is done all the same.
    let thread = thread::Builder::new().stack_size(STACK).spawn(move || drop(sender.send(work())));
    let failed = |source: io::Error| TaskError::System { action, source };
    drop(thread.map_err(failed)?);
    done.await.map_err(|_| failed(io::ErrorKind::BrokenPipe.into()))?.map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_errors_come_back() {
        let event_loop = tokio::runtime::Builder::new_current_thread().build().unwrap();
        event_loop.block_on(async {
            let value = off_loop("add", || Ok::<_, TaskError>(1 + 1)).await.unwrap();
            assert_eq!(value, 2);
            let failed = off_loop("fail", || Err::<(), _>(TaskError::Finished)).await;
            assert!(matches!(failed, Err(TaskError::Finished)));
        });
    }
}
