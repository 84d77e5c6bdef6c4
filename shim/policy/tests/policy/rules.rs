//! One table a rule. Each has rows that pass, which are the negative control of the others.

use palisade_policy::{Action, Policy, RULES};
use serde_json::{Value, json};

use crate::support::{self, Task, Verdict, Verdict::*, verdict_of};

/// A pod's container that the policy finds nothing in.
pub(crate) fn pod() -> Value {
    let policy = Policy::builtin();
    let (hardened, _) = support::admitted(support::create(&support::golden("cri-app"), &policy));
    support::json(hardened.as_bytes())
}

pub(crate) type Edit = fn(&mut Value);

pub(crate) fn judged(rule: &str, policy: &Policy, edit: Edit) -> Verdict {
    let mut spec = pod();
    let task = Task::of(&support::id_of(&spec));
    // The bundle's root is absolute in what was hardened; containerd writes it relative.
    spec["root"]["path"] = json!("rootfs");
    edit(&mut spec);
    verdict_of(rule, &support::create_task(&spec, &task, policy).record)
}

pub(crate) fn table(rule: &str, rows: &[(&str, Verdict, Edit)]) {
    let policy = Policy::builtin();
    assert_eq!(judged(rule, &policy, |_| {}), Clean, "{rule}: unchanged");
    for (name, verdict, edit) in rows {
        assert_eq!(judged(rule, &policy, *edit), *verdict, "{rule}: {name}");
    }
}

pub(crate) fn push(list: &mut Value, item: Value) {
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut().unwrap().push(item);
}

pub(crate) fn bind(spec: &mut Value, source: &str, options: Value) {
    let mount = json!({"destination": "/extra", "type": "bind", "source": source, "options": options});
    push(&mut spec["mounts"], mount);
}

pub(crate) fn mount(spec: &mut Value, destination: &str, kind: &str, options: Value) {
    let mount = json!({"destination": destination, "type": kind, "source": kind, "options": options});
    push(&mut spec["mounts"], mount);
}

pub(crate) fn options_at<'a>(spec: &'a mut Value, destination: &str) -> &'a mut Value {
    let mounts = spec["mounts"].as_array_mut().unwrap();
    let mount = mounts.iter_mut().find(|mount| mount["destination"] == destination).unwrap();
    &mut mount["options"]
}

fn every_set(spec: &mut Value, names: &[&str]) {
    for set in ["bounding", "effective", "permitted"] {
        spec["process"]["capabilities"][set] = json!(names);
    }
}

#[test]
fn user_non_root() {
    table(
        "user.non-root",
        &[
            ("root", Mutated, |s| s["process"]["user"]["uid"] = json!(0)),
            ("absent is root", Mutated, |s| drop(s["process"]["user"].as_object_mut().unwrap().remove("uid"))),
            ("another user", Clean, |s| s["process"]["user"]["uid"] = json!(1)),
            ("root of a remapped namespace", Clean, |s| {
                s["process"]["user"]["uid"] = json!(0);
                remap(s, 65_536);
            }),
            ("root of a namespace that maps to the host", Mutated, |s| {
                s["process"]["user"]["uid"] = json!(0);
                remap(s, 0);
            }),
            ("mappings without the namespace", Mutated, |s| {
                s["process"]["user"]["uid"] = json!(0);
                let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
                s["linux"]["uidMappings"] = mapping.clone();
                s["linux"]["gidMappings"] = mapping;
            }),
        ],
    );
}

fn remap(spec: &mut Value, host: u32) {
    let mapping = json!([{"containerID": 0, "hostID": host, "size": 65_536}]);
    spec["linux"]["uidMappings"] = mapping.clone();
    spec["linux"]["gidMappings"] = mapping;
    push(&mut spec["linux"]["namespaces"], json!({"type": "user"}));
}

#[test]
fn user_namespace() {
    table(
        "linux.userns",
        &[
            ("outside the host's ids", Clean, |s| remap(s, 65_536)),
            ("the host's ids", Denied, |s| remap(s, 0)),
            ("the last reserved id", Denied, |s| remap(s, 65_535)),
            ("wraps round", Denied, |s| remap(s, u32::MAX - 10)),
            ("no mapping", Denied, |s| push(&mut s["linux"]["namespaces"], json!({"type": "user"}))),
        ],
    );
}

#[test]
fn user_groups_and_range() {
    table(
        "user.root-group",
        &[
            ("group root", Mutated, |s| s["process"]["user"]["gid"] = json!(0)),
            ("disk for its own", Mutated, |s| s["process"]["user"]["gid"] = json!(6)),
            ("shadow for its own and beside it", Mutated, |s| {
                s["process"]["user"]["gid"] = json!(42);
                s["process"]["user"]["additionalGids"] = json!([42]);
            }),
            ("disk", Mutated, |s| s["process"]["user"]["additionalGids"] = json!([6])),
            ("additional group root", Mutated, |s| s["process"]["user"]["additionalGids"] = json!([7, 0])),
            ("a volume's group", Clean, |s| s["process"]["user"]["additionalGids"] = json!([2000])),
            ("a system group of its own", Clean, |s| {
                s["process"]["user"]["gid"] = json!(33);
                s["process"]["user"]["additionalGids"] = json!([33]);
            }),
        ],
    );
    table(
        "user.range",
        &[
            ("the largest", Clean, |s| s["process"]["user"]["uid"] = json!(2_147_483_647_u32)),
            ("uid beyond", Denied, |s| s["process"]["user"]["uid"] = json!(2_147_483_648_u32)),
            ("gid beyond", Denied, |s| s["process"]["user"]["gid"] = json!(u32::MAX)),
            ("additional gid beyond", Denied, |s| s["process"]["user"]["additionalGids"] = json!([u32::MAX])),
        ],
    );
}

