//! User namespaces of pods.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use k8s_cri::v1 as api;
use palisade_integration::cri::Pod;

use super::containers::LOOKED_AT;
use super::look;
use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Container, Fault, Stage, pod_secured, secured};
use super::volumes::{AT, BY_TYPE, bind};
use crate::pods::kubelet_volume;

const WHY: &str = "1.7 remaps no volumes, and the kubelet asks no such runtime";

/// First host ids of the pods here, each its own: pods on the machine at the same time have no id in common.
const OWN: u32 = 16 << 16;
const OF_HOST: u32 = 17 << 16;
const TWICE: u32 = 18 << 16;
const WRONG: u32 = 19 << 16;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "a user namespace of the pod's own, with volumes, two containers, a restart and exec; palisade idmaps layers and volumes, and control is runc 1.3",
        "UserNamespaces: NamespaceMode_POD",
        own,
        &[
            ("uid_map", "0 1048576 65536"),
            ("gid_map", "0 1048576 65536"),
            ("id", "0"),
            ("map of an exec", "0 1048576 65536"),
            ("image, inside", "0 0"),
            ("image, outside", "1048576 1048576"),
            ("volume, inside", "0 0"),
            ("volume, outside", "1048576 1048576"),
            ("volume, of another user", "1000 1000"),
            ("new file, inside", "0 0"),
            ("new file, on the disk", "0 0"),
            ("configuration, inside", "0 0"),
            ("write configuration", "Read-only file system"),
            ("/etc/hosts", "0 0"),
            ("/dev/shm", "done"),
            ("another container's", "the same namespace"),
            ("restarted", "0 0"),
        ],
    )
    .since_two(WHY)
    .beside_new_runc(),
    scenario(
        "a directory of the host in a pod with a user namespace",
        "",
        host_directory,
        &[("inside", "0 0"), ("outside", "1114112 1114112"), ("on the disk", "0 0"), ("write", "Read-only file system")],
    )
    .refused("mount.host-path")
    .since_two(WHY)
    .beside_new_runc(),
    scenario(
        "a user namespace with host ids that another pod has",
        "",
        twice,
        &[("first", "done"), ("the same", "done"), ("overlapping", "done"), ("others", "done"), ("after the first", "done")],
    )
    .restricted(&[
        ("first", "done"),
        ("the same", "linux.userns"),
        ("overlapping", "linux.userns"),
        ("others", "done"),
        ("after the first", "done"),
    ])
    .since_two(WHY)
    .beside_new_runc(),
    scenario("the handler says that it has user namespaces", "", offered, &[("offered", "true")])
        .since_two(WHY)
        .by_path(BY_TYPE)
        .beside_new_runc(),
    scenario(
        "the node's user namespace",
        "UserNamespaces: NamespaceMode_NODE",
        node,
        &[("uid_map", "0 0 4294967295"), ("id", "0")],
    )
    .differs(LOOKED_AT)
    .restricted(&[("uid_map", "0 0 4294967295"), ("id", "65532")])
    .since_two(WHY),
    scenario(
        "user namespaces that containerd refuses",
        "UserNamespaces: fail with two mappings, without 0, with NamespaceMode_CONTAINER and NamespaceMode_TARGET",
        refused,
        &[
            ("two mappings", "refused"),
            ("without 0", "refused"),
            ("the container's", "refused"),
            ("a target's", "refused"),
        ],
    )
    .since_two(WHY),
];

fn mapping(host_id: u32, container_id: u32, length: u32) -> api::IdMapping {
    api::IdMapping { host_id, container_id, length }
}

fn options(mode: api::NamespaceMode, mappings: &[api::IdMapping]) -> api::NamespaceOption {
    let users = api::UserNamespace { mode: mode.into(), uids: mappings.to_vec(), gids: mappings.to_vec() };
    api::NamespaceOption {
        pid: api::NamespaceMode::Container.into(),
        userns_options: Some(users),
        ..Default::default()
    }
}

/// As the kubelet asks for a pod with `hostUsers: false`.
fn pods_own(first: u32) -> api::NamespaceOption {
    options(api::NamespaceMode::Pod, &[mapping(first, 0, 1 << 16)])
}

fn pod_of<'s>(stage: &'s Stage<'_>, first: u32) -> Result<Pod<'s>, Fault> {
    stage.pod(|config| pod_secured(config, |security| security.namespace_options = Some(pods_own(first))))
}

