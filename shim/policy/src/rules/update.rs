//! `update.devices` and `update.annotations`.

use oci_spec::runtime as oci;
use serde_json::json;

use crate::pointer;
use crate::rules::{UpdateScope, annotations};
use crate::sheet::{Found, Sheet};

/// CRI sends the whole resource section of the original specification, device rules too. `res.devices` has
/// judged them; the runtime does not get them a second time.
pub(super) fn devices(resources: &mut oci::LinuxResources, _: &UpdateScope<'_>, sheet: &mut Sheet) {
    let Some(rules) = resources.devices().as_ref().filter(|rules| !rules.is_empty()) else { return };
    let found = Found::new("/linux/resources/devices", json!(rules), "devices are settled at create");
    if sheet.mends(found, json!(null)) {
        resources.set_devices(None);
    }
}

/// NRI and other callers can add annotations to an update; none is known to be needed.
pub(super) fn annotations(_: &mut oci::LinuxResources, scope: &UpdateScope<'_>, sheet: &mut Sheet) {
    let listed = &scope.settings.annotations;
    for (name, value) in scope.annotations.iter().filter(|(name, _)| !annotations::is_kept(name, listed)) {
        let found = Found::new(pointer::join("/task/annotations", name), value.as_str(), "not a known annotation");
        sheet.refuses(found, "annotations of CRI");
    }
}
