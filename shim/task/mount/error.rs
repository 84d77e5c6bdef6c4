//! Why a root filesystem could not be mounted or unmounted.

use std::io;
use std::path::PathBuf;

/// Why the root filesystem was not mounted or unmounted. Nothing stays mounted of a call that fails to mount.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// A filesystem type that no root filesystem comes as.
    #[error("rootfs: mounts of type `{kind}` are not allowed; allowed: bind, {}; choose another snapshotter", FILESYSTEMS.join(", "))]
    Kind {
        /// The type asked for.
        kind: String,
    },
    /// An option that would have to be carried out and is not supported.
    #[error("rootfs: mount option `{option}` is not supported; {instead}")]
    Option {
        /// The option, as given.
        option: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// The target is no plain directory below the root filesystem.
    #[error("rootfs: {} is not a real directory below the bundle's rootfs", path.display())]
    Target {
        /// The target.
        path: PathBuf,
        /// What the kernel said, if it was asked.
        #[source]
        source: Option<io::Error>,
    },
    /// The options do not fit the page that mount(2) takes, even with the layers' common directory left out.
    #[error(
        "rootfs: {bytes} bytes of mount options do not fit mount(2); use an image with fewer layers or shorter options"
    )]
    OptionsTooLong {
        /// Their length.
        bytes: usize,
    },
    /// Files can't be shown as those of the container's users.
    #[error(
        "rootfs: {} can't be shown as files of the pod's users (idmapped mount): the kernel (overlay: Linux 5.19) or its filesystem has no such mounts; another snapshotter, or containerd's `slow_chown`, does without",
        path.display()
    )]
    Idmap {
        /// A layer, or what was mounted.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A system call failed.
    #[error("rootfs: cannot {action} {}", path.display())]
    Io {
        /// The verb: `mount`, `remount`, `unmount`, `read`.
        action: &'static str,
        /// The mount point or file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// The filesystems that containerd's snapshotters hand over; all of them are mounted by the kernel without a helper program.
pub(super) const FILESYSTEMS: [&str; 7] = ["overlay", "erofs", "ext4", "xfs", "btrfs", "squashfs", "zfs"];
