//! The propagation of mounts.
//!
//! libcontainer 0.7 reads `rprivate`, `rslave` and the like among a mount's options and leaves the mount as its source was: what the
//! host mounts later would appear in a volume that was to be private. It is set before `create` returns, which is before the
//! container's program runs. Source: OCI config.md "Linux mount options", mount_namespaces(7), mount_setattr(2).

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, Spec};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::error::RuntimeFailure;
use crate::unsafe_syscalls::{self, Depth};

/// What one option of a mount asks for: a propagation type of mount(2), and for which mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Propagation {
    kind: u64,
    depth: Depth,
}

/// A mount and what it asks for.
pub(super) struct Asking {
    destination: PathBuf,
    propagations: Vec<Propagation>,
    /// Whether a later mount lies over it, so that no path leads to it.
    covered: bool,
}

/// `linux.rootfsPropagation` in the words that libcontainer knows. runc knows both and takes them for the same.
pub(super) fn of_rootfs(wanted: &str) -> &str {
    match wanted {
        "rprivate" => "private",
        "rshared" => "shared",
        "rslave" => "slave",
        "runbindable" => "unbindable",
        other => other,
    }
}

/// The mounts that ask for a propagation.
pub(super) fn asking(spec: &Spec) -> Vec<Asking> {
    asking_among(spec.mounts().as_deref().unwrap_or_default())
}

/// Gives it to them, in the mount namespace that the calling thread is in.
///
/// # Errors
///
/// One of them can't have it.
pub(super) fn put_in_force(asking: &[Asking]) -> Result<(), RuntimeFailure> {
    asking.iter().try_for_each(Asking::set)
}

fn asking_among(mounts: &[Mount]) -> Vec<Asking> {
    let each = mounts.iter().enumerate().filter_map(|(index, mount)| {
        let options = mount.options().as_deref().unwrap_or_default();
        let propagations: Vec<_> = options.iter().filter_map(|option| Propagation::of_option(option)).collect();
        let destination = Path::new("/").join(mount.destination());
        let covers = |later: &Mount| {
            let other = Path::new("/").join(later.destination());
            other != destination && destination.starts_with(other)
        };
        let covered = mounts.iter().skip(index + 1).any(covers);
        (!propagations.is_empty()).then_some(Asking { destination, propagations, covered })
    });
    each.collect()
}

impl Propagation {
    fn of_option(option: &str) -> Option<Self> {
        let (kind, depth) = match option {
            "private" => (libc::MS_PRIVATE, Depth::Alone),
            "rprivate" => (libc::MS_PRIVATE, Depth::Tree),
            "slave" => (libc::MS_SLAVE, Depth::Alone),
            "rslave" => (libc::MS_SLAVE, Depth::Tree),
            "shared" => (libc::MS_SHARED, Depth::Alone),
            "rshared" => (libc::MS_SHARED, Depth::Tree),
            "unbindable" => (libc::MS_UNBINDABLE, Depth::Alone),
            "runbindable" => (libc::MS_UNBINDABLE, Depth::Tree),
            _ => return None,
        };
        Some(Self { kind, depth })
    }
}

impl Asking {
    fn set(&self) -> Result<(), RuntimeFailure> {
        let failed = || RuntimeFailure::file("set the propagation of the mount", &self.destination);
        let mount = open(&self.destination, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let mount = match mount {
            Err(Errno::NOENT) if self.covered => return Ok(()),
            opened => opened.map_err(|errno| failed()(errno.into()))?,
        };
        for Propagation { kind, depth } in &self.propagations {
            match unsafe_syscalls::set_propagation(&mount, *kind, *depth) {
                // Not the root of a mount.
                Err(error) if self.covered && error.raw_os_error() == Some(libc::EINVAL) => return Ok(()),
                outcome => outcome.map_err(failed())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(json: &str) -> Vec<Mount> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn each_option_of_each_mount_counts() {
        let found = asking_among(&mounts(
            r#"[{"destination":"/a","options":["rbind","rslave","private"]},
                {"destination":"/b","options":["rbind","ro"]},
                {"destination":"/c"},
                {"destination":"d/e","options":["rshared"]}]"#,
        ));
        let slave = Propagation { kind: libc::MS_SLAVE, depth: Depth::Tree };
        let private = Propagation { kind: libc::MS_PRIVATE, depth: Depth::Alone };
        assert_eq!(
            found.iter().map(|mount| mount.destination.as_path()).collect::<Vec<_>>(),
            [Path::new("/a"), Path::new("/d/e")]
        );
        assert_eq!(found[0].propagations, [slave, private]);
    }

    #[test]
    fn only_a_later_mount_above_covers() {
        let found = asking_among(&mounts(
            r#"[{"destination":"/a/b","options":["rprivate"]},
                {"destination":"/a","options":["rprivate"]},
                {"destination":"/a/b/c","options":["rprivate"]},
                {"destination":"/ab","options":["rprivate"]}]"#,
        ));
        assert_eq!(found.iter().map(|mount| mount.covered).collect::<Vec<_>>(), [true, false, false, false]);
    }

    #[test]
    fn the_root_filesystem_has_both_spellings() {
        assert_eq!(of_rootfs("rslave"), "slave");
        assert_eq!(of_rootfs("slave"), "slave");
        assert_eq!(of_rootfs("nonsense"), "nonsense");
    }
}
