//! Volumes: kubelet's and the host's, read-only ones, their propagation.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use k8s_cri::v1 as api;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Container, Fault, Stage};
use crate::pods::kubelet_volume;

/// Where a container has its volume.
pub(super) const AT: &str = "/mnt/volume";

pub(super) const BY_TYPE: &str =
    "up to 2.1 containerd asks only runtimes of the type `io.containerd.runc.v2` what they can do";
const PROPAGATED: &str = "Container Mount Readonly: reject PROPAGATION_HOST_TO_CONTAINER and PROPAGATION_BIDIRECTIONAL";

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "a volume of the pod is read and written",
        "Container: starting with volume",
        written,
        &[("read", "value"), ("write", "done"), ("on the host", "written")],
    ),
    scenario(
        "a directory of the host",
        "",
        host_directory,
        &[("read", "value"), ("write", "done"), ("on the host", "written")],
    )
    .refused("mount.host-path"),
    scenario(
        "a volume behind a symbolic link",
        "Container: volume when host path is a symlink",
        behind_link,
        &[("read", "value"), ("write", "done")],
    )
    .refused("mount.host-path"),
    scenario("one file of the pod", "", one_file, &[("read", "value"), ("kind", "regular file")]),
    scenario(
        "a read-only volume",
        "Container Mount Readonly: non-recursive",
        read_only,
        &[("write", "Read-only file system"), ("write below", "done"), ("status", "readonly")],
    ),
    scenario(
        "a recursively read-only volume",
        "Container Mount Readonly: recursive",
        recursively,
        &[
            ("write", "Read-only file system"),
            ("write below", "Read-only file system"),
            ("status", "readonly recursive"),
        ],
    )
    .since_two("1.7 does not know it")
    .by_path(BY_TYPE),
    scenario(
        "recursive and writable at once is refused by containerd",
        "Container Mount Readonly: reject ReadOnly: false",
        recursive_and_writable,
        &[("create", "refused")],
    )
    .since_two("1.7 does not know it"),
    scenario(
        "recursive and propagated is refused by containerd",
        PROPAGATED,
        recursive_and_propagated,
        &[("host to container", "refused"), ("bidirectional", "refused")],
    )
    .since_two("1.7 does not know it")
    .by_path(BY_TYPE),
];

fn written(stage: &Stage<'_>) -> Result<Seen, Fault> {
    with_volume(stage, "empty-dir", |_| (), reads_and_writes)
}

fn reads_and_writes(container: &Container<'_>, folder: &str, seen: &mut Seen) -> Result<(), Fault> {
    container.note(seen, "read", "cat /mnt/volume/key")?;
    container.note(seen, "write", "echo written > /mnt/volume/new && echo done")?;
    seen.note("on the host", fs::read_to_string(Path::new(folder).join("new"))?);
    Ok(())
}

fn host_directory(stage: &Stage<'_>) -> Result<Seen, Fault> {
    at_host(stage, |folder| folder.to_owned())
}

fn behind_link(stage: &Stage<'_>) -> Result<Seen, Fault> {
    at_host(stage, |folder| format!("{folder}-link"))
}

/// A directory that belongs to no pod, mounted by the path that `source` makes of its own.
fn at_host(stage: &Stage<'_>, source: fn(&str) -> String) -> Result<Seen, Fault> {
    let folder = stage.folder()?;
    fs::write(folder.join("key"), "value")?;
    let folder = folder.display().to_string();
    let link = format!("{folder}-link");
    symlink(&folder, &link)?;
    let seen = stage.one(
        |config| config.mounts.push(bind(&source(&folder), |_| ())),
        |container, seen| reads_and_writes(container, &folder, seen),
    );
    fs::remove_file(link)?;
    fs::remove_dir_all(folder)?;
    seen
}

fn one_file(stage: &Stage<'_>) -> Result<Seen, Fault> {
    with_volume(
        stage,
        "empty-dir",
        |mount| mount.host_path.push_str("/key"),
        |container, _, seen| {
            container.note(seen, "read", "cat /mnt/volume")?;
            container.note(seen, "kind", "stat -c %F /mnt/volume")
        },
    )
}

fn read_only(stage: &Stage<'_>) -> Result<Seen, Fault> {
    read_only_tree(stage, false)
}

fn recursively(stage: &Stage<'_>) -> Result<Seen, Fault> {
    read_only_tree(stage, true)
}

/// A read-only volume with another file system mounted below.
fn read_only_tree(stage: &Stage<'_>, recursive: bool) -> Result<Seen, Fault> {
    with_volume_over(
        stage,
        "empty-dir",
        |folder| {
            fs::create_dir_all(folder.join("below"))?;
            tmpfs(&folder.join("below"))
        },
        |mount| {
            mount.readonly = true;
            mount.recursive_read_only = recursive;
        },
        |container, _, seen| {
            writes(container, seen, "write", "/mnt/volume/new")?;
            writes(container, seen, "write below", "/mnt/volume/below/new")?;
            let status = container.status()?;
            for mount in status.mounts.iter().filter(|mount| mount.container_path == AT) {
                let words = [(mount.readonly, "readonly"), (mount.recursive_read_only, "recursive")];
                let words: Vec<_> = words.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word).collect();
                seen.note("status", words.join(" "));
            }
            Ok(())
        },
    )
}

