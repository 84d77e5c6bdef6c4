//! `linux.cgroups-path`.

use std::path::{Path, PathBuf};

use crate::draft::Draft;
use crate::identity::ContainerKind;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// A cgroup of the container's own: either a path or systemd's `slice:prefix:name` (runc
/// `docs/systemd.md`), which ends in the container's id, so that no two containers share one and none
/// gets the cgroup of a host service.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    let id = case.task.id;
    let mut text = draft.linux.cgroups_path.to_string_lossy().into_owned();
    if text.is_empty() {
        let own = own_cgroup(case.task.namespace, id);
        let found = Found::new("/linux/cgroupsPath", "", "the runtime would choose the cgroup");
        if !sheet.mends(found, own.to_string_lossy().as_ref()) {
            return;
        }
        text = own.to_string_lossy().into_owned();
        draft.linux.cgroups_path = own;
    }
    if !is_own(&text, id) {
        let reason = format!("{text:?} is not a cgroup of this container's own");
        let found = Found::new("/linux/cgroupsPath", text.as_str(), reason);
        sheet.refuses(found, format!("a path that ends in /{id}, or <slice>:<prefix>:{id}"));
        return;
    }
    // The kubelet puts the pod's limits on the parent, so elsewhere they do not count.
    let pod = case.host.pod_cgroup.as_deref().filter(|_| case.identity.kind == ContainerKind::Container);
    if let Some(pod) = pod.filter(|pod| parent(pod) != parent(&text)) {
        let reason = format!("{text:?} is not beside the sandbox's cgroup");
        let found = Found::new("/linux/cgroupsPath", text.as_str(), reason);
        sheet.refuses(found, format!("a cgroup of {:?}", parent(pod)));
    }
}

/// The path above, or systemd's slice.
fn parent(text: &str) -> &str {
    match text.split_once(':') {
        Some((slice, _)) => slice,
        None => text.trim_start_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent),
    }
}

/// Where containerd puts a container that names no cgroup (`oci.WithNamespacedCgroup`).
pub(crate) fn own_cgroup(namespace: &str, id: &str) -> PathBuf {
    Path::new("/").join(namespace).join(id)
}

fn is_own(text: &str, id: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(char::is_control);
    match text.split(':').collect::<Vec<_>>().as_slice() {
        [path] => {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let parents = parent.strip_prefix('/').unwrap_or(parent);
            name == id && plain(name) && (parents.is_empty() || parents.split('/').all(plain))
        }
        [slice, prefix, name] => {
            let in_slice = slice.is_empty() || (slice.ends_with(".slice") && *slice != "-.slice");
            in_slice && !slice.contains('/') && plain(prefix) && !prefix.contains('/') && *name == id
        }
        _ => false,
    }
}