#[test]
fn capabilities() {
    table(
        "caps.allow-list",
        &[
            ("the one allowed", Clean, |s| every_set(s, &["CAP_NET_BIND_SERVICE"])),
            ("containerd's defaults", Mutated, |s| every_set(s, &["CAP_CHOWN", "CAP_NET_RAW"])),
            ("inheritable", Mutated, |s| s["process"]["capabilities"]["inheritable"] = json!(["CAP_NET_BIND_SERVICE"])),
            ("ambient", Mutated, |s| s["process"]["capabilities"]["ambient"] = json!(["CAP_NET_BIND_SERVICE"])),
            ("effective beyond permitted", Mutated, |s| {
                s["process"]["capabilities"]["effective"] = json!(["CAP_NET_BIND_SERVICE"])
            }),
        ],
    );
    table(
        "caps.never",
        &[
            ("containerd's defaults", Clean, |s| every_set(s, &["CAP_CHOWN", "CAP_MKNOD"])),
            ("SYS_ADMIN", Denied, |s| every_set(s, &["CAP_SYS_ADMIN"])),
            ("NET_ADMIN", Denied, |s| every_set(s, &["CAP_NET_ADMIN"])),
            ("in one set only", Denied, |s| s["process"]["capabilities"]["ambient"] = json!(["CAP_SYS_PTRACE"])),
        ],
    );
}

