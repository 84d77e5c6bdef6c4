//! `linux.cgroups-path`.

use std::path::{Path, PathBuf};

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// A cgroup of the container's own: either a path or systemd's `slice:prefix:name` (runc
/// `docs/systemd.md`), which ends in the container's id, so that no two containers share one and none
/// gets the cgroup of a host service.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    let id = case.task.id;
    let text = draft.linux.cgroups_path.to_string_lossy().into_owned();
    if text.is_empty() {
        let own = own_cgroup(case.task.namespace, id);
        let found = Found::new("/linux/cgroupsPath", "", "the runtime would choose the cgroup");
        if sheet.mends(found, own.to_string_lossy().as_ref()) {
            draft.linux.cgroups_path = own;
        }
        return;
    }
    if !is_own(&text, id) {
        let reason = format!("{text:?} is not a cgroup of this container's own");
        let found = Found::new("/linux/cgroupsPath", text.as_str(), reason);
        sheet.refuses(found, format!("a path that ends in /{id}, or <slice>:<prefix>:{id}"));
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
