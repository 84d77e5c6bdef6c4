//! Telling the audit log how often a container met its limits: as it meets them, where the kernel gives notice of it, and at its end.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::container::Created;
use crate::cgroup::{CgroupError, LimitHits};
use crate::gate::Gate;

/// Between two records about a container that runs: it doubles up to the second, since a workload may live at its limit. The first record
/// is made at once.
const PAUSES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// Of a container that runs.
#[derive(Debug, Serialize)]
pub(super) struct MetSoFar {
    #[serde(flatten)]
    hits: LimitHits,
    running: bool,
}

/// When what a running container met is told.
#[derive(Debug, Default)]
pub(super) struct LimitPace {
    told: LimitHits,
    /// When it was told, and the pause after that.
    last: Option<(Instant, Duration)>,
}

impl LimitPace {
    /// When the next record may be made; `None` for at once.
    pub(super) fn due(&self) -> Option<Instant> {
        self.last.map(|(told, pause)| told + pause)
    }

    /// What to tell now, if a limit was met of which the kernel gives notice. CPU time is no news by itself.
    pub(super) fn news(&mut self, now: Instant, hits: LimitHits) -> Option<MetSoFar> {
        let LimitHits { pids_refused, memory_high, memory_max, .. } = self.told;
        if hits.pids_refused <= pids_refused && hits.memory_high <= memory_high && hits.memory_max <= memory_max {
            return None;
        }
        let (first, longest) = PAUSES;
        let pause = match self.last {
            // It kept its limits for long enough.
            Some((told, pause)) if now.saturating_duration_since(told) < pause * 2 => (pause * 2).min(longest),
            _ => first,
        };
        (self.told, self.last) = (hits, Some((now, pause)));
        Some(MetSoFar { hits, running: true })
    }
}

/// Who tells.
pub(super) struct HitsRecorder {
    pub(super) gate: Arc<Gate>,
    /// containerd's.
    pub(super) namespace: String,
}

impl HitsRecorder {
    /// To be called while the cgroup is still there. It has ended whatever becomes of the record.
    pub(super) fn record(&self, created: &Created) {
        let hits = match created.cgroup.limit_hits() {
            // As one of systemd's is, with its last process.
            Err(CgroupError::Gone { .. }) => return,
            Err(error) => {
                crate::warn!("limits of {}: {}", created.id, crate::log::chain(&error));
                return;
            }
            Ok(hits) => hits,
        };
        if !hits.any() {
            return;
        }
        if let Err(error) = self.gate.limits_met(&self.namespace, &created.id, &created.grant, &hits) {
            crate::warn!("record how often {} met its limits: {}", created.id, crate::log::chain(&error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(tasks: u64) -> LimitHits {
        LimitHits { pids_refused: tasks, ..LimitHits::default() }
    }

    #[test]
    fn a_limit_is_told_of_at_once_and_then_ever_less_often_as_long_as_it_is_met() {
        let (mut pace, begun) = (LimitPace::default(), Instant::now());
        let mut now = begun;
        let mut told = Vec::new();
        for hit in 1..=7 {
            now = pace.due().unwrap_or(now);
            assert!(pace.news(now, refused(hit)).is_some_and(|news| news.hits == refused(hit) && news.running));
            told.push((now - begun).as_secs());
        }
        assert_eq!(told, [0, 60, 180, 420, 900, 1860, 3780]);
        assert!(pace.news(now, refused(7)).is_none(), "nothing new");
        let throttled = LimitHits { cpu_throttled_periods: 9, ..refused(7) };
        assert!(pace.news(now, throttled).is_none(), "of which there is no notice");
        // After a long time without it begins anew.
        let later = now + Duration::from_secs(10_000);
        assert!(pace.news(later, refused(8)).is_some());
        assert_eq!(pace.due(), Some(later + PAUSES.0));
    }
}
