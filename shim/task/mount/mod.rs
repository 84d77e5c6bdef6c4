//! Mounting a container's root filesystem as containerd's snapshotter asks, and taking it down again.
//!
//! The mounts come with the create request. They go onto the bundle's `rootfs` directory through an fd that was opened
//! without following links, so that nothing that is put in its place meanwhile can redirect them.

mod error;
mod idmapped;
mod options;
mod overlay;
mod target;
#[cfg(test)]
mod tests;
mod unmount;

use std::path::{Path, PathBuf};

use nix::mount::MsFlags;

use error::FILESYSTEMS;
pub use error::MountError;
use options::MountOptions;
use target::Target;
pub use unmount::unmount;
use unmount::unmount_once;

/// One mount of a create request (`containerd.types.Mount`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootfsMount {
    /// The filesystem type, or `bind`.
    pub kind: String,
    /// A directory for `bind`, a block device for disk filesystems, ignored by `overlay`.
    pub source: String,
    /// Where below the root filesystem; empty for the root filesystem itself.
    pub target: String,
    /// fstab-style options.
    pub options: Vec<String>,
}

/// A root filesystem that is mounted. Dropping it unmounts again, for every way out of a create that fails; once the container
/// exists, [`MountedRootfs::keep`] leaves it to [`unmount`] at delete.
#[derive(Debug)]
#[must_use = "dropping it unmounts the root filesystem"]
pub struct MountedRootfs {
    /// In the order of mounting.
    mounted: Vec<PathBuf>,
}

impl MountedRootfs {
    /// Leaves everything mounted.
    pub fn keep(mut self) {
        self.mounted.clear();
    }

    /// Unmounts what was mounted, last first.
    ///
    /// # Errors
    ///
    /// [`MountError::Io`] for the first mount that stays; the others are unmounted all the same.
    pub fn unmount(mut self) -> Result<(), MountError> {
        self.take_down()
    }

    fn take_down(&mut self) -> Result<(), MountError> {
        let mut outcome = Ok(());
        while let Some(path) = self.mounted.pop() {
            let unmounted = match unmount_once(&path) {
                Ok(_) => Ok(()),
                Err(source) => Err(MountError::Io { action: "unmount", path, source }),
            };
            outcome = outcome.and(unmounted);
        }
        outcome
    }
}

impl Drop for MountedRootfs {
    fn drop(&mut self) {
        // Only on the way out of another error, which is the one to report; delete unmounts whatever is left.
        if let Err(error) = self.take_down() {
            drop(error);
        }
    }
}

/// Mounts the root filesystem of a container, in the order given. No mounts is fine: the bundle then holds the files itself.
///
/// Types: `bind` (`rbind`, with `ro` and the other flags applied to the bind mount by a remount), `overlay` with as
/// many layers as containerd makes, whose files `uidmap` and `gidmap` show as other users', and the filesystems that need no helper program. `X-containerd.*` options are for others
/// and skipped. The calling thread's mount namespace is changed; nothing else of the process is.
///
/// # Errors
///
/// See [`MountError`]; whatever had been mounted by then is unmounted again.
pub fn mount_rootfs(bundle_rootfs: &Path, mounts: &[RootfsMount]) -> Result<MountedRootfs, MountError> {
    let mut rootfs = MountedRootfs { mounted: Vec::with_capacity(mounts.len()) };
    for request in mounts {
        let options = MountOptions::parse(&request.options)?;
        let target = Target::open(bundle_rootfs, &request.target)?;
        let bind = is_bind(request, &options)?;
        if !bind && !FILESYSTEMS.contains(&request.kind.as_str()) {
            return Err(MountError::Kind { kind: request.kind.clone() });
        }
        if let Some(maps) = &options.idmap {
            target.place(&idmapped::mounted(&target.path, request, &options, maps)?)?;
        } else if bind {
            target.bind(&request.source, options.flags)?;
        } else {
            target.mount_filesystem(request, &options)?;
        }
        rootfs.mounted.push(target.path.clone());
        target.finish(&options, bind)?;
    }
    Ok(rootfs)
}

/// Only the type decides: it is what the policy has judged, and an option must not turn a layered root into a host directory.
fn is_bind(request: &RootfsMount, options: &MountOptions) -> Result<bool, MountError> {
    let bind = request.kind == "bind";
    if options.flags.contains(MsFlags::MS_BIND) && !bind {
        let instead = "a bind mount has the type `bind`";
        return Err(MountError::Option { option: format!("bind of type {}", request.kind), instead });
    }
    Ok(bind)
}
