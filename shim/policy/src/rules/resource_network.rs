//! `res.network`.

use oci_spec::runtime as oci;
use serde_json::json;

use crate::rules::ResourceScope;
use crate::sheet::{Found, Sheet};

/// Class ids and priorities are what the node's own traffic rules tell their packets by.
pub(super) fn judge(resources: &mut oci::LinuxResources, _: &ResourceScope<'_>, sheet: &mut Sheet) {
    let Some(network) = resources.network() else { return };
    let found = Found::new("/linux/resources/network", json!(network), "marks packets for the node's rules");
    if sheet.mends(found, json!(null)) {
        resources.set_network(None);
    }
}
