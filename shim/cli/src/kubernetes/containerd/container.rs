//! A container of a pod.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{DEFAULT_PATH, Made, Maker, capabilities, id, ids, labels, mappings, mounts, sandbox};
use crate::kubernetes::cri::{Container, Device, Mode, Mount, Origin, Propagation, Seccomp, Shows};

/// The profile that containerd loads where the node has AppArmor.
const APP_ARMOR: &str = "cri-containerd.apparmor.d";

/// What stands for a program that nobody told of.
const PROGRAM: &str = "/program-of-the-image";

pub(super) fn specification(maker: &Maker<'_>, container: &Container) -> Made {
    let security = &container.security;
    let container_id = ids::container(&container.name);
    let capabilities =
        if security.privileged { capabilities::all() } else { capabilities::asked(&security.add, &security.drop) };
    let placed = mounts::of_container(maker, container, &image_volumes(maker, container));
    let mut spec = json!({
        "ociVersion": "1.2.1",
        "process": {
            "user": user(container),
            "args": arguments(container),
            "env": environment(maker, container),
            "cwd": directory(container),
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": security.no_new_privileges,
            "oomScoreAdj": container.resources.oom_score.max(maker.node.least_oom_score),
        },
        "root": {"path": "rootfs"},
        "mounts": placed.mounts,
        "annotations": annotations(maker, container),
        "linux": {
            "resources": resources(maker, container),
            "cgroupsPath": ids::cgroup(&maker.sandbox.cgroup_parent, &container_id),
            "namespaces": namespaces(maker, container),
        },
    });
    for (pointer, key, value) in optional(maker, container, &capabilities, placed.root_propagation) {
        if let Some(Value::Object(fields)) = spec.pointer_mut(pointer) {
            fields.insert(key.to_owned(), value);
        }
    }
    Made { id: container_id, spec, mounts: placed.origins }
}

/// The fields that are there only where something asks for them.
fn optional(
    maker: &Maker<'_>,
    container: &Container,
    capabilities: &[String],
    root_propagation: Option<&'static str>,
) -> Vec<(&'static str, &'static str, Value)> {
    let (security, node) = (&container.security, maker.node);
    let mut all = Vec::new();
    if container.tty {
        all.push(("/process", "terminal", Value::Bool(true)));
    }
    if security.read_only_root {
        all.push(("/root", "readonly", Value::Bool(true)));
    }
    if let Some(propagation) = root_propagation {
        all.push(("/linux", "rootfsPropagation", Value::from(propagation)));
    }
    if !security.privileged {
        all.push(("/linux", "maskedPaths", json!(security.masked)));
        all.push(("/linux", "readonlyPaths", json!(security.readonly)));
    }
    if let Some(mappings) = mappings(&security.namespaces) {
        all.push(("/linux", "uidMappings", mappings.clone()));
        all.push(("/linux", "gidMappings", mappings));
    }
    let devices: Vec<Value> = container.devices.iter().map(device).collect();
    if !devices.is_empty() || security.privileged {
        all.push(("/linux", "devices", if security.privileged { host_devices(devices) } else { Value::from(devices) }));
    }
    let options = security.se_linux.as_ref();
    let (process_label, mount_label) = labels(options, node.has_se_linux(options.is_some()) && !security.privileged);
    if !process_label.is_empty() {
        all.push(("/process", "selinuxLabel", Value::from(process_label)));
        all.push(("/linux", "mountLabel", Value::from(mount_label)));
    }
    if let Some(profile) = app_armor(maker, container) {
        all.push(("/process", "apparmorProfile", Value::from(profile)));
    }
    if !security.privileged && security.seccomp == Seccomp::RuntimeDefault {
        all.push(("/linux", "seccomp", (maker.seccomp)(capabilities)));
    }
    if !container.hooks.is_empty() {
        all.push(("", "hooks", hooks(container)));
    }
    all
}