/// A volume as the kubelet asks for it in such a pod.
fn volume(first: u32, folder: &str, at: &str, read_only: bool) -> api::Mount {
    bind(folder, |mount| {
        mount.container_path = at.to_owned();
        mount.readonly = read_only;
        mount.uid_mappings = vec![mapping(first, 0, 1 << 16)];
        mount.gid_mappings = vec![mapping(first, 0, 1 << 16)];
    })
}

/// A container of such a pod.
fn member<'s>(
    stage: &'s Stage<'_>,
    pod: &Pod<'_>,
    first: u32,
    change: impl FnOnce(&mut api::ContainerConfig),
) -> Result<Container<'s>, Fault> {
    stage.container(pod, |config| {
        secured(config, |security| security.namespace_options = Some(pods_own(first)));
        change(config);
    })
}

fn owner(path: impl AsRef<Path>) -> Result<String, Fault> {
    let seen = fs::symlink_metadata(path)?;
    Ok(format!("{} {}", seen.uid(), seen.gid()))
}

/// The kernel's word for why a file cannot be made.
fn why_not_written(container: &Container<'_>, file: &str) -> Result<String, Fault> {
    let executed = container.exec(&["touch", file])?;
    let reason = executed.stderr.trim().rsplit(": ").next().unwrap_or_default().to_owned();
    Ok(if executed.code == 0 { "done".to_owned() } else { reason })
}

const CONFIGURATION: &str = "/mnt/configuration";

