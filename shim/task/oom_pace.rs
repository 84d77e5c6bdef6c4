//! How often a container's OOM kills are put on record.
//!
//! A loop of them costs a container nothing, and each record takes room that the records of others have.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two records. The first is made at once; what comes in between is in the next, or in the last.
const PAUSE: Duration = Duration::from_secs(60);

/// Kills that are not on record yet.
#[derive(Debug, Default)]
pub(super) struct OomPace(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    last: Option<Instant>,
    kills: u64,
}

impl OomPace {
    /// Kills that are to be put on record now, these among them.
    pub(super) fn now(&self, kills: u64) -> Option<u64> {
        self.at(Instant::now(), kills)
    }

    fn at(&self, now: Instant, kills: u64) -> Option<u64> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.kills = held.kills.saturating_add(kills);
        if held.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            return None;
        }
        held.last = Some(now);
        Some(std::mem::take(&mut held.kills))
    }

    /// What is left at the container's end.
    pub(super) fn rest(&self) -> Option<u64> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(std::mem::take(&mut held.kills)).filter(|kills| *kills > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_of_kills_makes_a_record_a_minute_and_none_is_lost() {
        let (pace, begun) = (OomPace::default(), Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(pace.at(begun, 1), Some(1));
        assert!((1..60).all(|second| pace.at(after(second), 2).is_none()));
        assert_eq!(pace.at(after(60), 1), Some(119));
        assert_eq!((pace.at(after(61), 3), pace.rest(), pace.rest()), (None, Some(3), None));
    }
}
