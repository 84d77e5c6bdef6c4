//! The pod's sandbox: the pause container that holds its namespaces.

use serde_json::{Map, Value, json};

use super::{DEFAULT_PATH, Made, Maker, capabilities, id, ids, labels, mappings, mounts};
use crate::kubernetes::cri::{Mode, Origin, Sandbox};

/// The user of the pause image.
const PAUSE_USER: u32 = 65535;
/// `defaultSandboxOOMAdj`.
const OOM_SCORE: i64 = -998;

pub(super) fn specification(maker: &Maker<'_>) -> Made {
    let sandbox = maker.sandbox;
    let node = maker.node;
    let capabilities = capabilities::of_sandbox();
    let (process_label, mount_label) = labels(sandbox.se_linux.as_ref(), node.has_se_linux(sandbox.se_linux.is_some()));
    let list = mounts(maker);
    let mut spec = json!({
        "ociVersion": "1.2.1",
        "process": {
            "user": user(maker),
            "args": ["/pause"],
            "env": environment(maker),
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": true,
            "oomScoreAdj": OOM_SCORE.max(node.least_oom_score),
        },
        "root": {"path": "rootfs", "readonly": true},
        "mounts": list,
        "annotations": annotations(maker),
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}], "cpu": {"shares": 2}},
            "cgroupsPath": ids::cgroup(&sandbox.cgroup_parent, ids::SANDBOX),
            "namespaces": namespaces(sandbox),
            "maskedPaths": MASKED,
            "readonlyPaths": READONLY,
        },
    });
    let mut set = |pointer: &str, key: &str, value: Value| {
        if let Some(Value::Object(fields)) = spec.pointer_mut(pointer) {
            fields.insert(key.to_owned(), value);
        }
    };
    if !sandbox.hostname.is_empty() {
        set("", "hostname", Value::from(sandbox.hostname.as_str()));
    }
    let sysctls = sysctls(maker);
    if !sysctls.is_empty() {
        set("/linux", "sysctl", Value::Object(sysctls));
    }
    if let Some(mappings) = mappings(&sandbox.namespaces) {
        set("/linux", "uidMappings", mappings.clone());
        set("/linux", "gidMappings", mappings);
    }
    if !process_label.is_empty() {
        set("/process", "selinuxLabel", Value::from(process_label));
        set("/linux", "mountLabel", Value::from(mount_label));
    }
    if !sandbox.privileged {
        set("/linux", "seccomp", (maker.seccomp)(&capabilities));
    }
    let origins = list.iter().map(|_| (Origin::Containerd, None)).collect();
    Made { id: ids::SANDBOX.to_owned(), spec, mounts: origins }
}

/// `oci.populateDefaultUnixSpec`, which containerd leaves to the sandbox.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/proc/scsi",
];
const READONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn user(maker: &Maker<'_>) -> Value {
    let sandbox = maker.sandbox;
    let of_image = maker.pause.user.split(':').next().and_then(|user| user.parse().ok()).unwrap_or(PAUSE_USER);
    let uid = sandbox.user.map_or(of_image, id);
    // A user without an entry in the image has group 0.
    let gid = sandbox.group.map_or_else(|| if sandbox.user.is_none() { of_image } else { 0 }, id);
    // Setting the user takes the further groups away that were set before.
    json!({"uid": uid, "gid": gid, "additionalGids": [gid]})
}

/// The image's variables over the usual path.
fn environment(maker: &Maker<'_>) -> Vec<String> {
    let own = &maker.pause.env;
    let has_path = own.iter().any(|one| one.starts_with("PATH="));
    let usual = (!has_path).then(|| DEFAULT_PATH.to_owned());
    usual.into_iter().chain(own.iter().cloned()).collect()
}