fn own(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = pod_of(stage, OWN)?;
    let (data, configuration) = (kubelet_volume(&pod.config, "empty-dir")?, kubelet_volume(&pod.config, "configmap")?);
    fs::write(format!("{data}/of-1000"), "")?;
    std::os::unix::fs::chown(format!("{data}/of-1000"), Some(1000), Some(1000))?;
    let volumes = [volume(OWN, &data, AT, false), volume(OWN, &configuration, CONFIGURATION, true)];
    let with_volumes = |config: &mut api::ContainerConfig| config.mounts.extend(volumes.clone());
    let container = member(stage, &pod, OWN, with_volumes)?;
    let mut seen = Seen::new();
    let process = format!("/proc/{}", container.pid()?);
    for map in ["uid_map", "gid_map"] {
        let text = fs::read_to_string(format!("{process}/{map}"))?;
        seen.note(map, text.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    container.note(&mut seen, "id", "id -u")?;
    container.note(&mut seen, "map of an exec", "set -- $(cat /proc/self/uid_map); echo $1 $2 $3")?;
    container.note(&mut seen, "image, inside", "stat -c '%u %g' /root-only")?;
    seen.note("image, outside", owner(format!("{process}/root/root-only"))?);
    container.note(&mut seen, "volume, inside", "stat -c '%u %g' /mnt/volume/key")?;
    container.note(&mut seen, "volume, of another user", "stat -c '%u %g' /mnt/volume/of-1000")?;
    seen.note("volume, outside", owner(format!("{process}/root{AT}/key"))?);
    container.note(&mut seen, "new file, inside", "touch /mnt/volume/new && stat -c '%u %g' /mnt/volume/new")?;
    seen.note("new file, on the disk", owner(format!("{data}/new"))?);
    container.note(&mut seen, "configuration, inside", "stat -c '%u %g' /mnt/configuration/key")?;
    seen.note("write configuration", why_not_written(&container, "/mnt/configuration/new")?);
    container.note(&mut seen, "/etc/hosts", "stat -c '%u %g' /etc/hosts")?;
    seen.note("/dev/shm", why_not_written(&container, "/dev/shm/new")?);
    let second = member(stage, &pod, OWN, |config| {
        config.metadata.get_or_insert_default().name = "second".to_owned();
    })?;
    let namespace = |container: &Container<'_>| -> Result<_, Fault> {
        Ok(fs::read_link(format!("/proc/{}/ns/user", container.pid()?))?)
    };
    let same = namespace(&second)? == namespace(&container)?;
    seen.note("another container's", if same { "the same namespace" } else { "another namespace" });
    stage.cri.stop(&container.id, 0)?;
    stage.cri.remove(&container.id)?;
    let again = member(stage, &pod, OWN, with_volumes)?;
    again.note(&mut seen, "restarted", "stat -c '%u %g' /mnt/volume/new")?;
    pod.remove()?;
    Ok(seen)
}

fn host_directory(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let folder = stage.folder()?;
    fs::write(folder.join("key"), "value")?;
    let text = folder.display().to_string();
    let pod = pod_of(stage, OF_HOST)?;
    let made = member(stage, &pod, OF_HOST, |config| config.mounts.push(volume(OF_HOST, &text, AT, true)));
    let looked = made.and_then(|container| {
        let mut seen = Seen::new();
        container.note(&mut seen, "inside", "stat -c '%u %g' /mnt/volume/key")?;
        seen.note("outside", owner(format!("/proc/{}/root{AT}/key", container.pid()?))?);
        seen.note("on the disk", owner(folder.join("key"))?);
        seen.note("write", why_not_written(&container, "/mnt/volume/new")?);
        Ok(seen)
    });
    pod.remove()?;
    fs::remove_dir_all(&folder)?;
    looked
}

/// What becomes of pods one beside the other.
fn twice(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let mut seen = Seen::new();
    let mut beside = |name: &str, first: u32| -> Result<(), Fault> {
        match pod_of(stage, first) {
            Ok(pod) => {
                seen.note(name, "done");
                Ok(pod.remove()?)
            }
            Err(Fault::Refused(failure)) => {
                let is_ours = stage.world.expect_refusal(&failure, "linux.userns").is_ok();
                seen.note(name, if is_ours { "linux.userns".to_owned() } else { failure.to_string() });
                Ok(())
            }
            Err(broken) => Err(broken),
        }
    };
    let first = pod_of(stage, TWICE)?;
    beside("the same", TWICE)?;
    beside("overlapping", TWICE + 100)?;
    beside("others", TWICE + (1 << 20))?;
    first.remove()?;
    beside("after the first", TWICE)?;
    seen.note("first", "done");
    Ok(seen)
}

fn offered(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let request = api::StatusRequest { verbose: false };
    let status = stage.cri.ask("Status", |mut client| async move { client.status(request).await })?;
    let handler = status.runtime_handlers.iter().find(|handler| handler.name == stage.runtime.handler());
    let features = handler.and_then(|handler| handler.features.as_ref());
    let mut seen = Seen::new();
    seen.note("offered", features.is_some_and(|features| features.user_namespaces));
    Ok(seen)
}

fn node(stage: &Stage<'_>) -> Result<Seen, Fault> {
    with_users(stage, &options(api::NamespaceMode::Node, &[]))
}

fn with_users(stage: &Stage<'_>, options: &api::NamespaceOption) -> Result<Seen, Fault> {
    stage.one_in(
        |config| pod_secured(config, |security| security.namespace_options = Some(options.clone())),
        |config| secured(config, |security| security.namespace_options = Some(options.clone())),
        |container, seen| {
            look::all(container.pid()?, seen)?;
            container.note(seen, "id", "id -u")?;
            container.note(seen, "file of the image", "stat -c '%u %g' /root-only")?;
            container.note(seen, "new file", "touch /tmp/new && stat -c '%u %g' /tmp/new")
        },
    )
}

fn refused(stage: &Stage<'_>) -> Result<Seen, Fault> {
    use api::NamespaceMode::{Container, Pod, Target};
    let one = [mapping(WRONG, 0, 65_536)];
    let two = [mapping(WRONG, 0, 1000), mapping(WRONG + 100_000, 1000, 1000)];
    let wrong = [
        ("two mappings", options(Pod, &two)),
        ("without 0", options(Pod, &[mapping(WRONG, 1, 65_535)])),
        ("the container's", options(Container, &one)),
        ("a target's", options(Target, &one)),
    ];
    let mut seen = Seen::new();
    for (name, options) in wrong {
        match stage.pod(|config| pod_secured(config, |security| security.namespace_options = Some(options))) {
            Ok(pod) => {
                seen.note(name, "done");
                pod.remove()?;
            }
            Err(Fault::Refused(failure)) => {
                seen.note(name, "refused");
                // Without a mapping of 0 it is not containerd itself that refuses.
                if name != "without 0" {
                    seen.note(format!("{name}, words"), failure);
                }
            }
            Err(broken) => return Err(broken),
        }
    }
    Ok(seen)
}