fn app_armor(maker: &Maker<'_>, container: &Container) -> Option<String> {
    let asked = container.security.app_armor.as_ref();
    if !maker.node.app_armor || container.security.privileged {
        return None;
    }
    match asked.map(|profile| (profile.kind.as_str(), profile.localhost_profile.clone())) {
        None | Some(("RuntimeDefault", _)) => Some(APP_ARMOR.to_owned()),
        Some(("Localhost", name)) => name,
        // containerd writes no profile, and the process has that of containerd: none.
        Some(_) => None,
    }
}

fn user(container: &Container) -> Value {
    let security = &container.security;
    let uid = security.user.map_or(0, id);
    // A user without an entry in the image has group 0.
    let gid = security.group.map_or(0, id);
    let mut groups = vec![gid];
    groups.extend(security.groups.iter().map(|group| id(*group)).filter(|group| *group != gid));
    json!({"uid": uid, "gid": gid, "additionalGids": groups})
}

fn directory(container: &Container) -> &str {
    let choices = [container.working_dir.as_str(), container.image_config.working_dir.as_str()];
    choices.into_iter().find(|directory| !directory.is_empty()).unwrap_or("/")
}

/// A command of the pod's takes the place of both of the image's.
fn arguments(container: &Container) -> Vec<String> {
    let image = &container.image_config;
    let of_image = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    let words = match (container.command.is_empty(), container.args.is_empty()) {
        (false, _) => [container.command.clone(), container.args.clone()].concat(),
        (true, false) => [of_image(&image.entrypoint), container.args.clone()].concat(),
        (true, true) => [of_image(&image.entrypoint), of_image(&image.cmd)].concat(),
    };
    let no_program = container.command.is_empty() && image.entrypoint.is_none() && image.cmd.is_none();
    if no_program { [vec![PROGRAM.to_owned()], container.args.clone()].concat() } else { words }
}

fn environment(maker: &Maker<'_>, container: &Container) -> Vec<String> {
    let hostname = if maker.sandbox.hostname.is_empty() { &maker.node.hostname } else { &maker.sandbox.hostname };
    let of_image = container.image_config.env.iter().filter_map(|pair| pair.split_once('='));
    let of_image = of_image.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let terminal = container.tty.then(|| "TERM=xterm".to_owned());
    let mut all: Vec<String> = [DEFAULT_PATH.to_owned()].into_iter().chain(terminal).collect();
    all.push(format!("HOSTNAME={hostname}"));
    let name = |text: &String| text.split_once('=').map(|(name, _)| name.to_owned());
    let mut places: BTreeMap<String, usize> =
        all.iter().enumerate().filter_map(|(at, text)| Some((name(text)?, at))).collect();
    for (name, value) in of_image.chain(container.env.iter().cloned()) {
        let text = format!("{name}={value}");
        // A variable that is there already keeps its place.
        match places.get(&name).and_then(|at| all.get_mut(*at)) {
            Some(one) => *one = text,
            None => {
                places.insert(name, all.len());
                all.push(text);
            }
        }
    }
    all
}

/// The volumes of an image are empty directories of containerd's, where the pod has no volume of its own.
fn image_volumes(maker: &Maker<'_>, container: &Container) -> Vec<Mount> {
    let root = format!("{}/containers/{}/volumes", ids::cri_root(maker.node), ids::container(&container.name));
    let paths = container.image_config.volumes.iter().flatten().enumerate();
    let each = paths.map(|(i, (path, _))| Mount {
        container_path: if path.starts_with('/') { path.clone() } else { format!("/{path}") },
        host_path: format!("{root}/{i}"),
        read_only: false,
        recursively: false,
        propagation: Propagation::Private,
        remapped: container.security.namespaces.users.is_some(),
        origin: Origin::ImageConfig,
        verbatim: None,
        shows: Shows::default(),
    });
    each.collect()
}

