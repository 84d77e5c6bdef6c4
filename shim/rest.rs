//! What a shim gives back when it has had nothing to do for a while: most pods run for days after their last verb, and hundreds of them on a node.
//!
//! Used stack is the shim's own memory. Its program's pages belong to the page cache and stay there; a page that
//! no process has mapped is one that the kernel can take when memory is short, without looking for who uses it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::unsafe_syscalls::{discard_stack_below, unmap_own_program};

/// How long nothing was asked. A pod's containers are made one after the other within less.
const QUIET: Duration = Duration::from_secs(3);

/// The stack's line in `/proc/self/maps` (proc_pid_maps(5)).
const STACK: &str = "[stack]";

/// Told of every verb that changes something. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rest(Arc<Notify>);

impl Rest {
    /// A verb was done.
    pub(crate) fn worked(&self) {
        self.0.notify_one();
    }

    /// Gives back once after each time of work, on the thread that runs the event loop. One wake-up each; a shim at rest sleeps.
    pub(crate) async fn run(self, give_back: impl Fn()) {
        loop {
            self.0.notified().await;
            while tokio::time::timeout(QUIET, self.0.notified()).await.is_ok() {}
            give_back();
        }
    }
}

/// Gives back the calling thread's stack if it is the first one, and the program's pages.
pub(crate) fn give_back() {
    if let Err(error) = give_back_stack().and_then(|()| unmap_own_program()) {
        crate::warn!("memory that is not needed is kept: {error}");
    }
}

fn give_back_stack() -> io::Result<()> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let Some(stack) = maps.lines().find_map(stack_of) else { return Ok(()) };
    discard_stack_below(stack)
}

/// First and last address of the first thread's stack, if that is what the line tells of.
fn stack_of(line: &str) -> Option<(usize, usize)> {
    let (from, to) = line.strip_suffix(STACK)?.split_once(' ')?.0.split_once('-')?;
    Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_stack_is_found_by_its_name() {
        let line = "7fffacf1b000-7fffacf3c000 rw-p 00000000 00:00 0                          [stack]";
        assert_eq!(stack_of(line), Some((0x7fff_acf1_b000, 0x7fff_acf3_c000)));
        assert_eq!(stack_of("7efeaf0ef000-7efeaf11f000 rw-p 00000000 00:00 0 "), None);
        assert_eq!(stack_of("7efeaf0ef000-7efeaf11f000 rw-p 00000000 00:00 0 /tmp/x[heap]"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn once_after_each_time_of_work() {
        let (rest, given) = (Rest::default(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&given);
        tokio::spawn(rest.clone().run(move || {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        tokio::time::sleep(QUIET * 10).await;
        assert_eq!(given.load(Ordering::Relaxed), 0, "nothing was done");
        for _ in 0..5 {
            rest.worked();
            tokio::time::sleep(QUIET / 2).await;
        }
        assert_eq!(given.load(Ordering::Relaxed), 0, "it was never quiet");
        tokio::time::sleep(QUIET * 10).await;
        assert_eq!(given.load(Ordering::Relaxed), 1);
        rest.worked();
        tokio::time::sleep(QUIET * 2).await;
        assert_eq!(given.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_is_in_use_stays() {
        let kept: Vec<String> = (0..10_000).map(|number| format!("string {number}")).collect();
        let local = [7_u8; 4096];
        drop(vec![1_u8; 4 << 20]);
        give_back();
        assert!(kept.iter().enumerate().all(|(number, text)| *text == format!("string {number}")));
        assert!(std::hint::black_box(local).iter().all(|byte| *byte == 7));
    }
}
