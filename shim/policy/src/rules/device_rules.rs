//! `res.devices`.

use oci_spec::runtime as oci;
use oci_spec::runtime::LinuxDeviceType;
use serde_json::json;

use crate::grant::GrantedDevice;
use crate::pointer;
use crate::rules::{ResourceScope, device_nodes};
use crate::sheet::{Found, Sheet};

/// Major number of pseudo terminals (kernel `Documentation/admin-guide/devices.txt`), of which containerd
/// allows all minors.
const PTS_MAJOR: i64 = 136;

/// The host's console, which containerd's list allows. The node of that number is refused (`linux.devices`): a
/// container's `/dev/console` is its own terminal.
const CONSOLE: (i64, i64) = (5, 1);

/// The last rule that matches decides, so the list starts with a denial of everything, and what it then
/// allows is one of the container's own nodes.
pub(super) fn judge(resources: &mut oci::LinuxResources, scope: &ResourceScope<'_>, sheet: &mut Sheet) {
    let rules = resources.devices().clone().unwrap_or_default();
    for (i, rule) in rules.iter().enumerate() {
        if rule.allow() && !is_own(rule, scope.devices) {
            let reason = format!("allows {rule}, which is not a device of the container");
            let found = Found::new(pointer::index("/linux/resources/devices", i), json!(rule), reason);
            sheet.refuses(found, "the container's own device nodes");
        }
    }
    if scope.fills_in && !rules.first().is_some_and(denies_all) {
        let mut denial = oci::LinuxDeviceCgroup::default();
        denial.set_allow(false);
        denial.set_access(Some("rwm".to_owned()));
        let found = Found::new("/linux/resources/devices", json!(rules), "does not start with a denial of all");
        if sheet.mends(found, json!(denial)) {
            resources.set_devices(Some(std::iter::once(denial).chain(rules).collect()));
        }
    }
}

fn denies_all(rule: &oci::LinuxDeviceCgroup) -> bool {
    let every = matches!(rule.typ(), None | Some(LinuxDeviceType::A));
    let any_number = rule.major().is_none_or(|n| n < 0) && rule.minor().is_none_or(|n| n < 0);
    let access = rule.access().as_deref().unwrap_or_default();
    !rule.allow() && every && any_number && ["r", "w", "m"].iter().all(|one| access.contains(one))
}

fn is_own(rule: &oci::LinuxDeviceCgroup, nodes: &[GrantedDevice]) -> bool {
    let block = match rule.typ() {
        Some(LinuxDeviceType::B) => true,
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => false,
        Some(LinuxDeviceType::A | LinuxDeviceType::P) | None => return false,
    };
    match (rule.major(), rule.minor()) {
        (Some(PTS_MAJOR), _) if !block => true,
        (Some(major), Some(minor)) if !block && (major, minor) == CONSOLE => true,
        (Some(major), Some(minor)) => {
            let usual = !block && device_nodes::DEFAULTS.iter().any(|(_, a, b)| (*a, *b) == (major, minor));
            usual || nodes.contains(&GrantedDevice { block, major, minor })
        }
        _ => false,
    }
}
