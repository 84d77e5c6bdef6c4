//! `linux.masked` and `linux.readonly`.

use serde_json::json;

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// Kernel files that tell about the host or command it: the defaults of containerd and moby, with
/// /proc/interrupts and the power capping of CVE-2020-8694 that moby added.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Kernel files that configure the host.
const READONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Paths that the container must not see.
pub(super) fn masked(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    unite(&mut draft.linux.masked_paths, MASKED, "/linux/maskedPaths", sheet);
}

/// Paths that the container must not write. A masked one counts as well.
pub(super) fn readonly(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    let masked = draft.linux.masked_paths.clone();
    let needed: Vec<&str> = READONLY.iter().copied().filter(|path| !masked.iter().any(|m| m == path)).collect();
    unite(&mut draft.linux.readonly_paths, &needed, "/linux/readonlyPaths", sheet);
}

fn unite(listed: &mut Vec<String>, needed: &[&str], pointer: &str, sheet: &mut Sheet) {
    let missing: Vec<&str> = needed.iter().copied().filter(|path| !listed.iter().any(|l| l == path)).collect();
    if missing.is_empty() {
        return;
    }
    let after: Vec<&str> = listed.iter().map(String::as_str).chain(missing.iter().copied()).collect();
    let reason = format!("{} of the required paths are missing", missing.len());
    let mended = sheet.mends(Found::new(pointer, json!(listed), reason), json!(after));
    if mended {
        listed.extend(missing.into_iter().map(str::to_owned));
    }
}
