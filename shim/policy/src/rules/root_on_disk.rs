//! Whether root of a user namespace is root on a disk.

use std::path::Path;

use oci_spec::runtime as oci;

use crate::host::HostFacts;
use crate::id_map::{self, IdMaps};
use crate::node::NodePaths;
use crate::rules::read_only;

/// Volumes of which nothing is left when the pod is gone, and that nobody else is shown.
const POD_ALONE: &[&str] = &[
    "kubernetes.io~empty-dir",
    "kubernetes.io~secret",
    "kubernetes.io~configmap",
    "kubernetes.io~projected",
    "kubernetes.io~downward-api",
];

/// Whether root of the container writes as root on a disk that others are shown. Through an idmapped mount its files are root's there (mount_setattr(2)): those of
/// others can be read and changed, and what it leaves with the set-user-ID bit is the host's root's for whoever has the volume without that mapping.
pub(crate) fn writes_as_root(mounts: &[oci::Mount], own: &IdMaps, host: &HostFacts, node: &NodePaths) -> bool {
    id_map::idmapped_mounts(mounts, own).iter().any(|idmapped| {
        let options = mounts.get(idmapped.mount).and_then(|mount| mount.options().clone()).unwrap_or_default();
        !read_only::is(&options)
            && host.source(idmapped.mount).is_some_and(|fact| outlives_the_pod(&fact.real_path, node))
    })
}

/// A part of a volume (subPath) tells of no plugin.
fn outlives_the_pod(path: &Path, node: &NodePaths) -> bool {
    let is_part = || path.components().any(|part| part.as_os_str() == "volume-subpaths");
    node.volume_plugin(path).map_or_else(is_part, |plugin| !POD_ALONE.contains(&plugin))
}
