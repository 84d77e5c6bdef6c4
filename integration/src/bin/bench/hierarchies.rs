//! A machine with cgroup v1 alone, made of one that has controllers of v2 beside it: crun refuses to run there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use palisade_integration::{Enclosure, Failure};

const ROOT: &str = "/sys/fs/cgroup";
/// Where a hybrid machine has v2.
const UNIFIED: &str = "unified";
/// Where the new root is made, before it takes the old one's place. Both are the enclosure's alone.
const NEW: &str = "/run/cgroup";
const NOTHING: Option<&str> = None;

/// Gives the enclosure hierarchies without the unified one. It is not enough to unmount it: in its empty folder crun would make files.
pub(crate) fn without_unified(_enclosure: &Enclosure) -> Result<(), Failure> {
    let root = Path::new(ROOT);
    if !root.join(UNIFIED).exists() {
        return Ok(());
    }
    fs::create_dir(NEW).map_err(Failure::io("make", Path::new(NEW)))?;
    mount(Some("cgroup"), NEW, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .map_err(Failure::system(&format!("mount at {NEW}")))?;
    for entry in fs::read_dir(root).map_err(Failure::io("list", Path::new(ROOT)))?.flatten() {
        let name = entry.file_name();
        if name != UNIFIED {
            keep(&entry.path(), &Path::new(NEW).join(name))?;
        }
    }
    umount2(ROOT, MntFlags::MNT_DETACH).map_err(Failure::system(&format!("mount at {ROOT}")))?;
    mount(Some(NEW), ROOT, NOTHING, MsFlags::MS_MOVE, NOTHING).map_err(Failure::system(&format!("mount at {ROOT}")))?;
    fs::remove_dir(NEW).map_err(Failure::io("remove", Path::new(NEW)))
}

/// A hierarchy, or another name of one.
fn keep(old: &Path, new: &Path) -> Result<(), Failure> {
    if let Ok(target) = fs::read_link(old) {
        return symlink(target, new).map_err(Failure::io("link", new));
    }
    fs::create_dir(new).map_err(Failure::io("make", new))?;
    mount(Some(old), new, NOTHING, MsFlags::MS_MOVE, NOTHING)
        .map_err(Failure::system(&format!("mount at {}", new.display())))
}
