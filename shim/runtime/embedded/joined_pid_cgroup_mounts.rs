//! cgroup mounts of v1 in a pid namespace that is not the container's own.
//!
//! libcontainer 0.7 looks up the number that init has there in the host's `/proc`: it fails where the host has no such process, and
//! goes by somebody else's cgroup where it has one. So it gets none to make, and they are made here before `create` returns, which
//! is before the container's program runs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::cgroup::{ContainerCgroup, Version};
use super::mount_namespace;

const NONE: Option<&str> = None;

/// Whether the mounts of a container's cgroup are made here.
pub(super) fn are_ours(spec: &Spec, cgroup: &ContainerCgroup) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    let pid = namespaces.iter().find(|namespace| namespace.typ() == LinuxNamespaceType::Pid);
    cgroup.version() == Version::V1 && pid.is_none_or(|pid| pid.path().is_some())
}

/// The specification without its cgroup mounts.
pub(super) fn without(mut spec: Spec) -> Spec {
    if let Some(mounts) = spec.mounts_mut() {
        mounts.retain(|mount| mount.typ().as_deref() != Some("cgroup"));
    }
    spec
}

/// Where v2 stands beside v1. runc shows it to no container.
const UNIFIED: &str = "unified";

/// Mounts the container's own directory of each hierarchy of v1, in the mount namespace of `init`. They are shared where the root is, as
/// all mounts are that a runtime makes there.
pub(super) fn make(init: i32, spec: &Spec, cgroup: &ContainerCgroup) -> io::Result<()> {
    let propagation = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
    let shared = matches!(propagation, Some("shared" | "rshared"));
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    for mount in mounts.iter().filter(|mount| mount.typ().as_deref() == Some("cgroup")) {
        // The runtime's own mount namespace can have a hierarchy twice, one mount over the other.
        let hierarchies: BTreeMap<&Path, &Path> = cgroup
            .hierarchies()
            .filter(|(name, directory)| *name != Path::new(UNIFIED) && directory.exists())
            .collect();
        let trees: Vec<(PathBuf, OwnedFd)> = hierarchies
            .into_iter()
            .map(|(name, directory)| Ok((name.to_owned(), clone(directory)?)))
            .collect::<io::Result<_>>()?;
        let destination = mount.destination().clone();
        mount_namespace::within(init, || {
            furnish(&destination, trees)?;
            if shared { share(&destination) } else { Ok(()) }
        })??;
    }
    Ok(())
}

fn clone(directory: &Path) -> io::Result<OwnedFd> {
    Ok(open_tree(CWD, directory, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?)
}

/// As cgroups(7) has it: a directory for each hierarchy, and a link for each controller of one that has several.
fn furnish(destination: &Path, trees: Vec<(PathBuf, OwnedFd)>) -> io::Result<()> {
    if !destination.exists() {
        fs::create_dir_all(destination)?;
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), destination, Some("tmpfs"), flags, Some("mode=755"))?;
    for (name, tree) in trees {
        let place = destination.join(&name);
        fs::create_dir(&place)?;
        move_mount(&tree, "", CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        let controllers = name.to_str().into_iter().flat_map(|name| name.split(','));
        for controller in controllers.filter(|controller| Path::new(controller) != name) {
            symlink(&name, destination.join(controller))?;
        }
    }
    Ok(())
}

fn share(destination: &Path) -> io::Result<()> {
    Ok(mount(NONE, destination, NONE, MsFlags::MS_SHARED | MsFlags::MS_REC, NONE)?)
}
