//! `mount.secrets`.

use oci_spec::runtime as oci;

use crate::draft::Draft;
use crate::rules::Case;
use crate::rules::flags::{self, Flag};
use crate::sheet::Sheet;
use crate::spec::is_bind;

/// The kubelet's directories for volumes that it fills itself and writes anew when the object changes
/// (`pods/<uid>/volumes/<plugin>/<name>`, Kubernetes `pkg/volume`).
const PLUGINS: &[&str] =
    &["kubernetes.io~secret", "kubernetes.io~configmap", "kubernetes.io~projected", "kubernetes.io~downward-api"];

/// What such a mount has to have, and what takes it back.
const FORCED: &[Flag] = &[
    ("ro", &["rw", "rrw"]),
    ("nosuid", &["suid", "rsuid"]),
    ("nodev", &["dev", "rdev"]),
    ("noexec", &["exec", "rexec"]),
];

/// A secret or a configuration is read: not written back into, not run. Whoever can write it in one container
/// commands the others that read it.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    for (i, mount) in draft.mounts.iter_mut().enumerate() {
        if is_bind(mount) && is_filled_by_kubelet(i, mount, case) {
            let reason = "a secret or configuration could be written or run";
            flags::force(mount, FORCED.iter().copied(), &format!("/mounts/{i}/options"), reason, sheet);
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
