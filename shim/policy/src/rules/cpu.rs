//! `res.cpu`.

use oci_spec::runtime as oci;
use serde_json::json;

use crate::rules::ResourceScope;
use crate::sheet::{Found, Sheet};

/// Microseconds; the kernel's default period (`Documentation/scheduler/sched-bwc.rst`).
const DEFAULT_PERIOD: u64 = 100_000;

/// Microseconds; the kernel takes no smaller quota.
const LEAST_QUOTA: u64 = 1_000;

/// CIS-D 5.12. A quota within the profile's maximum; no real-time budget.
pub(super) fn judge(resources: &mut oci::LinuxResources, scope: &ResourceScope<'_>, sheet: &mut Sheet) {
    let before = resources.cpu().clone();
    let asked = before.clone().unwrap_or_default();
    let mut settled = asked.clone();
    let period = asked.period().filter(|period| *period > 0).unwrap_or(DEFAULT_PERIOD);
    let quota = settle(&asked, period, scope);
    let (quota, period) = unless_too_short(quota, period, scope);
    if let Some(quota) = quota {
        settled.set_quota(Some(quota)).set_period(Some(period));
    } else {
        settled.set_quota(None);
    }
    settled.set_realtime_runtime(None).set_realtime_period(None);
    // Burst is time on top of the quota, up to the quota itself.
    settled.set_burst(asked.burst().filter(|burst| *burst == 0));
    if settled == asked || (!scope.fills_in && before.is_none()) {
        return;
    }
    let reason = if settled.quota() == asked.quota() && settled.period() == asked.period() {
        "time beyond the quota: a burst, or a real-time budget"
    } else if asked.quota().is_some_and(|quota| quota > 0) {
        "the CPU quota is above the maximum, or its period is not told"
    } else {
        "there would be no CPU quota"
    };
    let found = Found::new("/linux/resources/cpu", json!(before), reason);
    if sheet.mends(found, json!(settled)) {
        resources.set_cpu(Some(settled));
    }
}

/// The quota in microseconds a period, or none where an update does not touch it.
fn settle(asked: &oci::LinuxCpu, period: u64, scope: &ResourceScope<'_>) -> Option<i64> {
    let ceiling = scope.settings.cpu;
    let default = scope.cpu_ceiling.map_or(ceiling.default, |above| above.min(ceiling.default));
    let most = quota_of(highest(scope), period);
    let quota = match asked.quota() {
        Some(quota) if quota > 0 => u64::try_from(quota).unwrap_or(most).min(most),
        Some(quota) if quota < 0 => most,
        _ if scope.fills_in => quota_of(default, period),
        // A new period alone would change what the old quota means.
        _ if asked.period().is_some_and(|period| period > 0) => quota_of(default, period),
        _ => return None,
    };
    i64::try_from(quota).ok()
}

/// In a period in which the maximum is less than the least quota that the kernel takes, no quota keeps it.
fn unless_too_short(quota: Option<i64>, period: u64, scope: &ResourceScope<'_>) -> (Option<i64>, u64) {
    match quota {
        Some(quota) if highest(scope).saturating_mul(period) / 1000 < LEAST_QUOTA => {
            let longer = i128::from(quota) * i128::from(DEFAULT_PERIOD) / i128::from(period);
            let most = i64::try_from(quota_of(highest(scope), DEFAULT_PERIOD)).unwrap_or(i64::MAX);
            (Some(i64::try_from(longer).unwrap_or(most).min(most)), DEFAULT_PERIOD)
        }
        quota => (quota, period),
    }
}

/// Thousandths of a CPU.
fn highest(scope: &ResourceScope<'_>) -> u64 {
    scope.cpu_ceiling.map_or(scope.settings.cpu.max, |above| above.min(scope.settings.cpu.max))
}

fn quota_of(millis: u64, period: u64) -> u64 {
    (millis.saturating_mul(period) / 1000).max(LEAST_QUOTA)
}
