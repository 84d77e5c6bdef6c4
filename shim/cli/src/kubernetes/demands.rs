//! What the API server demands of a pod beyond the types of its fields, as far as the model goes by it (Kubernetes `pkg/apis/core/validation`): what
//! it would not take is an error here, and is not guessed at.

use std::collections::BTreeMap;

use super::objects::WrongField;
use super::place::Place;
use super::pod::{Amount, ConfinementProfile, Container, PodSpec, Resources, VolumeMount};
use super::quantity::Quantity;

/// Words of fields that take only some; none is the default.
const PROPAGATION: &[&str] = &["None", "HostToContainer", "Bidirectional"];
const PROC_MOUNT: &[&str] = &["Default", "Unmasked"];
const PROFILE: &[&str] = &["RuntimeDefault", "Localhost", "Unconfined"];
const RECURSIVE: &[&str] = &["Disabled", "IfPossible", "Enabled"];
const HOST_PATH: &[&str] =
    &["", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];
const GROUPS: &[&str] = &["Merge", "Strict"];
const RESTART: &[&str] = &["Always", "OnFailure", "Never"];

/// The most bytes of a container's name (RFC 1123 label).
const LABEL: usize = 63;

type Demand = Result<(), WrongField>;

/// Fails at the first field that would not be taken. `claimed` are names of volumes that a StatefulSet adds.
pub(super) fn meets(spec: &PodSpec, place: &Place, claimed: &[String]) -> Demand {
    if spec.containers.is_empty() {
        return wrong(&place.field("containers"), "a pod has at least one container");
    }
    for (i, volume) in spec.volumes.iter().enumerate() {
        let place = place.field("volumes").item(i, &volume.name).field("hostPath");
        if let Some(host) = &volume.host_path {
            word(host.kind.as_deref(), HOST_PATH, &place.field("type"))?;
            inside(&host.path, &place.field("path"))?;
        }
    }
    let security = place.field("securityContext");
    if let Some(pod) = &spec.security_context {
        word(pod.supplemental_groups_policy.as_deref(), GROUPS, &security.field("supplementalGroupsPolicy"))?;
        profile(pod.seccomp_profile.as_ref(), &security.field("seccompProfile"))?;
        profile(pod.app_armor_profile.as_ref(), &security.field("appArmorProfile"))?;
    }
    resources(spec.resources.as_ref(), &place.field("resources"))?;
    for (_, list, index, container) in super::kubelet::parts(spec) {
        of_container(container, spec, &place.field(list).item(index, &container.name), claimed)?;
    }
    Ok(())
}

fn of_container(container: &Container, spec: &PodSpec, place: &Place, claimed: &[String]) -> Demand {
    if container.name.is_empty() {
        return wrong(&place.field("name"), "is missing");
    }
    if container.name.len() > LABEL {
        return wrong(&place.field("name"), &format!("is longer than {LABEL} bytes"));
    }
    if let Some(at) = container.env.iter().position(|variable| variable.name.is_empty()) {
        return wrong(&place.field("env").item(at, "").field("name"), "is missing");
    }
    word(container.restart_policy.as_deref(), RESTART, &place.field("restartPolicy"))?;
    if let Some(own) = &container.security_context {
        let security = place.field("securityContext");
        word(own.proc_mount.as_deref(), PROC_MOUNT, &security.field("procMount"))?;
        profile(own.seccomp_profile.as_ref(), &security.field("seccompProfile"))?;
        profile(own.app_armor_profile.as_ref(), &security.field("appArmorProfile"))?;
    }
    resources(container.resources.as_ref(), &place.field("resources"))?;
    let known = |name: &String| claimed.contains(name) || spec.volumes.iter().any(|volume| volume.name == *name);
    for (i, mount) in container.volume_mounts.iter().enumerate() {
        let place = place.field("volumeMounts").item(i, &mount.name);
        if !known(&mount.name) {
            return wrong(&place.field("name"), "the pod has no such volume");
        }
        of_mount(mount, &place)?;
    }
    match container.volume_devices.iter().position(|device| !known(&device.name)) {
        Some(at) => wrong(&place.field("volumeDevices").item(at, "").field("name"), "the pod has no such volume"),
        None => Ok(()),
    }
}

fn of_mount(mount: &VolumeMount, place: &Place) -> Demand {
    word(mount.mount_propagation.as_deref(), PROPAGATION, &place.field("mountPropagation"))?;
    word(mount.recursive_read_only.as_deref(), RECURSIVE, &place.field("recursiveReadOnly"))?;
    if mount.mount_path.is_empty() {
        return wrong(&place.field("mountPath"), "is missing");
    }
    let inner = mount.sub_path.as_deref().unwrap_or_default();
    if inner.starts_with('/') {
        return wrong(&place.field("subPath"), "is an absolute path");
    }
    inside(inner, &place.field("subPath"))
}

/// No path leads up.
fn inside(path: &str, place: &Place) -> Demand {
    if path.split('/').any(|part| part == "..") { wrong(place, "has .. in it") } else { Ok(()) }
}

fn profile(profile: Option<&ConfinementProfile>, place: &Place) -> Demand {
    word(profile.map(|profile| profile.kind.as_str()), PROFILE, &place.field("type"))
}

fn word(given: Option<&str>, known: &[&str], place: &Place) -> Demand {
    match given {
        Some(word) if !known.contains(&word) => wrong(place, &format!("{word:?} is none of {}", known.join(", "))),
        _ => Ok(()),
    }
}

fn resources(resources: Option<&Resources>, place: &Place) -> Demand {
    let Some(resources) = resources else { return Ok(()) };
    amounts(&resources.limits, &place.field("limits"))?;
    amounts(&resources.requests, &place.field("requests"))
}

fn amounts(amounts: &BTreeMap<String, Amount>, place: &Place) -> Demand {
    for (name, amount) in amounts {
        let text = amount.text();
        if Quantity::parse(&text).is_none_or(|quantity| quantity < Quantity::default()) {
            return wrong(&place.field(name), &format!("{text:?} is no quantity"));
        }
    }
    Ok(())
}

fn wrong(place: &Place, reason: &str) -> Demand {
    Err(WrongField { path: place.to_string(), pointer: place.pointer(), reason: reason.to_owned() })
}
