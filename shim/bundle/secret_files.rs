//! The files of moved secrets: on a tmpfs that is mounted nowhere on the host.
//!
//! ```text
//! fsopen(tmpfs) ─▶ fsmount: a mount without a place ─▶ files written ─▶ read-only ─▶ moved into the runtime's view
//! ```
//!
//! It is the container's alone from there on, and ends with the container's mount namespace, or with this descriptor where there never is
//! one: nothing has to be unmounted, whoever is killed when. Source: fsopen(2), fsmount(2), tmpfs(5).

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;

use palisade_policy::SecretFile;
use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};

use crate::unsafe_syscalls::make_mount_read_only;

/// Makes the files, readable by `uid` of the host alone. The mount is read-only, and no program of it runs.
///
/// # Errors
///
/// The kernel's.
pub fn secret_files(files: &[SecretFile], uid: u32, gid: u32) -> io::Result<OwnedFd> {
    let tmpfs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [("source", "palisade-secrets"), ("mode", "0500")] {
        fsconfig_set_string(&tmpfs, key, value)?;
    }
    fsconfig_set_string(&tmpfs, "uid", uid.to_string())?;
    fsconfig_set_string(&tmpfs, "gid", gid.to_string())?;
    // Linux 6.4. Before that secrets can reach a swap file, as those of the kubelet can.
    match fsconfig_set_flag(&tmpfs, "noswap") {
        Ok(()) | Err(_) => {}
    }
    fsconfig_create(&tmpfs)?;
    let flags =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(&tmpfs, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    for file in files {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut made = File::from(openat(&mount, file.name(), flags, Mode::RUSR)?);
        made.write_all(file.content())?;
        fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    match make_mount_read_only(&mount) {
        // Before Linux 5.12 the runtime alone makes it so.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(mount),
        outcome => outcome.map(|()| mount),
    }
}