/// The kernel's word for why a file cannot be made.
fn writes(container: &Container<'_>, seen: &mut Seen, name: &str, file: &str) -> Result<(), Fault> {
    let executed = container.exec(&["touch", file])?;
    let reason = executed.stderr.trim().rsplit(": ").next().unwrap_or_default().to_owned();
    seen.note(name, if executed.code == 0 { "done".to_owned() } else { reason });
    Ok(())
}

fn recursive_and_writable(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let mut seen = Seen::new();
    refused_mount(stage, &mut seen, "create", |mount| mount.recursive_read_only = true)?;
    Ok(seen)
}

fn recursive_and_propagated(stage: &Stage<'_>) -> Result<Seen, Fault> {
    use api::MountPropagation::{PropagationBidirectional, PropagationHostToContainer};
    let mut seen = Seen::new();
    for (name, propagation) in
        [("host to container", PropagationHostToContainer), ("bidirectional", PropagationBidirectional)]
    {
        refused_mount(stage, &mut seen, name, |mount| {
            mount.readonly = true;
            mount.recursive_read_only = true;
            mount.set_propagation(propagation);
        })?;
    }
    Ok(seen)
}

fn refused_mount(
    stage: &Stage<'_>,
    seen: &mut Seen,
    name: &str,
    change: impl FnOnce(&mut api::Mount),
) -> Result<(), Fault> {
    let pod = stage.pod(|_| ())?;
    let folder = kubelet_volume(&pod.config, "empty-dir")?;
    shared(Path::new(&folder))?;
    let created = stage.created(&pod, |config| config.mounts.push(bind(&folder, change)));
    unmount(Path::new(&folder))?;
    match created {
        Ok(_) => seen.note(name, "done"),
        Err(Fault::Refused(failure)) => {
            seen.note(name, "refused");
            seen.note(format!("{name}, words"), failure);
        }
        Err(broken) => return Err(broken),
    }
    Ok(pod.remove()?)
}

/// A container with one volume of its pod's.
fn with_volume(
    stage: &Stage<'_>,
    kind: &str,
    change: impl FnOnce(&mut api::Mount),
    look: impl FnOnce(&Container<'_>, &str, &mut Seen) -> Result<(), Fault>,
) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let folder = kubelet_volume(&pod.config, kind)?;
    let container = stage.container(&pod, |config| config.mounts.push(bind(&folder, change)))?;
    let mut seen = Seen::new();
    look(&container, &folder, &mut seen)?;
    pod.remove()?;
    Ok(seen)
}

/// The same, with something mounted below the volume, which is taken down again.
fn with_volume_over(
    stage: &Stage<'_>,
    kind: &str,
    prepare: impl FnOnce(&Path) -> Result<(), Fault>,
    change: impl FnOnce(&mut api::Mount),
    look: impl FnOnce(&Container<'_>, &str, &mut Seen) -> Result<(), Fault>,
) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let folder = kubelet_volume(&pod.config, kind)?;
    let path = Path::new(&folder);
    shared(path)?;
    let seen = prepare(path).and_then(|()| {
        let container = stage.container(&pod, |config| config.mounts.push(bind(&folder, change)))?;
        let mut seen = Seen::new();
        look(&container, &folder, &mut seen)?;
        Ok(seen)
    });
    unmount(path)?;
    let seen = seen?;
    pod.remove()?;
    Ok(seen)
}

/// A volume as the kubelet asks for it.
pub(super) fn bind(source: &str, change: impl FnOnce(&mut api::Mount)) -> api::Mount {
    let mut mount = api::Mount { container_path: AT.to_owned(), host_path: source.to_owned(), ..Default::default() };
    change(&mut mount);
    mount
}

/// Makes a directory a mount that propagates.
pub(super) fn shared(folder: &Path) -> Result<(), Fault> {
    let nothing = None::<&str>;
    mount(Some(folder), folder, nothing, MsFlags::MS_BIND, nothing).map_err(std::io::Error::from)?;
    mount(nothing, folder, nothing, MsFlags::MS_SHARED, nothing).map_err(std::io::Error::from)?;
    Ok(())
}

pub(super) fn tmpfs(folder: &Path) -> Result<(), Fault> {
    Ok(mount(Some("none"), folder, Some("tmpfs"), MsFlags::empty(), Some("mode=777")).map_err(std::io::Error::from)?)
}

/// Takes down what is mounted there, with what is mounted below.
pub(super) fn unmount(folder: &Path) -> Result<(), Fault> {
    Ok(umount2(folder, MntFlags::MNT_DETACH).map_err(std::io::Error::from)?)
}