#[test]
fn process_fields() {
    table(
        "process.nnp",
        &[
            ("false", Mutated, |s| s["process"]["noNewPrivileges"] = json!(false)),
            ("absent is false", Mutated, |s| drop(s["process"].as_object_mut().unwrap().remove("noNewPrivileges"))),
        ],
    );
    table(
        "process.cwd",
        &[
            ("a directory", Clean, |s| s["process"]["cwd"] = json!("/srv/app")),
            ("named like proc", Clean, |s| s["process"]["cwd"] = json!("/process")),
            ("a descriptor of the runtime", Denied, |s| s["process"]["cwd"] = json!("/proc/self/fd/7")),
            ("proc", Denied, |s| s["process"]["cwd"] = json!("/proc")),
            ("dots", Denied, |s| s["process"]["cwd"] = json!("/srv/../proc/self/fd/7")),
            ("relative", Denied, |s| s["process"]["cwd"] = json!("srv")),
        ],
    );
    table(
        "process.args",
        &[
            ("a name", Clean, |s| s["process"]["args"] = json!(["sh"])),
            ("a file of proc", Clean, |s| s["process"]["args"] = json!(["cat", "/proc/self/exe"])),
            ("the runtime itself", Denied, |s| s["process"]["args"] = json!(["/proc/self/exe"])),
            ("another root", Denied, |s| s["process"]["args"] = json!(["//proc//1/root/bin/sh"])),
        ],
    );
    table(
        "process.rlimits",
        &[
            ("files", Clean, |s| {
                push(&mut s["process"]["rlimits"], json!({"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}))
            }),
            ("nothing said of core dumps", Mutated, |s| s["process"]["rlimits"] = json!([])),
            ("core dumps", Mutated, |s| {
                s["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}])
            }),
            ("queues", Mutated, |s| {
                s["process"]["rlimits"] = json!([{"type": "RLIMIT_MSGQUEUE", "soft": 0, "hard": 819_201},
                    {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}])
            }),
            ("tasks", Mutated, |s| {
                s["process"]["rlimits"] = json!([{"type": "RLIMIT_NPROC", "soft": 0, "hard": 4_097},
                    {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}])
            }),
            ("as many as there may be", Clean, |s| {
                s["process"]["rlimits"] = json!([{"type": "RLIMIT_MSGQUEUE", "soft": 0, "hard": 819_200},
                    {"type": "RLIMIT_NPROC", "soft": 0, "hard": 4_096},
                    {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}])
            }),
            ("real-time", Mutated, |s| {
                s["process"]["rlimits"] = json!([{"type": "RLIMIT_RTPRIO", "soft": 0, "hard": 9}])
            }),
        ],
    );
    table(
        "process.oom",
        &[
            ("the kubelet's -997", Audited, |s| s["process"]["oomScoreAdj"] = json!(-997)),
            ("zero", Clean, |s| s["process"]["oomScoreAdj"] = json!(0)),
        ],
    );
    table(
        "process.sched",
        &[
            ("ordinary", Clean, |s| s["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5})),
            ("real-time", Mutated, |s| s["process"]["scheduler"] = json!({"policy": "SCHED_FIFO", "priority": 5})),
            ("negative nice", Mutated, |s| s["process"]["scheduler"] = json!({"policy": "SCHED_OTHER", "nice": -5})),
            ("real-time disk", Mutated, |s| {
                s["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_RT", "priority": 0})
            }),
        ],
    );
    table(
        "process.apparmor",
        &[
            ("none", Clean, |s| s["process"]["apparmorProfile"] = json!("")),
            ("unconfined", Denied, |s| s["process"]["apparmorProfile"] = json!("unconfined")),
        ],
    );
    table(
        "process.selinux",
        &[
            ("container_t", Clean, |s| s["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0:c1,c2")),
            ("spc_t", Denied, |s| s["process"]["selinuxLabel"] = json!("system_u:system_r:spc_t:s0")),
            ("not a label", Denied, |s| s["process"]["selinuxLabel"] = json!("container_t")),
        ],
    );
    table(
        "linux.mount-label",
        &[
            ("container_file_t", Clean, |s| s["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0")),
            ("etc_t", Denied, |s| s["linux"]["mountLabel"] = json!("system_u:object_r:etc_t:s0")),
        ],
    );
}

#[test]
fn namespaces() {
    fn at<'a>(spec: &'a mut Value, kind: &str) -> &'a mut Value {
        let list = spec["linux"]["namespaces"].as_array_mut().unwrap();
        list.iter_mut().find(|namespace| namespace["type"] == kind).unwrap()
    }
    fn without(spec: &mut Value, kind: &str) {
        spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != kind);
    }
    table(
        "linux.ns",
        &[
            ("the pod's network", Clean, |s| at(s, "network")["path"] = json!("/proc/77/ns/net")),
            ("the host's network by path", Denied, |s| at(s, "network")["path"] = json!("/proc/1/ns/net")),
            ("the host's pids by path", Denied, |s| at(s, "pid")["path"] = json!("/proc/1/ns/pid")),
            ("a path nobody can look at", Denied, |s| at(s, "ipc")["path"] = json!("/unresolved/ipc")),
            ("a mount namespace that exists", Denied, |s| at(s, "mount")["path"] = json!("/proc/77/ns/mnt")),
            ("no pid", Denied, |s| without(s, "pid")),
            ("no network", Denied, |s| without(s, "network")),
            ("no ipc", Denied, |s| without(s, "ipc")),
            ("no uts", Denied, |s| without(s, "uts")),
            ("no mount", Denied, |s| without(s, "mount")),
            ("twice", Denied, |s| push(&mut s["linux"]["namespaces"], json!({"type": "pid"}))),
            ("no cgroup", Mutated, |s| without(s, "cgroup")),
        ],
    );
}

#[test]
fn bind_sources() {
    table(
        "mount.host-path",
        &[
            ("a volume of the pod", Clean, |s| {
                bind(s, &format!("{KUBELET}/volumes/kubernetes.io~secret/tls"), json!(["rbind"]))
            }),
            ("another pod's volume", Denied, |s| {
                bind(s, "/var/lib/kubelet/pods/other/volumes/kubernetes.io~secret/tls", json!(["rbind"]))
            }),
            ("a directory of the host", Denied, |s| bind(s, "/srv", json!(["rbind", "ro"]))),
            ("a link to a directory of the host", Denied, |s| bind(s, "/link/to/srv", json!(["rbind", "ro"]))),
            ("nothing there", Denied, |s| bind(s, "/missing/volume", json!(["rbind"]))),
            ("a bind by option alone", Denied, |s| {
                push(
                    &mut s["mounts"],
                    json!({"destination": "/x", "type": "tmpfs", "source": "/srv", "options": ["bind"]}),
                )
            }),
        ],
    );
    table(
        "mount.deny-always",
        &[
            ("an ordinary directory", Clean, |s| bind(s, "/srv", json!(["rbind"]))),
            ("root", Denied, |s| bind(s, "/", json!(["rbind", "ro"]))),
            ("etc", Denied, |s| bind(s, "/etc", json!(["rbind", "ro"]))),
            ("a file in etc", Denied, |s| bind(s, "/etc/passwd", json!(["rbind", "ro"]))),
            ("what holds the kubelet's files", Denied, |s| bind(s, "/var", json!(["rbind", "ro"]))),
            ("etc by another name", Denied, |s| bind(s, "/link/to/etc", json!(["rbind", "ro"]))),
            ("containerd's socket", Denied, |s| bind(s, "/run/containerd/containerd.sock", json!(["rbind"]))),
            ("a socket elsewhere", Denied, |s| bind(s, "/srv/app.sock", json!(["rbind"]))),
            ("a disk", Denied, |s| bind(s, "/dev/sda", json!(["rbind"]))),
            ("the kubelet's keys", Denied, |s| bind(s, "/var/lib/kubelet/pki", json!(["rbind"]))),
            ("logs", Denied, |s| bind(s, "/var/log", json!(["rbind"]))),
        ],
    );
}

const LAYER: &str = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/3/fs";

const KUBELET: &str = "/var/lib/kubelet/pods/4d6d1f5e-8f5b-4f0c-9a3e-3a4f0f1b2c3d";

#[test]
fn mounts() {
    table(
        "mount.type",
        &[
            ("tmpfs", Clean, |s| mount(s, "/t", "tmpfs", json!(["nosuid", "nodev"]))),
            ("bpf", Denied, |s| mount(s, "/t", "bpf", json!([]))),
            ("debugfs", Denied, |s| mount(s, "/t", "debugfs", json!([]))),
            ("overlay", Denied, |s| mount(s, "/t", "overlay", json!(["lowerdir=/"]))),
            ("ext4", Denied, |s| mount(s, "/t", "ext4", json!([]))),
            ("none at all", Denied, |s| push(&mut s["mounts"], json!({"destination": "/t"}))),
        ],
    );
    table(
        "mount.dest",
        &[
            ("a volume", Clean, |s| mount(s, "/cache", "tmpfs", json!([]))),
            ("over proc", Denied, |s| mount(s, "/proc", "tmpfs", json!([]))),
            ("below proc", Denied, |s| mount(s, "/proc/sys", "proc", json!([]))),
            ("below sys", Denied, |s| mount(s, "/sys/kernel", "tmpfs", json!([]))),
            ("over a device", Denied, |s| mount(s, "/dev/null", "tmpfs", json!([]))),
            ("a second proc", Denied, |s| mount(s, "/foo", "proc", json!([]))),
            ("a second sysfs", Denied, |s| mount(s, "/foo", "sysfs", json!(["ro"]))),
            ("proc twice", Denied, |s| mount(s, "/proc", "proc", json!([]))),
            ("the root", Denied, |s| mount(s, "/", "tmpfs", json!([]))),
            ("dots", Denied, |s| mount(s, "/a/../proc", "tmpfs", json!([]))),
            ("relative", Denied, |s| mount(s, "a", "tmpfs", json!([]))),
        ],
    );
    table(
        "mount.options",
        &[
            ("complete", Clean, |s| mount(s, "/t", "tmpfs", json!(["nosuid", "nodev", "size=1m"]))),
            ("without nosuid", Mutated, |s| mount(s, "/t", "tmpfs", json!(["nodev"]))),
            ("suid after nosuid", Mutated, |s| mount(s, "/t", "tmpfs", json!(["nosuid", "nodev", "suid"]))),
            ("dev after nodev", Mutated, |s| mount(s, "/t", "tmpfs", json!(["nosuid", "nodev", "dev"]))),
            ("unknown", Denied, |s| mount(s, "/t", "tmpfs", json!(["nosuid", "nodev", "remount"]))),
            ("two in one", Denied, |s| mount(s, "/t", "tmpfs", json!(["nosuid", "nodev", "size=1m,suid"]))),
        ],
    );
    table(
        "mount.propagation",
        &[
            ("private", Clean, |s| push(options_at(s, "/data"), json!("rprivate"))),
            ("slave", Mutated, |s| push(options_at(s, "/data"), json!("rslave"))),
            ("shared", Denied, |s| push(options_at(s, "/data"), json!("rshared"))),
            ("a shared root", Denied, |s| s["linux"]["rootfsPropagation"] = json!("shared")),
            ("a slave root", Mutated, |s| s["linux"]["rootfsPropagation"] = json!("rslave")),
        ],
    );
    table(
        "mount.sys",
        &[
            ("writable", Mutated, |s| *options_at(s, "/sys") = json!(["nosuid", "rw"])),
            ("ro, then rw", Mutated, |s| *options_at(s, "/sys") = json!(["ro", "rw"])),
            ("rw, then ro", Mutated, |s| *options_at(s, "/sys") = json!(["rw", "ro"])),
            ("recursively rw, then ro", Mutated, |s| *options_at(s, "/sys") = json!(["rrw", "ro"])),
        ],
    );
    table(
        "mount.cgroup",
        &[
            ("writable", Mutated, |s| *options_at(s, "/sys/fs/cgroup") = json!(["nosuid"])),
            ("read-only", Clean, |s| *options_at(s, "/sys/fs/cgroup") = json!(["rro"])),
        ],
    );
}

#[test]
fn devices() {
    table(
        "linux.devices",
        &[
            ("null", Clean, |s| {
                push(&mut s["linux"]["devices"], json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3}))
            }),
            ("a disk", Denied, |s| {
                push(&mut s["linux"]["devices"], json!({"path": "/dev/sda", "type": "b", "major": 8, "minor": 0}))
            }),
            ("memory that is called null", Denied, |s| {
                push(&mut s["linux"]["devices"], json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 1}))
            }),
        ],
    );
    fn rule(spec: &mut Value, rule: Value) {
        push(&mut spec["linux"]["resources"]["devices"], rule);
    }
    table(
        "res.devices",
        &[
            ("null", Clean, |s| rule(s, json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}))),
            ("terminals", Clean, |s| rule(s, json!({"allow": true, "type": "c", "major": 136, "access": "rwm"}))),
            ("everything", Denied, |s| rule(s, json!({"allow": true, "access": "rwm"}))),
            ("every type", Denied, |s| {
                rule(s, json!({"allow": true, "type": "a", "major": 1, "minor": 3, "access": "r"}))
            }),
            ("every block device", Denied, |s| rule(s, json!({"allow": true, "type": "b", "access": "m"}))),
            ("block 136", Denied, |s| {
                rule(s, json!({"allow": true, "type": "b", "major": 136, "minor": 1, "access": "r"}))
            }),
            ("a disk without its node", Denied, |s| {
                rule(s, json!({"allow": true, "type": "b", "major": 8, "minor": 0, "access": "r"}))
            }),
            ("no rules", Mutated, |s| s["linux"]["resources"]["devices"] = json!([])),
            ("no denial first", Mutated, |s| {
                s["linux"]["resources"]["devices"] = json!([{"allow": false, "type": "b", "access": "rwm"}])
            }),
        ],
    );
}

