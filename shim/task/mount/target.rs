//! The directory that a filesystem is mounted on.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use rustix::mount::{MoveMountFlags, move_mount};

use super::options::MountOptions;
use super::{MountError, RootfsMount, overlay};

pub(super) const PLAIN_DIRECTORY: OFlag =
    OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A directory to mount on.
pub(super) struct Target {
    pub(super) path: PathBuf,
    fd: OwnedFd,
}

impl Target {
    /// Opens `below` under the root filesystem as it is mounted by now, one component at a time and never through a link.
    pub(super) fn open(rootfs: &Path, below: &str) -> Result<Self, MountError> {
        let mut path = rootfs.to_path_buf();
        let refused =
            |path: &Path, errno: Errno| MountError::Target { path: path.to_path_buf(), source: Some(errno.into()) };
        let mut fd = open(rootfs, PLAIN_DIRECTORY, Mode::empty()).map_err(|errno| refused(rootfs, errno))?;
        for part in Path::new(below).components() {
            let name = match part {
                Component::RootDir | Component::CurDir => continue,
                Component::Normal(name) => name,
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(MountError::Target { path: rootfs.join(below), source: None });
                }
            };
            path.push(name);
            fd = openat(&fd, name, PLAIN_DIRECTORY, Mode::empty()).map_err(|errno| refused(&path, errno))?;
        }
        Ok(Self { path, fd })
    }

    /// The directory's name that no rename or link can change. Of the thread, whose mount namespace may be its own.
    pub(super) fn by_fd(fd: &OwnedFd) -> PathBuf {
        PathBuf::from(format!("/proc/thread-self/fd/{}", fd.as_fd().as_raw_fd()))
    }

    fn failed(&self, action: &'static str, errno: Errno) -> MountError {
        MountError::Io { action, path: self.path.clone(), source: errno.into() }
    }

    /// Puts a mount here that stands nowhere yet.
    pub(super) fn place(&self, mount: &OwnedFd) -> Result<(), MountError> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(mount, "", &self.fd, "", flags).map_err(|errno| MountError::Io {
            action: "mount",
            path: self.path.clone(),
            source: errno.into(),
        })
    }

    pub(super) fn bind(&self, source: &str, flags: MsFlags) -> Result<(), MountError> {
        let flags = MsFlags::MS_BIND | (flags & MsFlags::MS_REC);
        mount(Some(source), &Self::by_fd(&self.fd), None::<&str>, flags, None::<&str>)
            .map_err(|errno| self.failed("mount", errno))
    }

    pub(super) fn mount_filesystem(&self, request: &RootfsMount, options: &MountOptions) -> Result<(), MountError> {
        if overlay::fits(&options.filesystem) {
            let options_text = options.filesystem.join(",");
            let data = Some(options_text.as_str()).filter(|text| !text.is_empty());
            let kind = Some(request.kind.as_str());
            return mount(Some(request.source.as_str()), &Self::by_fd(&self.fd), kind, options.flags, data)
                .map_err(|errno| self.failed("mount", errno));
        }
        if request.kind != "overlay" {
            return Err(MountError::OptionsTooLong { bytes: overlay::length(&options.filesystem) });
        }
        let mounted = overlay::mount_from_common_directory(&self.fd, options)?;
        mounted.map_err(|errno| self.failed("mount", errno))
    }

    /// What mount(2) does in calls of their own: the flags of a bind mount, and propagation.
    pub(super) fn finish(self, options: &MountOptions, bind: bool) -> Result<(), MountError> {
        let flags = options.flags.difference(MsFlags::MS_BIND | MsFlags::MS_REC);
        let remount = bind && !flags.is_empty();
        if !remount && options.propagation.is_empty() {
            return Ok(());
        }
        // The old fd is the directory below the new mount.
        let top = self.mounted_directory()?;
        if remount {
            let kept = kept_flags(&top).map_err(|errno| self.failed("read", errno))?;
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags | kept;
            mount(None::<&str>, &Self::by_fd(&top), None::<&str>, flags, None::<&str>)
                .map_err(|errno| self.failed("remount", errno))?;
        }
        for propagation in &options.propagation {
            mount(None::<&str>, &Self::by_fd(&top), None::<&str>, *propagation, None::<&str>)
                .map_err(|errno| self.failed("remount", errno))?;
        }
        Ok(())
    }

    fn mounted_directory(&self) -> Result<OwnedFd, MountError> {
        // Of the path that was just opened component by component: only root can have changed a bundle in between, and the
        // kernel refuses to remount what is not the root of a mount.
        open(&self.path, PLAIN_DIRECTORY, Mode::empty())
            .map_err(|errno| MountError::Target { path: self.path.clone(), source: Some(errno.into()) })
    }
}

/// The flags that the bind mount has from its source: a remount sets all flags anew and must not lift those.
fn kept_flags(mounted: &OwnedFd) -> nix::Result<MsFlags> {
    let now = fstatvfs(mounted)?.flags();
    let table = [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
    ];
    Ok(table.into_iter().filter(|(has, _)| now.contains(*has)).map(|(_, flag)| flag).collect())
}
