//! Of `res.memory`: what cgroup v2 knows of memory beside limits, and OCI only by the name of a file.

use std::collections::HashMap;

use oci_spec::runtime as oci;
use serde_json::json;

use crate::pointer;
use crate::rules::{ResourceScope, unified};
use crate::sheet::{Found, Sheet};

const HIGH: &str = "memory.high";
const GROUP: &str = "memory.oom.group";

/// `memory.high`, at most what the profile gives. An update that names a new limit takes it along.
pub(super) fn high(resources: &mut oci::LinuxResources, scope: &ResourceScope<'_>, sheet: &mut Sheet) {
    let asked = file(resources, HIGH);
    let Some(most) = most(resources, scope, asked.is_some()) else { return };
    let settled = match &asked {
        // What is no number is for `res.unified` to refuse.
        Some(text) => unified::lowered(text, most),
        None => Some(most),
    };
    let Some(settled) = settled else { return };
    let stands = match &asked {
        Some(text) => unified::lowered(text, u64::MAX),
        None => high_now(scope),
    };
    if stands == Some(settled) {
        return;
    }
    let reason =
        if asked.is_some() { "memory.high above the maximum, or none" } else { "there would be no memory.high" };
    set(resources, HIGH, &settled.to_string(), asked, reason, sheet);
}

/// Bytes; `None` where nothing is to be set.
fn most(resources: &oci::LinuxResources, scope: &ResourceScope<'_>, is_asked: bool) -> Option<u64> {
    let high = scope.settings.memory_high.filter(|_| scope.unified)?;
    let limit = |resources: &oci::LinuxResources| {
        let limit = resources.memory().and_then(|memory| memory.limit());
        limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0)
    };
    let highest = scope.settings.memory.max;
    let (new, now) = (limit(resources), scope.in_force.and_then(limit));
    if scope.fills_in || is_asked {
        return Some(high.of(new.or(now).unwrap_or(highest)));
    }
    let most = high.of(new?);
    match (high_now(scope), now) {
        // The container's own wish, not what the profile made of the limit: it stays where it can.
        (Some(high_now), Some(now)) if high_now != high.of(now) => Some(high_now.min(most)),
        _ => Some(most),
    }
}

/// In bytes, of a container that is to be updated.
fn high_now(scope: &ResourceScope<'_>) -> Option<u64> {
    unified::lowered(&file(scope.in_force?, HIGH)?, u64::MAX)
}

/// `memory.oom.group`: whether the OOM killer ends all of the container or one process.
pub(super) fn group(resources: &mut oci::LinuxResources, scope: &ResourceScope<'_>, sheet: &mut Sheet) {
    let Some(whole) = scope.settings.oom_group.filter(|_| scope.unified) else { return };
    let asked = file(resources, GROUP);
    let settled = if whole { "1" } else { "0" };
    let stays = match asked.as_deref() {
        Some(asked) => asked == settled,
        // The kernel's own default is one process.
        None => !whole || !scope.fills_in,
    };
    if !stays {
        set(resources, GROUP, settled, asked, "the OOM killer would not end what the policy says", sheet);
    }
}

fn file(resources: &oci::LinuxResources, name: &str) -> Option<String> {
    resources.unified().as_ref().and_then(|files| files.get(name).cloned())
}

fn set(
    resources: &mut oci::LinuxResources,
    name: &str,
    value: &str,
    asked: Option<String>,
    reason: &str,
    sheet: &mut Sheet,
) {
    let found = Found::new(pointer::join("/linux/resources/unified", name), json!(asked), reason);
    if sheet.mends(found, value) {
        let mut files: HashMap<String, String> = resources.unified().clone().unwrap_or_default();
        files.insert(name.to_owned(), value.to_owned());
        resources.set_unified(Some(files));
    }
}
