//! Looks at containers that the kernel does not let come back: how long one is waited for, and how many there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::error::TaskError;
use crate::attest::Seen;

/// Longest look at a process: a walk into a volume may wait for a file server.
const LOOK: Duration = Duration::from_secs(10);

/// Looks that the kernel may hold up at once. A container whose volume does not answer is looked at for each exec, and each thread that waits
/// stays until the kernel lets it go.
const MOST_HELD_UP: usize = 8;

/// The looks that were given up and have not come back.
pub(super) static HELD_UP: HeldUp = HeldUp::none();

/// Looks that are waited for at once; others wait for their turn.
const AT_ONCE: usize = 32;

/// A count of looks that were given up, and who may look at all.
#[derive(Debug)]
pub(super) struct HeldUp {
    count: AtomicUsize,
    turns: Semaphore,
}

/// One look: whether it has come back, or was given up, whichever is first.
#[derive(Debug, Clone, Default)]
struct Settled(Arc<AtomicBool>);

impl HeldUp {
    const fn none() -> Self {
        Self { count: AtomicUsize::new(0), turns: Semaphore::const_new(AT_ONCE) }
    }

    fn give_up(&self, look: &Settled) {
        self.count.fetch_add(1, Ordering::SeqCst);
        if look.0.swap(true, Ordering::SeqCst) {
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn has_come_back(&self, look: &Settled) {
        if look.0.swap(true, Ordering::SeqCst) {
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// What was not seen in time can't be read; where too many wait already, nobody looks.
    pub(super) async fn in_time<F>(
        &'static self,
        start: impl FnOnce(Box<dyn FnOnce() + Send>) -> F,
    ) -> Result<Option<Seen>, TaskError>
    where
        F: Future<Output = Result<Seen, TaskError>>,
    {
        // Nobody closes the semaphore.
        let turn = self.turns.acquire().await;
        let held_up = self.count.load(Ordering::SeqCst);
        if held_up >= MOST_HELD_UP {
            return Ok(Some(Seen::of_ended(Err(&format!("{held_up} looks that got no answer still wait for one")))));
        }
        let look = Settled::default();
        let back = look.clone();
        let seen = tokio::time::timeout(LOOK, start(Box::new(move || self.has_come_back(&back)))).await;
        if seen.is_err() {
            self.give_up(&look);
        }
        drop(turn);
        seen.map_or_else(
            |_| Ok(Some(Seen::of_ended(Err(&format!("no answer within {LOOK:?}"))))),
            |seen| seen.map(Some),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attest::{Expected, Stage};

    /// What is wrong with a container that was seen so, once it has begun.
    fn fault(seen: Option<Seen>, stage: Stage) -> String {
        let document = serde_json::from_str(include_str!("../../tests/golden/cri-app/hardened.json")).unwrap();
        let baseline = crate::attest::Baseline::own().unwrap();
        let expected = Expected::of_document(&document, &crate::attest::Identities::default(), baseline).unwrap();
        crate::attest::attest(&expected, &seen.unwrap(), stage).unwrap_err().to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_look_waits_for_too_long_is_a_mismatch() {
        static NONE: HeldUp = HeldUp::none();
        for stage in [Stage::Created { embedded: true, before: None }, Stage::Begun] {
            let seen = NONE.in_time(|_| std::future::pending()).await.unwrap();
            let found = fault(seen, stage);
            assert!(found.contains("no answer within 10s"), "{found}");
        }
    }

    /// A volume of a container that does not answer holds a thread for each look.
    #[tokio::test(start_paused = true)]
    async fn only_so_many_looks_are_held_up() {
        static HELD: HeldUp = HeldUp::none();
        let mut waiting = Vec::new();
        for _ in 0..MOST_HELD_UP {
            let seen = HELD.in_time(|done| {
                waiting.push(done);
                std::future::pending()
            });
            assert!(fault(seen.await.unwrap(), Stage::Begun).contains("no answer within"));
        }
        let refused = HELD.in_time(|_| async { unreachable!("nobody looks") }).await.unwrap();
        assert!(fault(refused, Stage::Begun).contains("8 looks that got no answer"));
        // One that comes back late makes room for another, and one that came back in time never took any.
        waiting.pop().unwrap()();
        let seen = HELD.in_time(|done| async {
            done();
            Ok(Seen::of_ended(Err("came back in time")))
        });
        assert!(fault(seen.await.unwrap(), Stage::Begun).contains("in time"));
        assert_eq!(HELD.count.load(Ordering::SeqCst), MOST_HELD_UP - 1);
    }

    /// However many ask at once: those that wait for their turn find that nobody gets an answer.
    #[tokio::test(start_paused = true)]
    async fn no_more_look_at_once_than_may() {
        static HELD: HeldUp = HeldUp::none();
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        let asked: Vec<_> = (0..AT_ONCE * 3)
            .map(|_| {
                tokio::spawn(HELD.in_time(|_| {
                    BEGUN.fetch_add(1, Ordering::SeqCst);
                    std::future::pending()
                }))
            })
            .collect();
        for one in asked {
            assert!(one.await.unwrap().unwrap().is_some());
        }
        assert_eq!(BEGUN.load(Ordering::SeqCst), AT_ONCE);
    }
}
