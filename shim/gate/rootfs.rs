//! What the image, or a volume, has where the runtime is going to mount.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::{Component, Path, PathBuf};

use palisade_policy::{Place, PlaceFact};

use super::pins::Pins;

/// As many links as the kernel follows. Source: path_resolution(7).
const MAX_LINKS: usize = 40;

/// Looks at the places in a root filesystem that no process uses yet, each as it is after the mounts before it.
pub(super) fn facts_of(rootfs: &Path, places: &[Place], pins: &Pins) -> Vec<PlaceFact> {
    let mut tree = Tree { rootfs, mounts: Vec::new() };
    let mut facts = Vec::with_capacity(places.len());
    for place in places {
        let fact = tree.fact_of(&place.destination);
        if let (Some(mount), Some(end)) = (place.mount, &fact.leads_to) {
            tree.mounts.push((end.clone(), pins.source(mount)));
        }
        facts.push(fact);
    }
    facts
}

/// A root filesystem and what is mounted on it so far.
struct Tree<'a> {
    rootfs: &'a Path,
    /// (where in the root filesystem, the source of a bind mount). What the kernel mounts there has nothing of the pod's.
    mounts: Vec<(PathBuf, Option<BorrowedFd<'a>>)>,
}

impl Tree<'_> {
    fn fact_of(&self, destination: &Path) -> PlaceFact {
        let leads_to = self.follow(destination);
        let end = leads_to.as_ref().and_then(|end| self.on_host(end));
        let is_file = end.is_some_and(|end| fs::symlink_metadata(end).is_ok_and(|seen| !seen.is_dir()));
        PlaceFact { destination: destination.into(), leads_to, is_file }
    }

    /// Where a path without links is on the host; `None` at and below what has nothing of the pod's, and at a mount.
    fn on_host(&self, path: &Path) -> Option<PathBuf> {
        // The last one covers what was mounted before.
        let covering =
            self.mounts.iter().rev().find_map(|(point, source)| Some((path.strip_prefix(point).ok()?, source)));
        match covering {
            None => Some(within(self.rootfs, path)),
            Some((rest, Some(source))) if !rest.as_os_str().is_empty() => {
                Some(Path::new("/proc/self/fd").join(source.as_raw_fd().to_string()).join(rest))
            }
            Some(_) => None,
        }
    }

    /// Follows every link as a process whose root is the tree would. The kernel's own resolution (openat2's
    /// `RESOLVE_IN_ROOT`) ends where something does not exist, and below /proc nothing does before it is mounted.
    fn follow(&self, destination: &Path) -> Option<PathBuf> {
        let mut end = PathBuf::from("/");
        let mut rest: VecDeque<OsString> = parts(destination);
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            if part == ".." {
                end.pop();
                continue;
            }
            // `end` has no link in it, so this looks at the part itself and at nothing outside the tree.
            let next = end.join(&part);
            let Some(Ok(target)) = self.on_host(&next).map(fs::read_link) else {
                end = next;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            if target.is_absolute() {
                end = PathBuf::from("/");
            }
            for part in parts(&target).into_iter().rev() {
                rest.push_front(part);
            }
        }
        Some(end)
    }
}

/// The names of a path, and `..`.
fn parts(path: &Path) -> VecDeque<OsString> {
    let named = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    named.collect()
}

/// A path of the container on the host.
fn within(rootfs: &Path, path: &Path) -> PathBuf {
    rootfs.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_inside_the_rootfs_and_into_what_is_not_there_yet() {
        let rootfs = std::env::temp_dir().join(format!("palisade-rootfs-{}", std::process::id()));
        fs::create_dir_all(rootfs.join("run/lock")).unwrap();
        fs::create_dir_all(rootfs.join("proc")).unwrap();
        fs::write(rootfs.join("sys"), "").unwrap();
        for (target, link) in [
            ("/run", "var-run"),
            ("/proc/self/attr", "data"),
            ("../../../proc/sys", "up"),
            ("round", "round"),
            ("/tmp/x", "dev"),
            ("data", "twice"),
        ] {
            symlink(target, rootfs.join(link)).unwrap();
        }
        let bare = Tree { rootfs: &rootfs, mounts: Vec::new() };
        for (destination, end) in [
            ("/var-run/lock", Some("/run/lock")),
            ("/data", Some("/proc/self/attr")),
            ("/twice/more", Some("/proc/self/attr/more")),
            ("/up", Some("/proc/sys")),
            ("/round", None),
            ("/dev", Some("/tmp/x")),
            ("/dev/pts", Some("/tmp/x/pts")),
            ("/not/there", Some("/not/there")),
            ("/proc", Some("/proc")),
        ] {
            let fact = bare.fact_of(Path::new(destination));
            assert_eq!(fact.leads_to.as_deref(), end.map(Path::new), "{destination}");
            assert!(!fact.is_file, "{destination}");
        }
        assert!(bare.fact_of(Path::new("/sys")).is_file);
        fs::remove_dir_all(rootfs).unwrap();
    }

    #[test]
    fn a_link_in_a_volume_is_followed_once_the_volume_is_mounted() {
        let base = std::env::temp_dir().join(format!("palisade-volume-{}", std::process::id()));
        let (rootfs, volume) = (base.join("rootfs"), base.join("volume"));
        fs::create_dir_all(rootfs.join("data/hidden")).unwrap();
        fs::create_dir_all(volume.join("dir")).unwrap();
        symlink("/proc/self/attr", volume.join("link")).unwrap();
        symlink("/proc", rootfs.join("data/covered")).unwrap();
        let places = ["/data/link", "/data", "/data/link", "/data/covered", "/data/dir/x", "/proc", "/proc/self"];
        let place = |(at, place): (usize, &&str)| Place { destination: place.into(), mount: Some(at) };
        let places: Vec<_> = places.iter().enumerate().map(place).collect();
        let pins = Pins { sources: vec![(1, fs::File::open(&volume).unwrap().into())], ..Pins::default() };
        let facts = facts_of(&rootfs, &places, &pins);
        let ends: Vec<_> = facts.iter().map(|fact| fact.leads_to.as_deref().unwrap().to_str().unwrap()).collect();
        // The first place is mounted before the volume, and covered by it.
        let expected =
            ["/data/link", "/data", "/proc/self/attr", "/data/covered", "/data/dir/x", "/proc", "/proc/self"];
        assert_eq!(ends, expected);
        fs::remove_dir_all(base).unwrap();
    }
}