fn annotations(maker: &Maker<'_>, container: &Container) -> Map<String, Value> {
    let mut all = sandbox::common(maker, "container");
    all.insert("io.kubernetes.cri.container-name".to_owned(), Value::from(container.name.as_str()));
    all.insert("io.kubernetes.cri.image-name".to_owned(), Value::from(container.image.as_str()));
    all
}

fn resources(maker: &Maker<'_>, container: &Container) -> Value {
    let (asked, node) = (&container.resources, maker.node);
    let mut rules = vec![json!({"allow": false, "access": "rwm"})];
    if container.security.privileged {
        rules = vec![json!({"allow": true, "access": "rwm"})];
    }
    let own = container.devices.iter().map(|device| {
        json!({"allow": true, "type": kind(device), "major": device.major, "minor": device.minor, "access": device.access})
    });
    rules.extend(own);
    let mut cpu = Map::new();
    for (name, value) in [("period", asked.cpu_period), ("quota", asked.cpu_quota), ("shares", asked.cpu_shares)] {
        if value != 0 {
            cpu.insert(name.to_owned(), Value::from(value));
        }
    }
    let mut memory = Map::new();
    if asked.memory != 0 {
        memory.insert("limit".to_owned(), Value::from(asked.memory));
        if node.swap {
            memory.insert("swap".to_owned(), Value::from(asked.memory));
        }
    }
    let mut all = json!({"devices": rules, "cpu": cpu, "memory": memory});
    let pages: Vec<Value> =
        asked.huge_pages.iter().map(|(size, limit)| json!({"pageSize": size, "limit": limit})).collect();
    let unified: Map<String, Value> =
        asked.unified.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    if let Some(all) = all.as_object_mut() {
        if !pages.is_empty() {
            all.insert("hugepageLimits".to_owned(), Value::from(pages));
        }
        if !unified.is_empty() {
            all.insert("unified".to_owned(), Value::Object(unified));
        }
    }
    all
}

/// Namespaces of the pod are those of its pause process.
fn namespaces(maker: &Maker<'_>, container: &Container) -> Value {
    let security = &container.security;
    let of = |kind: &str, file: &str| json!({"type": kind, "path": format!("/proc/{}/ns/{file}", ids::PAUSE_PID)});
    let pid = match security.namespaces.pid {
        Mode::Container => json!({"type": "pid"}),
        Mode::Pod | Mode::Node | Mode::Target => of("pid", "pid"),
    };
    let mut all = vec![pid, of("ipc", "ipc"), of("uts", "uts"), json!({"type": "mount"}), of("network", "net")];
    if maker.node.unified && !security.privileged {
        all.push(json!({"type": "cgroup"}));
    }
    if security.namespaces.users.is_some() {
        all.push(of("user", "user"));
    }
    Value::from(all)
}

fn kind(device: &Device) -> &'static str {
    if device.block { "b" } else { "c" }
}

fn device(device: &Device) -> Value {
    json!({"path": device.path, "type": kind(device), "major": device.major, "minor": device.minor})
}

/// A privileged container has every device of the node; two stand for them.
fn host_devices(own: Vec<Value>) -> Value {
    let host = [
        json!({"path": "/dev/sda", "type": "b", "major": 8, "minor": 0}),
        json!({"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}),
    ];
    Value::from(host.into_iter().chain(own).collect::<Vec<_>>())
}

fn hooks(container: &Container) -> Value {
    let mut stages: Map<String, Value> = Map::new();
    for hook in &container.hooks {
        let mut shown = json!({"path": hook.path, "args": hook.args});
        if let Some(shown) = shown.as_object_mut().filter(|_| !hook.env.is_empty()) {
            shown.insert("env".to_owned(), json!(hook.env));
        }
        if let Value::Array(stage) = stages.entry(hook.stage.clone()).or_insert_with(|| json!([])) {
            stage.push(shown);
        }
    }
    Value::Object(stages)
}
