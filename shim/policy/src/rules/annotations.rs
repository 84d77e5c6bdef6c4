//! `annotations`.

use crate::draft::Draft;
use crate::pointer;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// Annotations that containerd's CRI plugin writes about the pod and the container. No engine acts on
/// them.
const CRI: &str = "io.kubernetes.cri.";

/// Whether an annotation is handed on: those of CRI, and the policy's. An entry that ends in `*` stands
/// for every name that starts so.
pub(super) fn is_kept(name: &str, listed: &[String]) -> bool {
    name.starts_with(CRI)
        || listed.iter().any(|entry| match entry.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => entry == name,
        })
}

/// Engines take orders from annotations: `org.systemd.property.*` sets unit properties as root
/// (CVE-2024-3154), `run.oci.seccomp_bpf_data` replaces the filter in crun, `run.oci.hooks.stdout` writes
/// host files. What is not known to be harmless is taken out.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    let listed = &case.settings.annotations;
    draft.annotations.retain(|name, value| {
        if is_kept(name, listed) {
            return true;
        }
        let place = pointer::join("/annotations", name);
        let found = Found::new(place, value.as_str(), "an OCI runtime could act on it");
        !sheet.mends(found, serde_json::Value::Null)
    });
}