#[test]
fn limits() {
    const GIB: i64 = 1 << 30;
    table(
        "res.memory",
        &[
            ("within", Clean, |s| s["linux"]["resources"]["memory"] = json!({"limit": GIB, "swap": GIB})),
            ("none", Mutated, |s| s["linux"]["resources"]["memory"] = json!({})),
            ("unlimited", Mutated, |s| s["linux"]["resources"]["memory"] = json!({"limit": -1, "swap": -1})),
            ("zero is none", Mutated, |s| s["linux"]["resources"]["memory"] = json!({"limit": 0})),
            ("above", Mutated, |s| s["linux"]["resources"]["memory"] = json!({"limit": 65 * GIB, "swap": 65 * GIB})),
            ("swap", Mutated, |s| s["linux"]["resources"]["memory"] = json!({"limit": GIB, "swap": 2 * GIB})),
            ("no OOM killer", Mutated, |s| {
                s["linux"]["resources"]["memory"] = json!({"limit": GIB, "swap": GIB, "disableOOMKiller": true})
            }),
        ],
    );
    table(
        "res.cpu",
        &[
            ("within", Clean, |s| s["linux"]["resources"]["cpu"] = json!({"quota": 50_000, "period": 100_000})),
            ("none", Mutated, |s| s["linux"]["resources"]["cpu"] = json!({"shares": 2})),
            ("unlimited", Mutated, |s| s["linux"]["resources"]["cpu"] = json!({"quota": -1, "period": 100_000})),
            ("above", Mutated, |s| s["linux"]["resources"]["cpu"] = json!({"quota": 800_001, "period": 100_000})),
            ("a short period", Mutated, |s| s["linux"]["resources"]["cpu"] = json!({"quota": 50_000, "period": 5_000})),
            ("real-time", Mutated, |s| {
                s["linux"]["resources"]["cpu"] = json!({"quota": 50_000, "period": 100_000, "realtimeRuntime": 1})
            }),
        ],
    );
    table(
        "res.pids",
        &[
            ("within", Clean, |s| s["linux"]["resources"]["pids"] = json!({"limit": 4096})),
            ("none", Mutated, |s| drop(s["linux"]["resources"].as_object_mut().unwrap().remove("pids"))),
            ("unlimited", Mutated, |s| s["linux"]["resources"]["pids"] = json!({"limit": -1})),
            ("above", Mutated, |s| s["linux"]["resources"]["pids"] = json!({"limit": 4097})),
        ],
    );
    table("res.network", &[("a class", Mutated, |s| s["linux"]["resources"]["network"] = json!({"classID": 1}))]);
    table(
        "res.unified",
        &[
            ("kill as a group", Clean, |s| s["linux"]["resources"]["unified"] = json!({"memory.oom.group": "1"})),
            ("a higher memory limit", Mutated, |s| s["linux"]["resources"]["unified"] = json!({"memory.max": "max"})),
            ("swap", Mutated, |s| s["linux"]["resources"]["unified"] = json!({"memory.swap.max": "1"})),
            ("more tasks", Mutated, |s| s["linux"]["resources"]["unified"] = json!({"pids.max": "max"})),
            ("more CPU", Mutated, |s| s["linux"]["resources"]["unified"] = json!({"cpu.max": "max 100000"})),
            ("another file", Denied, |s| s["linux"]["resources"]["unified"] = json!({"cgroup.freeze": "1"})),
            ("a path", Denied, |s| s["linux"]["resources"]["unified"] = json!({"../memory.max": "1"})),
            ("not a number", Denied, |s| s["linux"]["resources"]["unified"] = json!({"memory.high": "1\n2"})),
        ],
    );
}

