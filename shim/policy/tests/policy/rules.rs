//! One table a rule. Each has rows that pass, which are the negative control of the others.

use palisade_policy::{Action, Policy, RULES};
use serde_json::{Value, json};

use crate::process::remap;
use crate::support::{self, Task, Verdict, Verdict::*, verdict_of};
use crate::tables::{Edit, bind, every_set, judged, mount, options_at, pod, push, table};

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
            ("another pod's network", Denied, |s| at(s, "network")["path"] = json!("/other/ns/net")),
            ("another pod's ipc", Denied, |s| at(s, "ipc")["path"] = json!("/other/ns/ipc")),
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
            ("null by another name", Denied, |s| {
                push(&mut s["linux"]["devices"], json!({"path": "/dev/x", "type": "c", "major": 1, "minor": 3}))
            }),
            ("another driver's node that is called null", Denied, |s| {
                push(&mut s["linux"]["devices"], json!({"path": "/dev/null", "type": "c", "major": 7, "minor": 3}))
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
            ("the host's console", Mutated, |s| {
                rule(s, json!({"allow": true, "type": "c", "major": 5, "minor": 1, "access": "rwm"}))
            }),
            ("no console", Clean, |s| {
                rule(s, json!({"allow": false, "type": "c", "major": 5, "minor": 1, "access": "rwm"}))
            }),
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
            ("a character device without its node", Denied, |s| {
                rule(s, json!({"allow": true, "type": "c", "major": 1, "minor": 1, "access": "r"}))
            }),
            ("the console's numbers on a disk", Denied, |s| {
                rule(s, json!({"allow": true, "type": "b", "major": 5, "minor": 1, "access": "r"}))
            }),
            ("null's numbers on a disk", Denied, |s| {
                rule(s, json!({"allow": true, "type": "b", "major": 1, "minor": 3, "access": "r"}))
            }),
            ("no rules", Mutated, |s| s["linux"]["resources"]["devices"] = json!([])),
            ("every number written out", Clean, |s| {
                s["linux"]["resources"]["devices"] =
                    json!([{"allow": false, "major": -1, "minor": -1, "access": "rwm"}])
            }),
            ("a denial of one driver first", Mutated, |s| {
                s["linux"]["resources"]["devices"] = json!([{"allow": false, "major": 0, "access": "rwm"}])
            }),
            ("a denial of one minor first", Mutated, |s| {
                s["linux"]["resources"]["devices"] = json!([{"allow": false, "minor": 0, "access": "rwm"}])
            }),
            ("a denial of one device first", Mutated, |s| {
                s["linux"]["resources"]["devices"] = json!([{"allow": false, "major": 1, "minor": 3, "access": "rwm"}])
            }),
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
            ("no number at all", Clean, |s| s["linux"]["resources"]["unified"] = json!({"memory.high": "max"})),
            ("a number", Clean, |s| s["linux"]["resources"]["unified"] = json!({"memory.high": "1073741824"})),
            ("nice", Clean, |s| s["linux"]["resources"]["unified"] = json!({"cpu.weight.nice": "-20"})),
            ("nicer than there is", Denied, |s| s["linux"]["resources"]["unified"] = json!({"cpu.weight.nice": "-21"})),
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
            ("of 32 bits", Mutated, |s| {
                s["linux"]["seccomp"]["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])
            }),
            ("foreign", Mutated, |s| {
                s["linux"]["seccomp"]["architectures"] = json!(["SCMP_ARCH_NATIVE", "SCMP_ARCH_S390X"])
            }),
        ],
    );
}

