//! What the image put where the runtime is going to mount.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use palisade_policy::PlaceFact;

/// As many links as the kernel follows. Source: path_resolution(7).
const MAX_LINKS: usize = 40;

/// Looks at a place in a root filesystem that no process uses yet.
pub(super) fn fact_of(rootfs: &Path, destination: &Path) -> PlaceFact {
    let leads_to = follow(rootfs, destination);
    let is_file =
        leads_to.as_ref().is_some_and(|end| fs::symlink_metadata(within(rootfs, end)).is_ok_and(|seen| !seen.is_dir()));
    PlaceFact { destination: destination.into(), leads_to, is_file }
}

/// Follows every link as a process whose root is `rootfs` would. The kernel's own resolution (openat2's
/// `RESOLVE_IN_ROOT`) ends where something does not exist, and below /proc nothing does before it is mounted.
fn follow(rootfs: &Path, destination: &Path) -> Option<PathBuf> {
    let mut end = PathBuf::from("/");
    let mut rest: VecDeque<OsString> = parts(destination);
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            end.pop();
            continue;
        }
        // `end` has no link in it, so this looks at the part itself and at nothing outside the rootfs.
        let Ok(target) = fs::read_link(within(rootfs, &end).join(&part)) else {
            end.push(part);
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
            let fact = fact_of(&rootfs, Path::new(destination));
            assert_eq!(fact.leads_to.as_deref(), end.map(Path::new), "{destination}");
            assert!(!fact.is_file, "{destination}");
        }
        assert!(fact_of(&rootfs, Path::new("/sys")).is_file);
        fs::remove_dir_all(rootfs).unwrap();
    }
}