#[test]
fn kernel_files() {
    table(
        "linux.masked",
        &[
            ("none", Mutated, |s| s["linux"]["maskedPaths"] = json!([])),
            ("absent", Mutated, |s| s["linux"]["maskedPaths"] = Value::Null),
            ("more", Clean, |s| push(&mut s["linux"]["maskedPaths"], json!("/proc/more"))),
        ],
    );
    table(
        "linux.readonly",
        &[
            ("none", Mutated, |s| s["linux"]["readonlyPaths"] = json!([])),
            ("masked instead", Clean, |s| {
                s["linux"]["readonlyPaths"] = json!(["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger"]);
                push(&mut s["linux"]["maskedPaths"], json!("/proc/sys"));
            }),
        ],
    );
    table(
        "linux.sysctl",
        &[
            ("a safe one", Clean, |s| s["linux"]["sysctl"] = json!({"net.ipv4.ip_unprivileged_port_start": "0"})),
            ("a range", Clean, |s| s["linux"]["sysctl"] = json!({"net.ipv4.ping_group_range": "0 2147483647"})),
            ("an unsafe one", Denied, |s| s["linux"]["sysctl"] = json!({"kernel.core_pattern": "1"})),
            ("with slashes", Denied, |s| s["linux"]["sysctl"] = json!({"net/ipv4/ip_forward": "1"})),
            ("two in one", Denied, |s| {
                s["linux"]["sysctl"] = json!({"kernel.shm_rmid_forced": "1+kernel.core_pattern=|/x"})
            }),
        ],
    );
}

#[test]
fn system_calls() {
    table(
        "linux.seccomp",
        &[
            ("none", Mutated, |s| s["linux"]["seccomp"] = Value::Null),
            ("one that allows all", Mutated, |s| s["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW"})),
            ("one that asks a process", Denied, |s| {
                s["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "/run/x.sock",
            "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]})
            }),
        ],
    );
    table(
        "linux.seccomp.arch",
        &[
            ("native", Clean, |s| s["linux"]["seccomp"]["architectures"] = json!(["SCMP_ARCH_NATIVE"])),
            ("foreign", Mutated, |s| {
                s["linux"]["seccomp"]["architectures"] = json!(["SCMP_ARCH_NATIVE", "SCMP_ARCH_S390X"])
            }),
        ],
    );
}

