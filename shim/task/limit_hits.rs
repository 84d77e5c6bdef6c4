//! Telling the audit log, at a container's end, how often it met its limits.

use std::sync::Arc;

use super::container::Created;
use crate::cgroup::CgroupError;
use crate::gate::Gate;

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
