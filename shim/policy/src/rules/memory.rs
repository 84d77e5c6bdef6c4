//! `res.memory`.

use oci_spec::runtime as oci;
use serde_json::json;

use crate::rules::{ResourceScope, memory_files};
use crate::sheet::{Found, Sheet};

const SWAP_FILE: &str = "memory.swap.max";

/// CIS-D 5.11. A limit within the profile's maximum, no swap beyond it, and the OOM killer in force.
pub(super) fn judge(resources: &mut oci::LinuxResources, scope: &ResourceScope<'_>, sheet: &mut Sheet) {
    limits(resources, scope, sheet);
    let has_no_swap = resources.memory().is_some_and(|memory| memory.swap() == memory.limit());
    if scope.swap_by_name && has_no_swap && sheet.enforces() {
        name_swap(resources);
    }
    memory_files::high(resources, scope, sheet);
    memory_files::group(resources, scope, sheet);
}

/// Says once more, in the form that systemd is told, what the limits say: no finding. What `res.unified` finds in that file already it lowers
/// itself.
fn name_swap(resources: &mut oci::LinuxResources) {
    let mut files = resources.unified().clone().unwrap_or_default();
    if files.contains_key(SWAP_FILE) {
        return;
    }
    files.insert(SWAP_FILE.to_owned(), "0".to_owned());
    resources.set_unified(Some(files));
}

fn limits(resources: &mut oci::LinuxResources, scope: &ResourceScope<'_>, sheet: &mut Sheet) {
    let asked = resources.memory().unwrap_or_default();
    let mut settled = asked;
    let limit = settle(&asked, scope).map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    // OCI `swap` counts memory and swap together, so equal values leave no swap.
    settled.set_limit(limit).set_swap(limit);
    if asked.disable_oom_killer() == Some(true) {
        settled.set_disable_oom_killer(Some(false));
    }
    if settled == asked {
        return;
    }
    let reason = if asked.disable_oom_killer() == Some(true) {
        "the OOM killer would be off"
    } else if settled.limit() == asked.limit() {
        "swap is not bound to the memory limit"
    } else if asked.limit().is_some_and(|limit| limit > 0) {
        "the memory limit is above the maximum, or above that of swap"
    } else {
        "there would be no memory limit"
    };
    let found = Found::new("/linux/resources/memory", json!(resources.memory()), reason);
    if sheet.mends(found, json!(settled)) {
        resources.set_memory(Some(settled));
    }
}

/// The limit in bytes, or none where an update does not touch it. Zero is no limit and a negative number lifts
/// one (runc). A limit of swap that is lower than that of memory counts for both.
fn settle(asked: &oci::LinuxMemory, scope: &ResourceScope<'_>) -> Option<u64> {
    let ceiling = scope.settings.memory;
    let positive = |bytes: Option<i64>| bytes.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
    let swap = positive(asked.swap()).unwrap_or(u64::MAX);
    match asked.limit() {
        Some(bytes) if bytes < 0 => Some(ceiling.max.min(swap)),
        limit => match positive(limit) {
            Some(bytes) => Some(ceiling.settle(Some(bytes)).min(swap)),
            None if scope.fills_in => Some(ceiling.settle(None).min(swap)),
            None => None,
        },
    }
}
