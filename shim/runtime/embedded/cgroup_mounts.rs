//! cgroup mounts of v1 that libcontainer 0.7 makes wrongly. They are put right before `create` returns, which is before the
//! container's program runs.
//!
//! - It mounts a hierarchy without looking at `ro`, so a container's root could write its own limits.
//! - In a pid namespace that is not the container's own it looks up the number that init has there in the host's `/proc`: it fails
//!   where the host has no such process, and goes by somebody else's cgroup where it has one. There the mounts are made here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::cgroup::{ContainerCgroup, Version};

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

/// Mounts the container's own directory of each hierarchy, in the mount namespace of `init`.
pub(super) fn make(init: i32, spec: &Spec, cgroup: &ContainerCgroup) -> io::Result<()> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    for mount in mounts.iter().filter(|mount| mount.typ().as_deref() == Some("cgroup")) {
        // The runtime's own mount namespace can have a hierarchy twice, one mount over the other.
        let hierarchies: BTreeMap<&Path, &Path> =
            cgroup.hierarchies().filter(|(_, directory)| directory.exists()).collect();
        let trees: Vec<(PathBuf, OwnedFd)> = hierarchies
            .into_iter()
            .map(|(name, directory)| Ok((name.to_owned(), clone(directory)?)))
            .collect::<io::Result<_>>()?;
        let destination = mount.destination().clone();
        in_mounts_of(init, move || furnish(&destination, trees))?;
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

/// A thread with a file system view of its own can enter the namespace; the process stays where it is.
fn in_mounts_of(init: i32, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let namespace = File::open(format!("/proc/{init}/ns/mnt"))?;
    let entered = thread::Builder::new().spawn(move || {
        unshare(CloneFlags::CLONE_FS)?;
        setns(&namespace, CloneFlags::CLONE_NEWNS)?;
        work()
    })?;
    entered.join().map_err(|_| io::Error::other("the thread in the container's mount namespace panicked"))?
}

/// Makes every cgroup mount read-only that the spec wants so, in the mount namespace of `init`.
pub(super) fn force_read_only(init: i32, spec: &Spec) -> io::Result<()> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let wanted = mounts.iter().filter(|mount| {
        let is_cgroup = matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"));
        is_cgroup && mount.options().as_deref().unwrap_or_default().iter().any(|option| option == "ro")
    });
    let table = fs::read_to_string(format!("/proc/{init}/mountinfo"))?;
    let writable: Vec<String> = wanted.flat_map(|mount| writable_below(mount.destination(), &table)).collect();
    if writable.is_empty() {
        return Ok(());
    }
    in_mounts_of(init, move || remount(&writable))
}

/// Mount points at and below `destination` whose own flags lack `ro`. Source: proc_pid_mountinfo(5), fields 5 and 6.
fn writable_below(destination: &Path, table: &str) -> Vec<String> {
    let below = table.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(4);
        let (point, options) = (fields.next()?, fields.next()?);
        let is_writable = options.split(',').all(|option| option != "ro");
        (is_writable && Path::new(point).starts_with(destination)).then(|| point.to_owned())
    });
    below.collect()
}

fn remount(points: &[String]) -> io::Result<()> {
    let flags = MsFlags::MS_BIND
        | MsFlags::MS_REMOUNT
        | MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV
        | MsFlags::MS_NOEXEC;
    points.iter().try_for_each(|point| Ok(mount(NONE, point.as_str(), NONE, flags, NONE)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writable_mounts_at_or_below_count() {
        let table = "\
30 20 0:5 / /sys ro,nosuid - sysfs sysfs rw\n\
31 30 0:6 / /sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw\n\
32 31 0:7 /a /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
33 31 0:8 /a /sys/fs/cgroup/pids ro,relatime - cgroup cgroup rw,pids\n\
34 20 0:9 / /sys/fs/cgroups rw - tmpfs tmpfs rw\n";
        let found = writable_below(Path::new("/sys/fs/cgroup"), table);
        assert_eq!(found, ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"]);
    }
}
