//! `linux.devices` and `linux.devices.never`.

use std::path::Path;

use oci_spec::runtime::LinuxDeviceType;
use serde_json::json;

use crate::draft::Draft;
use crate::pointer;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// The nodes that every container has (OCI runtime-spec `config-linux.md` "Default Devices").
pub(super) const DEFAULTS: &[(&str, i64, i64)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
    ("/dev/ptmx", 5, 2),
];

/// CIS-D 5.18: no other device node than the defaults and those that the policy lists.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    for (i, device) in draft.linux.devices.iter().enumerate() {
        let path: &Path = device.path();
        let character = matches!(device.typ(), LinuxDeviceType::C | LinuxDeviceType::U);
        let usual = character
            && DEFAULTS.iter().any(|(name, major, minor)| {
                path == Path::new(name) && device.major() == *major && device.minor() == *minor
            });
        let listed = case.settings.devices.iter().any(|listed| {
            let kind = if listed.block { device.typ() == LinuxDeviceType::B } else { character };
            kind && listed.path == path && listed.major == device.major() && listed.minor == device.minor()
        });
        if usual || listed {
            continue;
        }
        let reason = format!("{:?} is a device of the host", path.to_string_lossy());
        let found = Found::new(pointer::index("/linux/devices", i), json!(device), reason);
        sheet.refuses(found, "the default device nodes");
    }
}

/// Nodes that are the kernel itself, by number, whatever they are called (kernel
/// `Documentation/admin-guide/devices.txt`): no list of the policy lifts them.
const NEVER: &[(i64, i64, &str)] = &[
    (1, 1, "physical memory"),
    (1, 2, "kernel memory"),
    (1, 4, "the I/O ports"),
    (1, 11, "the kernel's log"),
    (10, 231, "the image of a suspended system"),
    (10, 236, "the device mapper"),
    (10, 237, "loop devices"),
];

/// Model specific registers of the CPUs, one node for each.
const MSR_MAJOR: i64 = 202;

/// A node that gives the host away, also where `linux.devices` would let it pass.
pub(super) fn never(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    for (i, device) in draft.linux.devices.iter().enumerate() {
        if !matches!(device.typ(), LinuxDeviceType::C | LinuxDeviceType::U) {
            continue;
        }
        let numbers = (device.major(), device.minor());
        let named = NEVER.iter().find(|(major, minor, _)| (*major, *minor) == numbers).map(|(.., name)| *name);
        let registers = || (device.major() == MSR_MAJOR).then_some("registers of the CPU");
        let Some(name) = named.or_else(registers) else { continue };
        let text = device.path().to_string_lossy();
        let found = Found::new(pointer::index("/linux/devices", i), json!(device), format!("{text:?} is {name}"));
        sheet.refuses(found, "other devices");
    }
}
