//! `mount.dest`.

use std::path::Path;

use oci_spec::runtime as oci;

use crate::draft::Draft;
use crate::node::is_clean;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};
use crate::spec::is_bind;

/// A volume over /proc made runtimes write security labels to a fake file (CVE-2019-16884,
/// CVE-2019-19921, CVE-2023-27561, CVE-2025-52881); one over a default device node took its place.
pub(super) fn judge(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    for (i, mount) in draft.mounts.iter().enumerate() {
        let destination = mount.destination();
        let twice = draft.mounts.iter().take(i).any(|other| other.destination() == destination);
        let text = destination.to_string_lossy();
        let reason = if !is_clean(destination) {
            "is not an absolute path without dots"
        } else if is_kernel_place(destination) && twice {
            "is mounted twice"
        } else if !fits(mount, destination) {
            "is for the kernel's own filesystems"
        } else {
            continue;
        };
        let found = Found::new(format!("/mounts/{i}/destination"), text.as_ref(), format!("{text:?} {reason}"));
        sheet.refuses(found, "a path outside /proc, /sys and /dev");
    }
}

fn is_kernel_place(path: &Path) -> bool {
    ["/proc", "/sys", "/dev"].iter().any(|place| path.starts_with(place))
}

/// Whether this kind of mount belongs at this place.
/// Filesystems that show the kernel, and have one place.
const KERNEL_TYPES: &[&str] = &["proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue"];

fn fits(mount: &oci::Mount, destination: &Path) -> bool {
    if destination == Path::new("/") {
        return false;
    }
    let kind = if is_bind(mount) { "bind" } else { mount.typ().as_deref().unwrap_or_default() };
    if !is_kernel_place(destination) {
        // A second procfs or sysfs elsewhere would have neither masked nor read-only paths.
        return !KERNEL_TYPES.contains(&kind);
    }
    let place = destination.to_str().unwrap_or_default();
    match (place.trim_end_matches('/'), kind) {
        ("/proc", "proc") | ("/sys", "sysfs") | ("/sys/fs/cgroup", "cgroup" | "cgroup2") => true,
        ("/dev", "tmpfs") | ("/dev/pts", "devpts") | ("/dev/mqueue", "mqueue") => true,
        ("/dev/shm", "tmpfs" | "bind") => true,
        (other, "bind") => is_free_in_dev(other),
        _ => false,
    }
}

/// Kubernetes' termination message file and huge page volumes are in /dev by convention.
fn is_free_in_dev(place: &str) -> bool {
    let below_huge = place.starts_with("/dev/hugepages");
    below_huge || place == "/dev/termination-log"
}