/// Puts the container's cgroup into another one.
fn cgroup_in(spec: &mut Value, parent: &str) {
    let id = support::id_of(spec);
    spec["linux"]["cgroupsPath"] = json!(format!("{parent}/{id}"));
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
            ("up, to its own name", Denied, |s| cgroup_in(s, "/kubepods/..")),
            ("a dot", Denied, |s| cgroup_in(s, "/kubepods/.")),
            ("a name without letters", Denied, |s| cgroup_in(s, "/kubepods/")),
            ("a line break", Denied, |s| cgroup_in(s, "/kubepods/a\nb")),
            ("the root slice", Denied, |s| {
                let id = support::id_of(s);
                s["linux"]["cgroupsPath"] = json!(format!("-.slice:cri-containerd:{id}"));
            }),
            ("a plain path", Clean, |s| cgroup_in(s, "/kubepods/besteffort/pod1")),
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
            ("a writable sys, and masked paths alone", Clean, |s| {
                *options_at(s, "/sys") = json!(["rw"]);
                s["linux"]["readonlyPaths"] = json!([]);
            }),
            ("a writable sys, and read-only paths alone", Clean, |s| {
                *options_at(s, "/sys") = json!(["rw"]);
                s["linux"]["maskedPaths"] = json!([]);
            }),
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

const LAYER: &str = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/3/fs";

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
        ("task.stdio", "a fifo below another state directory", Denied, |t| t.stdout = "/srv/state/fifo/1".to_owned()),
        ("task.stdio", "a fifo below containerd's own state directory", Clean, |t| {
            t.bundles = "/srv/state/io.containerd.runtime.v2.task/k8s.io".to_owned();
            t.stdout = "/srv/state/fifo/1".to_owned();
        }),
        ("task.stdio", "a fifo where nobody knows the state directory", Denied, |t| {
            t.bundles = "/srv/bundles".to_owned();
            t.stdout = "/srv/state/fifo/1".to_owned();
        }),
        ("task.stdio", "a fifo where that is the host's root", Denied, |t| {
            t.bundles = "/io.containerd.runtime.v2.task/k8s.io".to_owned();
            t.stdout = "/srv/state/fifo/1".to_owned();
        }),
        ("task.stdio", "dots", Denied, |t| t.stdout = "/run/containerd/fifo/../../../etc/x".to_owned()),
        ("task.stdio", "a program that takes errors alone", Denied, |t| t.stderr = LOGGER.to_owned()),
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

const LOGGER: &str = "binary:///usr/bin/nerdctl?_NERDCTL_INTERNAL_LOGGING=/var/lib/nerdctl";

/// The admin lists programs; which of a process's streams they get, and that it is those very programs, the rule sees to.
#[test]
fn a_logging_program_passes_where_it_is_listed() {
    let policy = "[profiles.restricted.rules.\"task.stdio\"]\nallow = [\"binary:///usr/bin/nerdctl\", \"/srv/logs\"]\n";
    let policy = Policy::from_toml(policy).unwrap();
    let rows: &[(&str, Verdict, [&str; 3])] = &[
        ("both outputs", Clean, ["", LOGGER, LOGGER]),
        ("stdout, as for a terminal", Clean, ["", LOGGER, ""]),
        ("a listed directory", Clean, ["", "/srv/logs/fifo", "file:///srv/logs/log"]),
        ("stderr alone", Denied, ["", "", LOGGER]),
        ("two programs", Denied, ["", LOGGER, "binary:///usr/bin/nerdctl"]),
        ("stdin", Denied, [LOGGER, LOGGER, LOGGER]),
        ("another program", Denied, ["", "binary:///usr/bin/sh?-c=id", ""]),
        ("a program below the listed one", Denied, ["", "binary:///usr/bin/nerdctl/x", ""]),
        ("a program in a listed directory", Denied, ["", "binary:///srv/logs/x", ""]),
        ("dots", Denied, ["", "binary:///usr/bin/nerdctl/../sh", ""]),
        ("an encoded path", Denied, ["", "binary:///usr/bin/nerd%63tl", ""]),
        ("a fragment", Denied, ["", "binary:///usr/bin/nerdctl#x", ""]),
        ("a host", Denied, ["", "binary://host/usr/bin/nerdctl", ""]),
        ("another scheme", Denied, ["", "binary-v2:///usr/bin/nerdctl", ""]),
    ];
    let spec = support::golden("cri-app");
    for (name, verdict, [stdin, stdout, stderr]) in rows {
        let mut task = Task::of(&support::id_of(&spec));
        (task.stdin, task.stdout, task.stderr) = ((*stdin).to_owned(), (*stdout).to_owned(), (*stderr).to_owned());
        let record = support::create_task(&spec, &task, &policy).record;
        assert_eq!(verdict_of("task.stdio", &record), *verdict, "{name}");
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
        ("annotations", "allow = [\"shop.example/tier\"]", |s| s["annotations"]["shop.example/tier"] = json!("x")),
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

#[test]
fn no_period_is_too_short_for_the_maximum() {
    let policy =
        Policy::from_toml("[profiles.restricted.rules.\"res.cpu\"]\ndefault = \"100m\"\nmax = \"500m\"\n").unwrap();
    // (quota and period that are asked for, what is given): the kernel takes no quota below 1000.
    for (asked, given) in [
        ((10_000, 100_000), (10_000, 100_000)),
        ((1_000, 2_000), (1_000, 2_000)),
        ((1_000, 1_000), (50_000, 100_000)),
        ((-1, 1_000), (50_000, 100_000)),
        ((300, 1_000), (30_000, 100_000)),
    ] {
        let mut spec = pod();
        spec["root"]["path"] = json!("rootfs");
        spec["linux"]["resources"]["cpu"] = json!({"quota": asked.0, "period": asked.1});
        let hardened = support::json(support::admitted(support::create(&spec, &policy)).0.as_bytes());
        let cpu = &hardened["linux"]["resources"]["cpu"];
        assert_eq!((cpu["quota"].as_i64().unwrap(), cpu["period"].as_i64().unwrap()), given, "{asked:?}");
    }
    fn with(spec: &mut Value, file: &str) {
        spec["linux"]["resources"]["unified"] = json!({ "cpu.max": file });
    }
    // The container's own quota is half a CPU.
    assert_eq!(judged("res.unified", &policy, |s| with(s, "max 1000")), Denied);
    assert_eq!(judged("res.unified", &policy, |s| with(s, "max 2000")), Mutated);
}

#[test]
fn mappings_of_a_joined_user_namespace_are_only_a_claim() {
    // Where it is not refused, root is root.
    let policy = Policy::from_toml("[profiles.restricted.rules.\"linux.userns\"]\naction = \"audit\"").unwrap();
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
        let refused = if confirmed { Clean } else { Audited };
        assert_eq!(verdict_of("linux.userns", &decision.record), refused, "confirmed: {confirmed}");
        let grant = support::admitted(decision).0.grant().clone();
        let exec = support::exec(&spec["process"], &grant, &policy);
        assert_eq!(verdict_of("user.non-root", &exec.record), verdict, "exec, confirmed: {confirmed}");
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
fn a_denial_by_what_always_holds_names_no_way_round() {
    let mut spec = support::golden("cri-app");
    spec["root"]["path"] = json!("/");
    let decision = support::create(&spec, &Policy::builtin());
    let line = decision.outcome.denial().unwrap().to_string();
    assert!(line.ends_with("change: none, this rule holds in every profile"), "{line}");
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
