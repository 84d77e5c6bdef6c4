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

/// The host's console, which containerd's list allows for every container. No container needs it, as its
/// `/dev/console` is its own terminal; but an image can bring a node of that number, and whoever opens it reads what is
/// typed at the host's console and writes there.
const CONSOLE: (i64, i64) = (5, 1);

/// The last rule that matches decides, so the list starts with a denial of everything, and what it then
/// allows is one of the container's own nodes.
pub(super) fn judge(resources: &mut oci::LinuxResources, scope: &ResourceScope<'_>, sheet: &mut Sheet) {
    let rules = resources.devices().clone().unwrap_or_default();
    for (i, rule) in rules.iter().enumerate() {
        if rule.allow() && !is_own(rule, scope.devices) && !is_console(rule) {
            let reason = format!("allows {rule}, which is not a device of the container");
            let found = Found::new(pointer::index("/linux/resources/devices", i), json!(rule), reason);
            sheet.refuses(found, "the container's own device nodes");
        }
    }
    let rules = without_console(rules, scope, sheet);
    resources.set_devices(resources.devices().is_some().then(|| rules.clone()));
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

/// What containerd allows without being asked is no sign of intent, so it is taken out rather than refused.
fn without_console(
    rules: Vec<oci::LinuxDeviceCgroup>,
    scope: &ResourceScope<'_>,
    sheet: &mut Sheet,
) -> Vec<oci::LinuxDeviceCgroup> {
    let mut kept = Vec::with_capacity(rules.len());
    for (i, rule) in rules.into_iter().enumerate() {
        let found =
            || Found::new(pointer::index("/linux/resources/devices", i), json!(rule), "allows the host's console");
        let given = !rule.allow() || !is_console(&rule) || is_own(&rule, scope.devices);
        if given || !sheet.mends(found(), json!(null)) {
            kept.push(rule);
        }
    }
    kept
}

fn is_console(rule: &oci::LinuxDeviceCgroup) -> bool {
    let character = matches!(rule.typ(), Some(LinuxDeviceType::C | LinuxDeviceType::U));
    character && rule.major().zip(rule.minor()) == Some(CONSOLE)
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
        (Some(major), Some(minor)) => {
            let usual = !block && device_nodes::DEFAULTS.iter().any(|(_, a, b)| (*a, *b) == (major, minor));
            usual || nodes.contains(&GrantedDevice { block, major, minor })
        }
        _ => false,
    }
}
