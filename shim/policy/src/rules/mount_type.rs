//! `mount.type`.

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};
use crate::spec::is_bind;

/// Filesystems that show the container's own namespaces, or memory. All others read host devices, host
/// directories or kernel state (bpf, debugfs, tracefs, overlay with host directories, ext4, nfs).
const KNOWN: &[&str] = &["proc", "sysfs", "cgroup", "cgroup2", "tmpfs", "devpts", "mqueue"];

/// A mount is a bind or of a known type.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    for (i, mount) in draft.mounts.iter().enumerate().filter(|(_, mount)| !is_bind(mount)) {
        let kind = mount.typ().as_deref().unwrap_or_default();
        if !KNOWN.contains(&kind) && !case.settings.mount_types.iter().any(|one| one == kind) {
            let found = Found::new(format!("/mounts/{i}/type"), kind, format!("{kind:?} is not for containers"));
            sheet.refuses(found, format!("bind, {}", KNOWN.join(", ")));
        }
    }
}
