//! `task.rootfs`.

use std::path::Path;

use serde_json::json;

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};
use crate::task::RootfsMount;

/// The root filesystem is made of layers of a snapshotter. A caller of containerd can name any mount
/// there, such as a bind of `/`.
pub(super) fn judge(_: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    for (i, mount) in case.task.rootfs_mounts.iter().enumerate() {
        if let Some(reason) = why_not(mount, case) {
            let before = json!({"type": mount.kind, "source": mount.source, "options": mount.options});
            let found = Found::new(format!("/task/rootfs/{i}"), before, reason);
            sheet.refuses(found, "a snapshotter's layers");
        }
    }
}

/// The filesystems that containerd's snapshotters hand over. Any other shows the kernel or the network whatever its
/// source says: `sysfs` with a layer for its source is the host's sysfs.
const KINDS: &[&str] = &["bind", "btrfs", "erofs", "ext4", "overlay", "squashfs", "xfs", "zfs"];

fn why_not(mount: &RootfsMount<'_>, case: &Case<'_>) -> Option<String> {
    if !KINDS.contains(&mount.kind) {
        return Some(format!("{:?} is no filesystem of a snapshotter", mount.kind));
    }
    // The kernel splits at commas, so one option could hide another from this rule.
    if let Some(option) = mount.options.iter().find(|option| option.contains(',')) {
        return Some(format!("{option:?} is more than one option"));
    }
    let outside = directories(mount).into_iter().find(|path| !is_layer(Path::new(path), case))?;
    Some(format!("{outside:?} is not a snapshotter's directory"))
}

/// Every host directory that the mount shows. The source of an overlay is a name only.
fn directories<'a>(mount: &RootfsMount<'a>) -> Vec<&'a str> {
    if mount.kind != "overlay" {
        // Disk filesystems take further files and devices by option (`device=`, `journal_path=`).
        let values = mount.options.iter().filter_map(|option| option.split_once('='));
        let paths = values.map(|(_, value)| value).filter(|value| value.starts_with('/'));
        return std::iter::once(mount.source).chain(paths).collect();
    }
    let keys = ["lowerdir=", "upperdir=", "workdir=", "lowerdir+=", "datadir+="];
    let values = mount.options.iter().filter_map(|option| keys.iter().find_map(|key| option.strip_prefix(key)));
    values.flat_map(|value| value.split(':')).filter(|path| !path.is_empty()).collect()
}

fn is_layer(path: &Path, case: &Case<'_>) -> bool {
    case.node.is_layer(path, &case.settings.rootfs)
}
