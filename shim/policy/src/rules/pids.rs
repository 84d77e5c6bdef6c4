//! `res.pids`.

use oci_spec::runtime as oci;
use serde_json::json;

use crate::rules::ResourceScope;
use crate::sheet::{Found, Sheet};

/// CIS-D 5.29. CRI has no field for it, so a fork bomb in a pod meets the node's limit first.
pub(super) fn judge(resources: &mut oci::LinuxResources, scope: &ResourceScope<'_>, sheet: &mut Sheet) {
    let asked = resources.pids().map(|pids| pids.limit());
    let ceiling = scope.settings.pids;
    let settled = match asked {
        Some(limit) if limit > 0 => Some(ceiling.settle(u64::try_from(limit).ok())),
        Some(limit) if limit < 0 => Some(ceiling.max),
        _ if scope.fills_in => Some(ceiling.settle(None)),
        _ => None,
    };
    let settled = settled.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
    if settled == asked {
        return;
    }
    let found = Found::new("/linux/resources/pids/limit", json!(asked), "no limit of tasks, or one above the maximum");
    if sheet.mends(found, json!(settled)) {
        resources.set_pids(settled.map(|limit| {
            let mut pids = oci::LinuxPids::default();
            pids.set_limit(limit);
            pids
        }));
    }
}