fn namespaces(sandbox: &Sandbox) -> Value {
    let asked = &sandbox.namespaces;
    let own = |kind: &str, mode: Mode| (mode != Mode::Node).then(|| json!({"type": kind}));
    let network =
        (asked.network != Mode::Node).then(|| json!({"type": "network", "path": "/var/run/netns/cni-6b1f2a3c"}));
    let users = asked.users.map(|_| json!({"type": "user", "path": format!("/run/containerd/io.containerd.grpc.v1.cri/sandboxes/{}/user", ids::SANDBOX)}));
    let uts = (asked.network != Mode::Node).then(|| json!({"type": "uts"}));
    let all = [own("pid", asked.pid), own("ipc", asked.ipc), uts, Some(json!({"type": "mount"})), network, users];
    Value::from(all.into_iter().flatten().collect::<Vec<_>>())
}

fn mounts(maker: &Maker<'_>) -> Vec<Value> {
    let sandbox = maker.sandbox;
    let of_host = sandbox.namespaces.ipc == Mode::Node;
    let memory = if of_host { "/dev/shm".to_owned() } else { ids::shared_memory(maker.node) };
    let bind = |to: &str, from: String| json!({"destination": to, "type": "bind", "source": from, "options": ["rbind", "ro", "nosuid", "nodev", "noexec"]});
    let kernel = mounts::of_kernel().into_iter().filter(|mount| mounts::destination(mount) != "/dev/shm");
    let all = kernel.map(|mut mount| {
        // A privileged pod's sandbox may write /sys.
        if sandbox.privileged && mounts::destination(&mount) == "/sys" {
            mounts::set_option(&mut mount, "ro", "rw");
        }
        mount
    });
    all.chain([bind("/dev/shm", memory), bind("/etc/resolv.conf", ids::sandbox_file(maker.node, "resolv.conf"))])
        .collect()
}

/// `enable_unprivileged_ports` and `enable_unprivileged_icmp` are on in 2.x.
fn sysctls(maker: &Maker<'_>) -> Map<String, Value> {
    let sandbox = maker.sandbox;
    let mut all: Map<String, Value> =
        sandbox.sysctls.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    if sandbox.namespaces.network != Mode::Node && !maker.node.one_seven {
        all.entry("net.ipv4.ip_unprivileged_port_start").or_insert_with(|| Value::from("0"));
        if sandbox.namespaces.users.is_none() {
            all.entry("net.ipv4.ping_group_range").or_insert_with(|| Value::from("0 2147483647"));
        }
    }
    all
}

fn annotations(maker: &Maker<'_>) -> Map<String, Value> {
    let sandbox = maker.sandbox;
    let mut all = common(maker, "sandbox");
    let resources = &sandbox.resources;
    for (name, value) in [
        ("sandbox-cpu-period", resources.cpu_period),
        ("sandbox-cpu-quota", resources.cpu_quota),
        ("sandbox-cpu-shares", resources.cpu_shares),
        ("sandbox-memory", resources.memory),
    ] {
        all.insert(format!("io.kubernetes.cri.{name}"), Value::from(value.to_string()));
    }
    all.insert("io.kubernetes.cri.sandbox-log-directory".to_owned(), Value::from(sandbox.log_directory.as_str()));
    if !maker.node.one_seven {
        all.insert("io.kubernetes.cri.podsandbox.image-name".to_owned(), Value::from(maker.node.pause.as_str()));
    }
    all
}

/// Annotations of every container of a pod: those of the pod that the handler lets through, then CRI's.
pub(super) fn common(maker: &Maker<'_>, kind: &str) -> Map<String, Value> {
    let sandbox = maker.sandbox;
    let passed = sandbox.annotations.iter().filter(|(name, _)| maker.node.passes(name));
    let mut all: Map<String, Value> = passed.map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    for (name, value) in [
        ("container-type", kind),
        ("sandbox-id", ids::SANDBOX),
        ("sandbox-namespace", &sandbox.namespace),
        ("sandbox-name", &sandbox.name),
        ("sandbox-uid", &sandbox.uid),
    ] {
        all.insert(format!("io.kubernetes.cri.{name}"), Value::from(value));
    }
    all
}
