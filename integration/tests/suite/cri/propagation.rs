//! What reaches a volume of what is mounted later, and what reaches the host.

use std::fs;
use std::path::Path;

use k8s_cri::v1 as api;
use palisade_integration::cri;

use super::look;
use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Fault, Stage, pod_secured};
use super::volumes::{AT, bind, shared, tmpfs, unmount};
use crate::pods::kubelet_volume;

const ABOVE: &[(&str, &str)] = &[("mount /sys/fs/cgroup", "read-only, as containerd asks")];
const ABOVE_AND_ROOT: &[(&str, &str)] = &[
    ("mount /sys/fs/cgroup", "read-only, as containerd asks"),
    ("mount /", "shared, as containerd asks; runc before 1.2 leaves it private"),
    ("mount /sys", "writable, as containerd asks; with runc the pause container's makes it read-only (containerd 1.7)"),
];

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "private propagation",
        "Container Mount Propagation: rprivate",
        private,
        &[("the host's later mount", "not there"), ("peers", "private")],
    )
    .differs(ABOVE),
    scenario(
        "propagation from host to container",
        "Container Mount Propagation: rslave",
        to_container,
        &[("the host's later mount", "there"), ("peers", "master")],
    )
    .differs(ABOVE)
    .restricted(&[("the host's later mount", "not there"), ("peers", "private")]),
    scenario(
        "propagation both ways",
        "Container Mount Propagation: rshared",
        both_ways,
        &[("the host's later mount", "there"), ("the container's mount", "there"), ("peers", "shared")],
    )
    .differs(ABOVE_AND_ROOT)
    .refused("priv.heuristic"),
];

fn private(stage: &Stage<'_>) -> Result<Seen, Fault> {
    propagated(stage, api::MountPropagation::PropagationPrivate)
}

fn to_container(stage: &Stage<'_>) -> Result<Seen, Fault> {
    propagated(stage, api::MountPropagation::PropagationHostToContainer)
}

fn both_ways(stage: &Stage<'_>) -> Result<Seen, Fault> {
    propagated(stage, api::MountPropagation::PropagationBidirectional)
}

/// Mounts below the volume after the container runs, on the host and, where it should reach the host, in the container.
fn propagated(stage: &Stage<'_>, propagation: api::MountPropagation) -> Result<Seen, Fault> {
    let both = propagation == api::MountPropagation::PropagationBidirectional;
    let pod = stage.pod(|config| pod_secured(config, |security| security.privileged = both))?;
    let folder = kubelet_volume(&pod.config, "empty-dir")?;
    let path = Path::new(&folder);
    shared(path)?;
    let seen = propagated_in(stage, &pod, path, propagation);
    // What a container mounts here goes with the volume's own mount.
    unmount(path)?;
    let seen = seen?;
    pod.remove()?;
    Ok(seen)
}

fn propagated_in(
    stage: &Stage<'_>,
    pod: &cri::Pod<'_>,
    folder: &Path,
    propagation: api::MountPropagation,
) -> Result<Seen, Fault> {
    for name in ["host", "container"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let container = stage.container(pod, |config| {
        if propagation == api::MountPropagation::PropagationBidirectional {
            *config = cri::privileged(config.clone());
        }
        config.mounts.push(bind(&folder.display().to_string(), |mount| mount.set_propagation(propagation)));
    })?;
    let mut seen = Seen::new();
    tmpfs(&folder.join("host"))?;
    fs::write(folder.join("host/word"), "word")?;
    let there = container.exec(&["stat", "/mnt/volume/host/word"])?.code == 0;
    seen.note("the host's later mount", if there { "there" } else { "not there" });
    if propagation == api::MountPropagation::PropagationBidirectional {
        container.note(
            &mut seen,
            "mount",
            "mount -t tmpfs none /mnt/volume/container && echo > /mnt/volume/container/word",
        )?;
        let there = folder.join("container/word").exists();
        seen.note("the container's mount", if there { "there" } else { "not there" });
        unmount(&folder.join("container"))?;
    }
    look::mounts(&format!("/proc/{}", container.pid()?), &mut seen)?;
    let table = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid()?))?;
    let line = table.lines().find(|line| line.split(' ').nth(4) == Some(AT)).unwrap_or_default();
    let peers: Vec<_> = line
        .split(" - ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .skip(6)
        .filter_map(|field| field.split(':').next())
        .collect();
    seen.note("peers", if peers.is_empty() { "private".to_owned() } else { peers.join(" ") });
    unmount(&folder.join("host"))?;
    Ok(seen)
}
