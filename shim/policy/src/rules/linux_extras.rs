//! `linux.personality`, `linux.memory-policy`, `linux.intel-rdt`, `linux.net-devices` and
//! `linux.time-offsets`: parts of runtime-spec 1.0 to 1.3 that Kubernetes does not use.

use oci_spec::runtime::LinuxPersonalityDomain;
use serde_json::json;

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// Another execution domain reaches kernel code that nothing else does, and its flags switch address
/// space randomisation off (personality(2)).
pub(super) fn personality(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    let Some(personality) = draft.linux.untouched().personality() else { return };
    let plain = personality.domain() == LinuxPersonalityDomain::PerLinux
        && personality.flags().as_deref().unwrap_or_default().is_empty();
    if !plain {
        let found = Found::new("/linux/personality", json!(personality), "another execution domain");
        sheet.refuses(found, "LINUX without flags");
    }
}

/// NUMA placement by the container can pin the memory of other nodes.
pub(super) fn memory_policy(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    if let Some(policy) = draft.linux.untouched().memory_policy() {
        let found = Found::new("/linux/memoryPolicy", json!(policy), "a memory policy");
        sheet.refuses(found, "none");
    }
}

/// The class is a directory name below the host's /sys/fs/resctrl.
pub(super) fn intel_rdt(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    if let Some(rdt) = draft.linux.untouched().intel_rdt() {
        sheet.refuses(Found::new("/linux/intelRdt", json!(rdt), "a cache allocation class"), "none");
    }
}

/// Moves a network interface of the host into the container.
pub(super) fn net_devices(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    let devices = draft.linux.untouched().net_devices().as_ref();
    if let Some(devices) = devices.filter(|devices| !devices.is_empty()) {
        let found = Found::new("/linux/netDevices", json!(devices), "takes network interfaces from the host");
        sheet.refuses(found, "none");
    }
}

/// Shifted clocks.
pub(super) fn time_offsets(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    let offsets = draft.linux.untouched().time_offsets().as_ref();
    if let Some(offsets) = offsets.filter(|offsets| !offsets.is_empty()) {
        sheet.refuses(Found::new("/linux/timeOffsets", json!(offsets), "shifted clocks"), "none");
    }
}