#[test]
fn other_sections() {
    table(
        "hooks",
        &[
            ("a host program", Denied, |s| s["hooks"] = json!({"createRuntime": [{"path": "/usr/bin/x"}]})),
            ("an old one", Denied, |s| s["hooks"] = json!({"prestart": [{"path": "/usr/bin/x"}]})),
            ("none", Clean, |s| s["hooks"] = json!({"poststop": []})),
        ],
    );
    table(
        "annotations",
        &[
            ("of CRI", Clean, |s| s["annotations"]["io.kubernetes.cri.image-name"] = json!("x")),
            ("for systemd", Mutated, |s| s["annotations"]["org.systemd.property.TasksMax"] = json!("infinity")),
            ("for crun", Mutated, |s| s["annotations"]["run.oci.seccomp_bpf_data"] = json!("AA==")),
        ],
    );
    table(
        "root.path",
        &[
            ("the host", Denied, |s| s["root"]["path"] = json!("/")),
            ("outside", Denied, |s| s["root"]["path"] = json!("../rootfs")),
        ],
    );
    table(
        "linux.cgroups-path",
        &[
            ("absent", Mutated, |s| drop(s["linux"].as_object_mut().unwrap().remove("cgroupsPath"))),
            ("another container's", Denied, |s| s["linux"]["cgroupsPath"] = json!("/kubepods/other")),
            ("up", Denied, |s| s["linux"]["cgroupsPath"] = json!("/kubepods/../x")),
            ("the root slice", Denied, |s| {
                let id = support::id_of(s);
                s["linux"]["cgroupsPath"] = json!(format!("-.slice:cri-containerd:{id}"));
            }),
            ("a plain path", Clean, |s| {
                let id = support::id_of(s);
                s["linux"]["cgroupsPath"] = json!(format!("/kubepods/besteffort/pod1/{id}"));
            }),
        ],
    );
    table(
        "linux.personality",
        &[
            ("plain", Clean, |s| s["linux"]["personality"] = json!({"domain": "LINUX"})),
            ("32 bit", Denied, |s| s["linux"]["personality"] = json!({"domain": "LINUX32"})),
        ],
    );
    table(
        "linux.memory-policy",
        &[("bound", Denied, |s| s["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0"}))],
    );
    table("linux.intel-rdt", &[("a class", Denied, |s| s["linux"]["intelRdt"] = json!({"closID": "x"}))]);
    table("linux.net-devices", &[("eth0", Denied, |s| s["linux"]["netDevices"] = json!({"eth0": {"name": "x"}}))]);
    table(
        "linux.time-offsets",
        &[("boot time", Denied, |s| s["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1}}))],
    );
    table(
        "priv.heuristic",
        &[
            ("a writable sys alone", Clean, |s| *options_at(s, "/sys") = json!(["rw"])),
            ("writable sys and cgroups", Denied, |s| {
                *options_at(s, "/sys") = json!(["rw"]);
                *options_at(s, "/sys/fs/cgroup") = json!(["rw"]);
            }),
            ("no masked paths and every device", Denied, |s| {
                s["linux"]["maskedPaths"] = json!([]);
                s["linux"]["readonlyPaths"] = json!([]);
                s["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
            }),
        ],
    );
    table(
        "task.identity",
        &[
            ("a sandbox that is another", Denied, |s| {
                s["annotations"]["io.kubernetes.cri.container-type"] = json!("sandbox")
            }),
            ("no sandbox", Denied, |s| {
                drop(s["annotations"].as_object_mut().unwrap().remove("io.kubernetes.cri.sandbox-id"))
            }),
        ],
    );
}

#[test]
fn fields_of_the_request() {
    type TaskEdit = fn(&mut Task);
    let rows: &[(&str, &str, Verdict, TaskEdit)] = &[
        ("task.checkpoint", "none", Clean, |_| {}),
        ("task.checkpoint", "a checkpoint", Denied, |t| t.checkpoint = "/var/lib/x".to_owned()),
        ("task.stdio", "a fifo", Clean, |_| {}),
        ("task.stdio", "a pod's log", Clean, |t| t.stdout = "file:///var/log/pods/x/0.log".to_owned()),
        ("task.stdio", "none", Clean, |t| t.stdout = String::new()),
        ("task.stdio", "a program", Denied, |t| t.stdout = "binary:///bin/sh?-c=x".to_owned()),
        ("task.stdio", "a program, newer", Denied, |t| t.stdout = "binary-v2:///bin/sh".to_owned()),
        ("task.stdio", "a host file", Denied, |t| t.stdout = "file:///etc/cron.d/x".to_owned()),
        ("task.stdio", "a fifo elsewhere", Denied, |t| t.stdout = "/tmp/fifo".to_owned()),
        ("task.stdio", "dots", Denied, |t| t.stdout = "/run/containerd/fifo/../../../etc/x".to_owned()),
        ("task.rootfs", "layers", Clean, |_| {}),
        ("task.rootfs", "the host", Denied, |t| t.rootfs = vec![("bind".to_owned(), "/".to_owned(), vec![])]),
        ("task.rootfs", "two options in one", Denied, |t| {
            t.rootfs[0].2.push("index=off,lowerdir=/etc:/usr".to_owned())
        }),
        ("task.rootfs", "a host layer", Denied, |t| t.rootfs[0].2[0].push_str(":/etc")),
        ("task.rootfs", "a layer by bind", Clean, |t| t.rootfs = vec![("bind".to_owned(), LAYER.to_owned(), vec![])]),
        ("task.rootfs", "sysfs", Denied, |t| t.rootfs = vec![("sysfs".to_owned(), LAYER.to_owned(), vec![])]),
        ("task.rootfs", "a helper program", Denied, |t| {
            t.rootfs = vec![("fuse.x".to_owned(), LAYER.to_owned(), vec![])]
        }),
        ("task.rootfs", "a second device", Denied, |t| {
            t.rootfs = vec![("erofs".to_owned(), LAYER.to_owned(), vec!["device=/dev/sda".to_owned()])]
        }),
        ("task.rootfs", "a disk", Denied, |t| t.rootfs = vec![("ext4".to_owned(), "/dev/sda1".to_owned(), vec![])]),
        ("task.options", "none", Clean, |_| {}),
        ("task.options", "a program", Denied, |t| t.options.binary_name = "/tmp/runc".to_owned()),
        ("task.options", "a directory", Denied, |t| t.options.root = "/tmp".to_owned()),
        ("task.options", "no pivot_root", Denied, |t| t.options.no_pivot_root = true),
        ("task.options", "the keyring", Denied, |t| t.options.no_new_keyring = true),
        ("task.options", "a cgroup for the shim", Denied, |t| t.options.shim_cgroup = "/x".to_owned()),
    ];
    let spec = support::golden("cri-app");
    for (rule, name, verdict, edit) in rows {
        let mut task = Task::of(&support::id_of(&spec));
        edit(&mut task);
        let record = support::create_task(&spec, &task, &Policy::builtin()).record;
        assert_eq!(verdict_of(rule, &record), *verdict, "{rule}: {name}");
    }
}

#[test]
fn an_action_of_the_file_takes_effect() {
    let root: Edit = |s| s["process"]["user"]["uid"] = json!(0);
    for (action, verdict) in [("deny", Denied), ("mutate", Mutated), ("audit", Audited), ("off", Clean)] {
        let file = format!("[profiles.restricted.rules.\"user.non-root\"]\naction = \"{action}\"\n");
        let policy = Policy::from_toml(&file).unwrap();
        assert_eq!(judged("user.non-root", &policy, root), verdict, "{action}");
        let off = support::create(&pod(), &policy).record.off;
        assert_eq!(off.iter().any(|rule| rule.as_str() == "user.non-root"), action == "off");
    }
}

#[test]
fn a_list_of_the_file_takes_effect() {
    type Row = (&'static str, &'static str, Edit);
    let rows: &[Row] = &[
        ("mount.host-path", "allow = [\"/srv:ro\"]", |s| bind(s, "/srv/data", json!(["rbind", "ro"]))),
        ("linux.sysctl", "allow = [\"net.core.somaxconn\"]", |s| {
            s["linux"]["sysctl"] = json!({"net.core.somaxconn": "9"})
        }),
        ("hooks", "allow = [\"/usr/bin/x\"]", |s| s["hooks"] = json!({"createRuntime": [{"path": "/usr/bin/x"}]})),
        ("annotations", "allow = [\"shop.example/*\"]", |s| s["annotations"]["shop.example/tier"] = json!("x")),
        ("mount.type", "allow = [\"ext4\"]", |s| mount(s, "/t", "ext4", json!([]))),
        ("linux.devices", "allow = [\"/dev/fuse\"]", |s| {
            push(&mut s["linux"]["devices"], json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}))
        }),
        ("linux.devices", "allow = [\"/dev/nvidia0 c 195:0\"]", |s| {
            push(&mut s["linux"]["devices"], json!({"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0}))
        }),
        ("caps.never", "capabilities = [\"CAP_NET_ADMIN\"]", |s| every_set(s, &["CAP_NET_ADMIN"])),
    ];
    for (rule, setting, edit) in rows {
        let table = if setting.starts_with("capabilities") { "caps.allow-list" } else { rule };
        let file = format!("[profiles.restricted.rules.\"{table}\"]\n{setting}\n");
        let policy = Policy::from_toml(&file).unwrap();
        assert_ne!(judged(rule, &Policy::builtin(), *edit), Clean, "{rule}: without the list");
        assert_eq!(judged(rule, &policy, *edit), Clean, "{rule}: with it");
    }
    let policy = Policy::from_toml("[profiles.restricted.rules.\"mount.host-path\"]\nallow = [\"/srv:ro\"]\n").unwrap();
    assert_eq!(judged("mount.host-path", &policy, |s| bind(s, "/srv/data", json!(["rbind", "rw"]))), Denied);
    let both: Edit = |s| bind(s, "/srv/data", json!(["rbind", "ro", "rw"]));
    assert_eq!(judged("mount.host-path", &policy, both), Denied);
    assert_eq!(judged("mount.host-path", &policy, |s| bind(s, "/srvdata", json!(["rbind", "ro"]))), Denied);
    let hook: Edit = |s| s["hooks"] = json!({"createRuntime": [{"path": "/opt/x"}]});
    let policy = Policy::from_toml("[profiles.restricted.rules.hooks]\nallow = [\"/opt/x\"]\n").unwrap();
    assert_eq!(judged("hooks", &policy, hook), Denied, "listed, but not root's alone");
}

/// What the rule says of a bind at the kubelet's place for subPaths that shows these locations.
fn subpath(rule: &str, policy: &Policy, locations: &[&str]) -> Verdict {
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    bind(&mut spec, &format!("{KUBELET}/volume-subpaths/v/app/0"), json!(["rbind", "rw"]));
    let task = Task::of(&support::id_of(&spec));
    let decision = support::create_with(&spec, &task, policy, |host| {
        let fact = host.sources.last_mut().unwrap();
        fact.locations = locations.iter().map(std::path::PathBuf::from).collect();
    });
    verdict_of(rule, &decision.record)
}

#[test]
fn a_subpath_counts_for_what_it_shows() {
    let policy = Policy::builtin();
    let secret = format!("{KUBELET}/volumes/kubernetes.io~secret/tls/key");
    let plugin = "/var/lib/kubelet/plugins/kubernetes.io/csi/pv/globalmount/key";
    for rule in ["mount.host-path", "mount.deny-always"] {
        assert_eq!(subpath(rule, &policy, &[&secret]), Clean, "{rule}: of a volume of the pod");
        assert_eq!(subpath(rule, &policy, &[plugin, &secret]), Clean, "{rule}: of a volume that is mounted twice");
        assert_eq!(subpath(rule, &policy, &["/etc/kubernetes/pki"]), Denied, "{rule}: of a hostPath volume");
        assert_eq!(subpath(rule, &policy, &[]), Denied, "{rule}: of nobody knows what");
        let other = "/var/lib/kubelet/pods/other/volumes/kubernetes.io~secret/tls";
        assert_eq!(subpath(rule, &policy, &[other]), Denied, "{rule}: of another pod's volume");
    }
}

#[test]
fn mappings_of_a_joined_user_namespace_are_only_a_claim() {
    let policy = Policy::builtin();
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    remap(&mut spec, 100_000);
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    let user = namespaces.iter_mut().find(|namespace| namespace["type"] == "user").unwrap();
    user["path"] = json!("/proc/77/ns/user");
    spec["process"]["user"]["uid"] = json!(0);
    let task = Task::of(&support::id_of(&spec));
    for (confirmed, verdict) in [(true, Clean), (false, Mutated)] {
        let decision = support::create_with(&spec, &task, &policy, |host| host.joined_users_are_remapped = confirmed);
        assert_eq!(verdict_of("user.non-root", &decision.record), verdict, "confirmed: {confirmed}");
    }
}

#[test]
fn the_table_is_sound() {
    let mut ids: Vec<&str> = RULES.iter().map(|rule| rule.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), RULES.len(), "ids are unique");
    for rule in RULES {
        assert!(!rule.source.is_empty(), "{}", rule.id);
        for action in [rule.restricted, rule.baseline] {
            assert!(rule.mutable || action != Action::Mutate, "{} mutates nothing", rule.id);
        }
    }
}

#[test]
fn privileged_switches_off_all_but_the_hand_off() {
    let policy = Policy::from_toml("profile = \"privileged\"").unwrap();
    let (hardened, record) = support::admitted(support::create(&support::golden("cri-privileged"), &policy));
    assert!(record.findings.is_empty());
    let expected = RULES.iter().filter(|rule| !rule.essential && rule.restricted != Action::Off).count();
    assert_eq!(record.off.len(), expected, "optional rules are no gap");
    let spec = support::json(hardened.as_bytes());
    let sets = spec["process"]["capabilities"].as_object().unwrap();
    assert_eq!(sets.len(), 5);
    assert_eq!(spec["process"]["noNewPrivileges"], json!(false));
    let mut nowhere = support::golden("ctr-default");
    nowhere["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    let decision = support::create_task(&nowhere, &Task::of("demo"), &policy);
    assert_eq!(support::admitted(decision).0.cgroups_path(), "/default/demo");
    let mut elsewhere = support::golden("cri-privileged");
    elsewhere["root"]["path"] = json!("/");
    assert!(support::is_denied(&support::create(&elsewhere, &policy)));
}

#[test]
fn baseline_lets_root_run_and_nothing_of_the_host() {
    let policy = Policy::from_toml("profile = \"baseline\"").unwrap();
    let (hardened, record) = support::admitted(support::create(&support::golden("ctr-default"), &policy));
    let spec = support::json(hardened.as_bytes());
    assert_eq!(spec["process"]["user"]["uid"], json!(0));
    assert_eq!(spec["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 14);
    assert!(spec["linux"]["seccomp"].is_object());
    assert_eq!(verdict_of("user.non-root", &record), Audited);
    for denied in ["ctr-net-host", "ctr-privileged", "cri-privileged", "cri-host-network", "cri-host-path"] {
        assert!(support::is_denied(&support::create(&support::golden(denied), &policy)), "{denied}");
    }
}

#[test]
fn a_denial_is_one_short_line_that_says_what_and_how() {
    let spec = support::golden("cri-host-path");
    let decision = support::create(&spec, &Policy::builtin());
    let line = decision.outcome.denial().unwrap().to_string();
    assert!(line.len() <= 400 && !line.contains('\n'), "{line}");
    for part in [
        "palisade: refused by rule mount.deny-always",
        "profile restricted",
        "/mounts/",
        "allowed:",
        "change: [profiles.restricted.rules.",
        "and 1 more: mount.host-path",
    ] {
        assert!(line.contains(part), "{part:?} in {line}");
    }
}
