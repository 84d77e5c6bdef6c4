//! `mount.secrets`.

use oci_spec::runtime as oci;
use serde_json::json;

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};
use crate::spec::is_bind;

/// The kubelet's directories for volumes that it fills itself and writes anew when the object changes
/// (`pods/<uid>/volumes/<plugin>/<name>`, Kubernetes `pkg/volume`).
const PLUGINS: &[&str] =
    &["kubernetes.io~secret", "kubernetes.io~configmap", "kubernetes.io~projected", "kubernetes.io~downward-api"];

/// What such a mount has to have, and what takes it back.
const FORCED: &[(&str, &[&str])] = &[("ro", &["rw", "rrw"]), ("noexec", &["exec", "rexec"])];

/// A secret or a configuration is read: not written back into, not run. Whoever can write it in one container
/// commands the others that read it.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    for (i, mount) in draft.mounts.iter_mut().enumerate() {
        if is_bind(mount) && is_filled_by_kubelet(i, mount, case) {
            force(mount, &format!("/mounts/{i}/options"), sheet);
        }
    }
}

fn is_filled_by_kubelet(i: usize, mount: &oci::Mount, case: &Case<'_>) -> bool {
    let given = mount.source().iter().map(std::path::PathBuf::as_path);
    let seen = case.host.source(i).into_iter();
    let seen = seen.flat_map(|fact| std::iter::once(&fact.real_path).chain(&fact.locations));
    given
        .chain(seen.map(std::path::PathBuf::as_path))
        .any(|path| case.node.volume_plugin(path).is_some_and(|plugin| PLUGINS.contains(&plugin)))
}

fn force(mount: &mut oci::Mount, pointer: &str, sheet: &mut Sheet) {
    let options = mount.options().clone().unwrap_or_default();
    let mut forced = options.clone();
    for (flag, opposites) in FORCED {
        forced.retain(|option| !opposites.contains(&option.as_str()));
        if !forced.iter().any(|option| option == flag) {
            forced.push((*flag).to_owned());
        }
    }
    if forced == options {
        return;
    }
    let found = Found::new(pointer, json!(options), "a secret or configuration could be written or run");
    if sheet.mends(found, json!(forced)) {
        mount.set_options(Some(forced));
    }
}
