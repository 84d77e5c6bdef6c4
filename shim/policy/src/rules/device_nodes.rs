//! `linux.devices`.

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
