//! Root filesystems whose files are shown as those of the container's users.
//!
//! The overlay filesystem can't be idmapped itself, its layers can. An idmapped mount of each layer stands on a tmpfs in a mount namespace
//! of a thread's own, where the overlay is mounted over them and taken out as a mount that stands nowhere. The namespace ends with the thread, so
//! that nothing is left on the host however the shim ends. Source: mount_setattr(2), open_tree(2), kernel
//! `Documentation/filesystems/overlayfs.rst`.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::chdir;
use palisade_policy::IdMaps;
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::options::MountOptions;
use super::{MountError, RootfsMount, overlay};
use crate::unsafe_syscalls::{Depth, set_propagation};
use crate::user_namespace::UserNamespace;

/// Names on the tmpfs of the mounting thread.
const OVERLAY: &str = "root";

/// What a request asks for, mounted and standing nowhere. `scratch` is a directory that the thread may mount over for itself.
///
/// # Errors
///
/// [`MountError`]; nothing is mounted then.
pub(super) fn mounted(
    scratch: &Path,
    request: &RootfsMount,
    options: &MountOptions,
    maps: &IdMaps,
) -> Result<OwnedFd, MountError> {
    let users = UserNamespace::with(maps).map_err(io_error("make a user namespace for", scratch))?;
    if request.kind == "bind" {
        let recursive = options.flags.contains(MsFlags::MS_REC);
        return idmapped(&users, Path::new(&request.source), if recursive { Depth::Tree } else { Depth::Alone });
    }
    thread::scope(|scope| {
        let work = || {
            enter(scratch)?;
            if request.kind == "overlay" { overlay_of(&users, options) } else { filesystem(&users, request, options) }
        };
        let thread = thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, work);
        let joined = thread.map_err(io_error("mount", scratch))?.join();
        joined.map_err(|_| io_error("mount", scratch)(io::Error::other("the mounting thread panicked")))?
    })
}

/// Puts the calling thread into a mount namespace of its own, on an empty tmpfs.
fn enter(scratch: &Path) -> Result<(), MountError> {
    let failed = |errno: nix::errno::Errno| io_error("mount", scratch)(errno.into());
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).map_err(failed)?;
    let recursive = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, recursive, None::<&str>).map_err(failed)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("palisade"), scratch, Some("tmpfs"), flags, Some("mode=0700,size=1m")).map_err(failed)?;
    chdir(scratch).map_err(failed)?;
    fs::create_dir(OVERLAY).map_err(io_error("mount", scratch))
}

/// The overlay over idmapped layers. The directory that is written to has the container's users as its owners already.
fn overlay_of(users: &UserNamespace, options: &MountOptions) -> Result<OwnedFd, MountError> {
    let mut own = Vec::with_capacity(options.filesystem.len());
    for option in &options.filesystem {
        match option.strip_prefix("lowerdir=") {
            None => own.push(option.clone()),
            Some(layers) => own.push(format!("lowerdir={}", lower(users, option, layers)?)),
        }
    }
    if !overlay::fits(&own) {
        return Err(MountError::OptionsTooLong { bytes: overlay::length(&own) });
    }
    let failed = |errno: nix::errno::Errno| io_error("mount", Path::new("overlay"))(errno.into());
    mount(Some("overlay"), OVERLAY, Some("overlay"), options.flags, Some(own.join(",").as_str())).map_err(failed)?;
    detached(Path::new(OVERLAY), Depth::Alone)
}

/// The names of the layers' idmapped mounts, in the order of the layers.
fn lower(users: &UserNamespace, option: &str, layers: &str) -> Result<String, MountError> {
    // A backslash escapes a colon inside a name, and two colons begin layers of data alone.
    if layers.contains('\\') || layers.split(':').any(|layer| !layer.starts_with('/')) {
        let instead = "layers with mappings are absolute paths without a backslash";
        return Err(MountError::Option { option: option.to_owned(), instead });
    }
    let mut names = Vec::new();
    for (at, layer) in layers.split(':').map(Path::new).enumerate() {
        let name = at.to_string();
        let mount = idmapped(users, layer, Depth::Alone)?;
        fs::create_dir(&name).map_err(io_error("mount", layer))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&mount, "", CWD, name.as_str(), flags).map_err(|errno| io_error("mount", layer)(errno.into()))?;
        names.push(name);
    }
    Ok(names.join(":"))
}

fn filesystem(users: &UserNamespace, request: &RootfsMount, options: &MountOptions) -> Result<OwnedFd, MountError> {
    let failed = |errno: nix::errno::Errno| io_error("mount", Path::new(&request.source))(errno.into());
    let data = options.filesystem.join(",");
    let data = Some(data.as_str()).filter(|data| !data.is_empty());
    let (source, kind) = (Some(request.source.as_str()), Some(request.kind.as_str()));
    mount(source, OVERLAY, kind, options.flags, data).map_err(failed)?;
    idmapped(users, Path::new(OVERLAY), Depth::Alone)
}

/// A mount of what stands at a path that shows its files as other users'.
fn idmapped(users: &UserNamespace, path: &Path, depth: Depth) -> Result<OwnedFd, MountError> {
    let mount = detached(path, depth)?;
    // What the host mounts there later would show its own owners.
    set_propagation(&mount, libc::MS_PRIVATE, depth).map_err(io_error("mount", path))?;
    users.idmap(&mount, depth).map_err(|source| MountError::Idmap { path: path.to_owned(), source })?;
    Ok(mount)
}

/// A mount of what stands at a path, standing nowhere.
fn detached(path: &Path, depth: Depth) -> Result<OwnedFd, MountError> {
    let recursive = if depth == Depth::Tree { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | recursive;
    open_tree(CWD, path, flags).map_err(|errno| io_error("mount", path)(errno.into()))
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> MountError {
    let path: PathBuf = path.to_owned();
    move |source| MountError::Io { action, path: path.clone(), source }
}
