//! Many at once.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use palisade_integration::Failure;

/// Does something with each, begun together, and tells what came of each and the time until all were done.
pub(crate) fn all<I: Sync, T: Send>(
    each: &[I],
    work: impl Fn(&I) -> Result<T, Failure> + Sync,
) -> Result<(Vec<T>, Duration), Failure> {
    let (begin, work) = (&Barrier::new(each.len() + 1), &work);
    thread::scope(|scope| {
        let begun = |one| {
            scope.spawn(move || {
                begin.wait();
                work(one)
            })
        };
        let threads: Vec<_> = each.iter().map(begun).collect();
        begin.wait();
        let since = Instant::now();
        let mut done = Vec::new();
        for thread in threads {
            done.push(thread.join().map_err(|_| Failure::unreadable("one of many", &"its thread panicked"))??);
        }
        Ok((done, since.elapsed()))
    })
}

/// In which rounds more than one at once are measured: one of them holds many values.
pub(crate) fn is_due(scale: u32, round: u32) -> bool {
    scale == 1 || round.is_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn all_run_at_the_same_time_and_come_in_order() {
        let (together, inside) = (Barrier::new(4), AtomicUsize::new(0));
        let (done, _) = all(&[0, 1, 2, 3], |number| {
            inside.fetch_add(1, Ordering::Relaxed);
            // One after another they would wait for ever.
            together.wait();
            Ok((*number, inside.load(Ordering::Relaxed)))
        })
        .unwrap();
        assert_eq!(done, [(0, 4), (1, 4), (2, 4), (3, 4)]);
    }

    #[test]
    fn a_failure_of_one_is_the_failure_of_all() {
        let failed =
            all(&[0, 1, 2], |number| if *number == 1 { Err(Failure::unreadable("one", &"odd")) } else { Ok(()) });
        assert!(failed.is_err());
    }
}
