//! What a specification asks of the kernel beyond its process: namespaces, devices, hooks, annotations, filters, sysctls, cgroups
//! (contract §6.6 to §6.16, §6.22). NRI and CDI plugins and a base specification write here as well.

use std::fs;
use std::path::PathBuf;

use libtest_mimic::Failed;
use palisade_integration::bundle_spec;
use palisade_integration::cgroup::Limits;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::{Run, unique};
use palisade_integration::tasks::CreateOptions;
use serde_json::{Value, json};

use super::ways::Way::{Annotation, Hook, Init, Inside, Spec, Test};
use super::ways::{Container, Meeting, SLEEP};
use super::{Bypass, Met, powerless, refused, seen};
use crate::spec_edits::{drop_namespace, join_namespace, mount_options, push, set};
use crate::support::World;

const STRIPPED: &str = "annotations";
const NEVER_ALONE: &str = "each mark of privileged mode falls to its own rule";
const NEIGHBOUR: &str = "create, with a path below another container's process";
const TEXT: &str = "create, text of the specification";

pub(super) const ENTRIES: &[Bypass] = &[
    refused("host-pid", "§6.11, PSS hostPID", "no pid namespace", Spec(|spec| drop_namespace(spec, "pid")), "linux.ns"),
    refused(
        "host-network",
        "§6.11, PSS hostNetwork",
        "no network namespace",
        Spec(|spec| drop_namespace(spec, "network")),
        "linux.ns",
    ),
    refused("host-ipc", "§6.11, PSS hostIPC", "no ipc namespace", Spec(|spec| drop_namespace(spec, "ipc")), "linux.ns"),
    refused(
        "join-shim-network",
        "§6.11",
        "the shim's network namespace by its path",
        Spec(|spec| join_namespace(spec, "network", "/proc/self/ns/net")),
        "linux.ns",
    ),
    refused(
        "join-init-network",
        "§6.11",
        "the network namespace of the host's process 1",
        Spec(|spec| join_namespace(spec, "network", "/proc/1/ns/net")),
        "linux.ns",
    )
    .untried("a test machine may keep process 1 from root as well"),
    refused(
        "join-mount-namespace",
        "§6.11",
        "the mount namespace of another container",
        Test(NEIGHBOUR, |world, runtime| neighbour(world, runtime, "mount", "mnt")),
        "linux.ns",
    )
    .untried("runc would mount over the other container's files"),
    powerless(
        "host-cgroup-namespace",
        "CVE-2023-25809",
        "no cgroup namespace",
        Init { make: |_| (), shown: |pid| seen::shares(pid, "cgroup") },
        "linux.ns",
    ),
    refused(
        "user-namespace-of-root",
        "§6.11",
        "a user namespace that maps root to root, so that uid 0 looks harmless",
        Spec(|spec| {
            push(spec, "/linux/namespaces", json!({ "type": "user" }));
            set(spec, "/linux/uidMappings", json!([{ "containerID": 0, "hostID": 0, "size": 65_536 }]));
            set(spec, "/linux/gidMappings", json!([{ "containerID": 0, "hostID": 0, "size": 65_536 }]));
        }),
        "linux.userns",
    )
    .untried("runc needs a snapshot with shifted owners"),
    refused(
        "user-namespace-of-users",
        "§6.11",
        "a user namespace that maps to users of the host",
        Spec(|spec| {
            push(spec, "/linux/namespaces", json!({ "type": "user" }));
            set(spec, "/linux/uidMappings", json!([{ "containerID": 0, "hostID": 1000, "size": 1000 }]));
            set(spec, "/linux/gidMappings", json!([{ "containerID": 0, "hostID": 1000, "size": 1000 }]));
        }),
        "linux.userns",
    )
    .untried("runc needs a snapshot with shifted owners"),
    refused(
        "shifted-clock",
        "§6.11",
        "a time namespace with another clock",
        Spec(|spec| {
            push(spec, "/linux/namespaces", json!({ "type": "time" }));
            set(spec, "/linux/timeOffsets", json!({ "boottime": { "secs": 1_000_000 } }));
        }),
        "linux.time-offsets",
    )
    .untried("runc knows the namespace since 1.2, Debian's is older"),
    refused(
        "device-node",
        "§6.8",
        "a device node of the host",
        Spec(|spec| device(spec, json!({ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11 }))),
        "linux.devices",
    ),
    refused(
        "device-block",
        "§6.8",
        "a block device of the host",
        Spec(|spec| device(spec, json!({ "path": "/dev/disk", "type": "b", "major": 7, "minor": 250 }))),
        "linux.devices",
    ),
    refused(
        "device-disguised",
        "§6.8",
        "/dev/null with the numbers of the kernel's log",
        Spec(|spec| device(spec, json!({ "path": "/dev/null", "type": "c", "major": 1, "minor": 11 }))),
        "linux.devices",
    )
    .stops_too("runc makes its own /dev/null first"),
    refused(
        "device-rule-all",
        "§6.8",
        "access to every device, by a rule without numbers",
        Spec(|spec| rule(spec, json!({ "allow": true, "access": "rwm" }))),
        "res.devices",
    ),
    refused(
        "device-rule-type-a",
        "§6.8",
        "access to every device, by type a",
        Spec(|spec| rule(spec, json!({ "allow": true, "type": "a", "access": "rwm" }))),
        "res.devices",
    ),
    refused(
        "device-rule-block",
        "§6.8, CDK mount-disk",
        "access to every disk",
        Spec(|spec| rule(spec, json!({ "allow": true, "type": "b", "access": "rwm" }))),
        "res.devices",
    ),
    refused(
        "device-rule-node-of-image",
        "§6.8",
        "access to a node that the image brings",
        Spec(|spec| rule(spec, json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw" }))),
        "res.devices",
    ),
    refused(
        "network-device",
        "§6.8",
        "a network interface of the host",
        Spec(|spec| set(spec, "/linux/netDevices", json!({ "lo": {} }))),
        "linux.net-devices",
    )
    .untried("would take an interface from the machine"),
    refused("hook-prestart", "§6.6, CVE-2025-23266", "a hook, prestart", Hook("prestart"), "hooks"),
    refused("hook-create-runtime", "§6.6, CVE-2025-23266", "a hook, createRuntime", Hook("createRuntime"), "hooks"),
    refused("hook-create-container", "§6.6", "a hook, createContainer", Hook("createContainer"), "hooks"),
    refused("hook-start-container", "§6.6", "a hook, startContainer", Hook("startContainer"), "hooks"),
    refused("hook-poststart", "§6.6", "a hook, poststart", Hook("poststart"), "hooks"),
    refused("hook-poststop", "§6.6", "a hook, poststop", Hook("poststop"), "hooks"),
    powerless(
        "annotation-systemd",
        "§6.10, CVE-2024-3154",
        "a property of the container's systemd unit",
        Annotation("org.systemd.property.TasksMax", "uint64 18446744073709551615"),
        STRIPPED,
    ),
    powerless(
        "annotation-criu",
        "§6.10",
        "a configuration of CRIU's",
        Annotation("org.criu.config", "/tmp/criu.conf"),
        STRIPPED,
    ),
    powerless(
        "annotation-crun-seccomp",
        "§6.10",
        "crun: a filter instead of the policy's",
        Annotation("run.oci.seccomp_bpf_data", "AAAA"),
        STRIPPED,
    ),
    powerless(
        "annotation-crun-groups",
        "§6.10",
        "crun: the groups of the runtime's process",
        Annotation("run.oci.keep_original_groups", "1"),
        STRIPPED,
    ),
    powerless(
        "annotation-crun-output",
        "§6.10",
        "crun: a file of the host for the output of hooks",
        Annotation("run.oci.hooks.stdout", "/tmp/canary"),
        STRIPPED,
    ),
    powerless(
        "annotation-crun-handler",
        "§6.10, CVE-2025-24965",
        "crun: another handler",
        Annotation("run.oci.handler", "krun"),
        STRIPPED,
    ),
    powerless(
        "annotation-wasm",
        "§6.10",
        "a WebAssembly handler",
        Annotation("module.wasm.image/variant", "compat"),
        STRIPPED,
    ),
    refused(
        "annotation-profile",
        "controls",
        "a looser profile of palisade's own",
        Annotation("palisade.io/profile", "privileged"),
        "task.annotations",
    ),
    powerless(
        "seccomp-none",
        "§6.13",
        "no filter",
        Init { make: |_| (), shown: |pid| seen::status(pid, "Seccomp") == "0" },
        "linux.seccomp",
    ),
    powerless(
        "seccomp-allow-all",
        "§6.13",
        "a filter that allows everything",
        Inside {
            make: |spec| filter(spec, json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [] })),
            args: FILTERED,
            shown: any,
        },
        "linux.seccomp",
    ),
    powerless(
        "seccomp-log",
        "§6.13",
        "a filter that allows and logs",
        Inside { make: |spec| filter(spec, json!({ "defaultAction": "SCMP_ACT_LOG" })), args: FILTERED, shown: any },
        "linux.seccomp",
    ),
    powerless(
        "seccomp-one-rule",
        "§6.13",
        "a filter that is there and stops one call",
        Inside {
            make: |spec| {
                let one = json!([{ "names": ["acct"], "action": "SCMP_ACT_ERRNO" }]);
                filter(spec, json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": one }));
            },
            args: FILTERED,
            shown: any,
        },
        "linux.seccomp",
    ),
    powerless(
        "seccomp-32-bit",
        "§6.13, CVE-2026-31431",
        "the 32-bit system calls, by further architectures",
        Inside {
            make: |spec| {
                let all = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
                filter(spec, json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": all }));
            },
            args: &["/probe", "try", "call-32-bit"],
            shown: any,
        },
        "linux.seccomp.arch",
    ),
    refused(
        "seccomp-notify",
        "§6.13",
        "a filter that asks a program on the host",
        Spec(|spec| {
            let ask = json!([{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }]);
            let listener = "/run/containerd/containerd.sock";
            filter(spec, json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": listener, "syscalls": ask }));
        }),
        "linux.seccomp",
    )
    .untried("needs a listener"),
    refused(
        "sysctl-core-pattern",
        "§6.14",
        "the host's handler of core dumps",
        Spec(|spec| sysctl(spec, "kernel.core_pattern", "|/bin/false")),
        "linux.sysctl",
    )
    .stops_too("runc sets namespaced sysctls only"),
    refused(
        "sysctl-smuggled",
        "CVE-2022-0811",
        "a sysctl in the value of another",
        Spec(|spec| sysctl(spec, "kernel.shm_rmid_forced", "1+kernel.core_pattern=|/bin/false")),
        "linux.sysctl",
    )
    .stops_too("runc writes the value to one file"),
    refused(
        "sysctl-unsafe",
        "§6.14, PSS sysctls",
        "forwarding of packets",
        Spec(|spec| sysctl(spec, "net.ipv4.ip_forward", "1")),
        "linux.sysctl",
    ),
    refused(
        "cgroup-of-system",
        "§6.15",
        "a cgroup of the system's, by dots",
        Spec(|spec| set(spec, "/linux/cgroupsPath", json!("/../../system.slice"))),
        "linux.cgroups-path",
    ),
    refused(
        "cgroup-of-another",
        "§6.15",
        "a cgroup that is named after another container",
        Spec(|spec| {
            let own = spec["linux"]["cgroupsPath"].as_str().unwrap_or_default().to_owned();
            set(spec, "/linux/cgroupsPath", json!(format!("{own}-neighbour")));
        }),
        "linux.cgroups-path",
    ),
    refused(
        "cgroup-of-root-slice",
        "§6.15",
        "systemd's root slice",
        Spec(|spec| set(spec, "/linux/cgroupsPath", json!("-.slice:palisade:other"))),
        "linux.cgroups-path",
    )
    .untried("needs systemd"),
    powerless(
        "no-limits",
        "§6.15",
        "no limit of memory and tasks",
        Init {
            make: |spec| set(spec, "/linux/resources", json!({})),
            shown: |pid| Limits::of(pid).is_ok_and(|limits| limits.memory.is_none() || limits.pids.is_none()),
        },
        "res.memory and res.pids",
    ),
    powerless(
        "fork-bomb",
        "controls §3",
        "three thousand processes",
        Inside {
            make: |_| (),
            args: &["/probe", "forks", "3000"],
            shown: |output| output.contains("\"started\":3000"),
        },
        "res.pids",
    ),
    powerless(
        "unmasked-paths",
        "§6.16, PSS procMount",
        "no masked paths",
        Inside {
            make: |spec| set(spec, "/linux/maskedPaths", json!([])),
            args: &["/probe", "try", "read-keys", "list-firmware"],
            shown: any,
        },
        "linux.masked",
    ),
    powerless(
        "writable-paths",
        "§6.16, PSS procMount",
        "no read-only paths",
        Inside {
            make: |spec| set(spec, "/linux/readonlyPaths", json!([])),
            args: &["/probe", "try", "write-core-pattern", "write-irq-affinity", "write-modprobe"],
            shown: any,
        },
        "linux.readonly",
    ),
    refused(
        "privileged-marks",
        "PSS privileged",
        "privileged mode by its marks",
        Spec(|spec| {
            set(spec, "/linux/maskedPaths", json!([]));
            set(spec, "/linux/readonlyPaths", json!([]));
            mount_options(spec, "/sys", json!(["nosuid", "noexec", "nodev", "rw"]));
        }),
        "priv.heuristic",
    ),
    powerless(
        "writable-sysfs",
        "§6.9",
        "a writable /sys",
        Inside {
            make: |spec| mount_options(spec, "/sys", json!(["nosuid", "noexec", "nodev", "rw"])),
            args: &["/probe", "try", "write-sysfs"],
            shown: any,
        },
        NEVER_ALONE,
    ),
    refused(
        "mount-label",
        "§6.16",
        "an SELinux file type of the host's for the mounts",
        Spec(|spec| set(spec, "/linux/mountLabel", json!("system_u:object_r:etc_t:s0"))),
        "linux.mount-label",
    )
    .untried("needs a node with SELinux"),
    refused(
        "cache-class",
        "§6.16",
        "a cache allocation class of another's",
        Spec(|spec| set(spec, "/linux/intelRdt", json!({ "closID": "system" }))),
        "linux.intel-rdt",
    )
    .untried("needs a processor with cache allocation"),
    refused(
        "root-of-host",
        "§6.9",
        "a directory of the host as root filesystem, by root.path",
        Test("create, changed specification", root_of_host),
        "root.path",
    ),
    refused(
        "unknown-field",
        "§6.22",
        "a field that the policy does not know",
        Spec(|spec| set(spec, "/linux/newIsolation", json!(true))),
        "spec.strict",
    ),
    refused(
        "duplicate-key",
        "§6.22, CVE-2024-41110, CVE-2026-34040",
        "a key given twice, of which readers take different ones",
        Test(TEXT, duplicate_key),
        "spec.strict",
    ),
    refused(
        "key-in-other-case",
        "§6.22, CVE-2026-34040",
        "a key in another case, which Go takes and others do not",
        Test(TEXT, other_case),
        "spec.strict",
    ),
    powerless(
        "swapped-specification",
        "§6.20",
        "the bundle's config.json exchanged between create and start",
        Test("create, then another config.json, then start", swapped),
        "the runtime reads the hardened copy in a directory of its own",
    )
    .stops_too("runc starts what it was created with"),
];

const FILTERED: &[&str] = &["/probe", "try", "keyctl", "personality", "user-namespace"];

/// Some attempt was let through.
fn any(output: &str) -> bool {
    output.contains("\"reached\"")
}

fn device(spec: &mut Value, node: Value) {
    push(spec, "/linux/devices", node);
}

fn rule(spec: &mut Value, rule: Value) {
    push(spec, "/linux/resources/devices", rule);
}

fn filter(spec: &mut Value, filter: Value) {
    set(spec, "/linux/seccomp", filter);
}

fn sysctl(spec: &mut Value, name: &str, value: &str) {
    let mut all = json!({});
    all[name] = json!(value);
    set(spec, "/linux/sysctl", all);
}

/// Creates a container of a specification's text.
fn text(world: &World, runtime: Runtime, from: &str, to: &str) -> Meeting {
    let id = unique("bypass");
    let spec = bundle_spec::spec(world.containerd.tag(), &id, &["true"]).to_string();
    expect!(spec.contains(from), "no {from} in the specification");
    let container = Container::of(world, runtime, id, &spec.replacen(from, to, 1))?;
    Ok(container.start(CreateOptions::default()).map_or_else(Met::Refused, |_| Met::Through))
}

fn duplicate_key(world: &World, runtime: Runtime) -> Meeting {
    text(world, runtime, "\"process\":", "\"process\":{},\"process\":")
}

fn other_case(world: &World, runtime: Runtime) -> Meeting {
    text(world, runtime, "\"maskedPaths\":", "\"MaskedPaths\":")
}

fn swapped(world: &World, runtime: Runtime) -> Meeting {
    let container = Container::make(world, runtime, SLEEP, |spec| {
        set(spec, "/process/user", json!({ "uid": 1000, "gid": 1000 }));
    })?;
    let pid = container.tasks.create(&container.id, container.mounts.clone(), CreateOptions::default())?;
    let file = world.containerd.layout().bundles().join(world.containerd.tag()).join(&container.id).join("config.json");
    let root = bundle_spec::spec(world.containerd.tag(), &container.id, SLEEP);
    fs::write(&file, root.to_string())?;
    container.tasks.start(&container.id, "")?;
    crate::lifecycle::waits_for_signal(pid)?;
    let uid = seen::status(pid, "Uid");
    Ok(super::ways::seen(uid.starts_with("0\t"), format!("user {uid}")))
}

/// Joins a namespace of a container of plain runc's.
pub(super) fn neighbour(world: &World, runtime: Runtime, kind: &str, file: &str) -> Meeting {
    let neighbour = world.containerd.detach(&Run::new(Runtime::Runc, SLEEP))?;
    let path = format!("/proc/{}/ns/{file}", neighbour.pid()?);
    let container = Container::make(world, runtime, &["true"], |spec| join_namespace(spec, kind, &path))?;
    let answer = container.start(CreateOptions::default());
    drop(container);
    neighbour.remove()?;
    Ok(answer.map_or_else(Met::Refused, |_| Met::Through))
}

fn root_of_host(world: &World, runtime: Runtime) -> Meeting {
    let root = host_root(world)?;
    let place = root.display().to_string();
    let container = Container::make(world, runtime, &["/bin/true"], |spec| set(spec, "/root/path", json!(place)))?;
    Ok(container.start(CreateOptions::default()).map_or_else(Met::Refused, |_| Met::Through))
}

/// A directory outside of containerd's that would do as a root filesystem, so that nobody needs the machine's own.
pub(super) fn host_root(world: &World) -> Result<PathBuf, Failed> {
    let root = world.containerd.layout().base.join(unique("root"));
    for folder in ["bin", "dev", "proc", "run", "sys"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy(&world.containerd.assets().busybox, root.join("bin/true"))?;
    Ok(root)
}
