//! The Kubernetes Pod Security Standards, v1.37: each control that an OCI specification shows, in both directions, under
//! the profile that bears its name. What conforms passes the rule untouched; what does not is refused or mended.
//!
//! Not to be seen in a specification: host ports (CNI makes them), the host of probes and lifecycle hooks (the
//! kubelet's), Windows HostProcess (sections of Windows are refused). Volume types are known by where the kubelet keeps
//! them: a hostPath volume is mounted from elsewhere.

use palisade_policy::Policy;
use serde_json::json;

use crate::support::Verdict::{Audited, Clean, Denied, Mutated};
use crate::tables::{Edit, bind, judged, mount, options_at, push};

struct Control {
    name: &'static str,
    rule: &'static str,
    conforming: &'static [Edit],
    violating: &'static [Edit],
}

const VOLUME: &str = "/var/lib/kubelet/pods/4d6d1f5e-8f5b-4f0c-9a3e-3a4f0f1b2c3d/volumes/kubernetes.io~";

/// PSS baseline.
const BASELINE: &[Control] = &[
    Control {
        name: "hostNetwork",
        rule: "linux.ns",
        conforming: &[|s| namespace(s, "network", "/proc/77/ns/net")],
        violating: &[|s| namespace(s, "network", "/proc/1/ns/net"), |s| without(s, "network")],
    },
    Control {
        name: "hostPID",
        rule: "linux.ns",
        conforming: &[|s| namespace(s, "pid", "/proc/77/ns/pid")],
        violating: &[|s| namespace(s, "pid", "/proc/1/ns/pid"), |s| without(s, "pid")],
    },
    Control {
        name: "hostIPC",
        rule: "linux.ns",
        conforming: &[|s| namespace(s, "ipc", "/proc/77/ns/ipc")],
        violating: &[|s| namespace(s, "ipc", "/proc/1/ns/ipc"), |s| without(s, "ipc")],
    },
    Control {
        name: "privileged",
        rule: "priv.heuristic",
        conforming: &[|_| ()],
        violating: &[|s| {
            let all: Vec<String> = (0..41).map(|i| NAMES[i].to_owned()).collect();
            for set in ["bounding", "effective", "permitted"] {
                s["process"]["capabilities"][set] = json!(all);
            }
            s["linux"].as_object_mut().unwrap().remove("seccomp");
            s["linux"]["maskedPaths"] = json!([]);
            s["linux"]["readonlyPaths"] = json!([]);
            s["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
        }],
    },
    Control {
        name: "capabilities.add",
        rule: "caps.never",
        conforming: &[|s| sets(s, BASELINE_CAPABILITIES)],
        violating: &[
            |s| sets(s, &["CAP_SYS_ADMIN"]),
            |s| sets(s, &["CAP_NET_ADMIN"]),
            |s| sets(s, &["CAP_SYS_PTRACE"]),
        ],
    },
    Control {
        name: "hostPath",
        rule: "mount.host-path",
        conforming: &[
            |s| bind(s, &format!("{VOLUME}empty-dir/a"), json!(["rbind", "rw"])),
            |s| bind(s, &format!("{VOLUME}csi/a/mount"), json!(["rbind", "rw"])),
        ],
        violating: &[|s| bind(s, "/srv/data", json!(["rbind", "ro"])), |s| bind(s, "/home", json!(["rbind"]))],
    },
    Control {
        name: "AppArmor",
        rule: "process.apparmor",
        conforming: &[
            |s| s["process"]["apparmorProfile"] = json!("cri-containerd.apparmor.d"),
            |s| s["process"]["apparmorProfile"] = json!(""),
        ],
        violating: &[|s| s["process"]["apparmorProfile"] = json!("unconfined")],
    },
    Control {
        name: "SELinux type",
        rule: "process.selinux",
        conforming: &[
            |s| s["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0:c1,c2"),
            |s| s["process"]["selinuxLabel"] = json!("system_u:system_r:container_init_t:s0"),
            |s| s["process"]["selinuxLabel"] = json!("system_u:system_r:container_kvm_t:s0"),
            |s| s["process"]["selinuxLabel"] = json!("system_u:system_r:container_engine_t:s0"),
        ],
        violating: &[
            |s| s["process"]["selinuxLabel"] = json!("system_u:system_r:spc_t:s0"),
            |s| s["process"]["selinuxLabel"] = json!("system_u:system_r:unconfined_t:s0"),
        ],
    },
    Control {
        name: "procMount: masked",
        rule: "linux.masked",
        conforming: &[|_| ()],
        violating: &[|s| s["linux"]["maskedPaths"] = json!([])],
    },
    Control {
        name: "procMount: read-only",
        rule: "linux.readonly",
        conforming: &[|_| ()],
        violating: &[|s| s["linux"]["readonlyPaths"] = json!([])],
    },
    Control {
        name: "seccomp Unconfined",
        rule: "linux.seccomp",
        conforming: &[|_| ()],
        violating: &[|s| drop(s["linux"].as_object_mut().unwrap().remove("seccomp"))],
    },
    Control {
        name: "sysctls",
        rule: "linux.sysctl",
        conforming: &[|s| {
            s["linux"]["sysctl"] = json!({
                "kernel.shm_rmid_forced": "1", "net.ipv4.ip_local_port_range": "1024 65535", "net.ipv4.tcp_syncookies": "1",
                "net.ipv4.ping_group_range": "0 2147483647", "net.ipv4.ip_unprivileged_port_start": "0",
                "net.ipv4.ip_local_reserved_ports": "8080", "net.ipv4.tcp_keepalive_time": "600",
                "net.ipv4.tcp_fin_timeout": "30", "net.ipv4.tcp_keepalive_intvl": "60", "net.ipv4.tcp_keepalive_probes": "5",
                "net.ipv4.tcp_rmem": "4096 87380 16777216", "net.ipv4.tcp_wmem": "4096 87380 16777216",
                "net.ipv4.tcp_slow_start_after_idle": "0", "net.ipv4.tcp_notsent_lowat": "16384",
            })
        }],
        violating: &[
            |s| s["linux"]["sysctl"] = json!({"kernel.core_pattern": "|/x"}),
            |s| s["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"}),
            |s| s["linux"]["sysctl"] = json!({"kernel.shm_rmid_forced": "1+kernel.core_pattern=|/x"}),
        ],
    },
];

/// PSS restricted, beyond baseline.
const RESTRICTED: &[Control] = &[
    Control {
        name: "volume types",
        rule: "mount.host-path",
        conforming: &[
            |s| bind(s, &format!("{VOLUME}configmap/a"), json!(["rbind", "ro"])),
            |s| bind(s, &format!("{VOLUME}csi/a/mount"), json!(["rbind", "rw"])),
            |s| bind(s, &format!("{VOLUME}downward-api/a"), json!(["rbind", "ro"])),
            |s| bind(s, &format!("{VOLUME}empty-dir/a"), json!(["rbind", "rw"])),
            |s| bind(s, &format!("{VOLUME}projected/a"), json!(["rbind", "ro"])),
            |s| bind(s, &format!("{VOLUME}secret/a"), json!(["rbind", "ro"])),
        ],
        violating: &[|s| bind(s, "/srv/data", json!(["rbind", "ro"]))],
    },
    Control {
        name: "allowPrivilegeEscalation",
        rule: "process.nnp",
        conforming: &[|s| s["process"]["noNewPrivileges"] = json!(true)],
        violating: &[
            |s| s["process"]["noNewPrivileges"] = json!(false),
            |s| drop(s["process"].as_object_mut().unwrap().remove("noNewPrivileges")),
        ],
    },
    Control {
        name: "runAsNonRoot, runAsUser",
        rule: "user.non-root",
        conforming: &[|s| s["process"]["user"]["uid"] = json!(1)],
        violating: &[|s| s["process"]["user"]["uid"] = json!(0)],
    },
    Control {
        name: "seccomp must be set",
        rule: "linux.seccomp",
        conforming: &[|_| ()],
        violating: &[|s| drop(s["linux"].as_object_mut().unwrap().remove("seccomp"))],
    },
    Control {
        name: "capabilities: drop ALL, add NET_BIND_SERVICE",
        rule: "caps.allow-list",
        conforming: &[|s| sets(s, &["CAP_NET_BIND_SERVICE"]), |s| sets(s, &[])],
        violating: &[|s| sets(s, &["CAP_CHOWN"]), |s| sets(s, &["CAP_NET_RAW"])],
    },
    Control {
        name: "procMount always Default",
        rule: "mount.proc",
        conforming: &[|_| ()],
        violating: &[|s| *options_at(s, "/proc") = json!([])],
    },
    Control {
        name: "no other filesystem",
        rule: "mount.type",
        conforming: &[|s| mount(s, "/t", "tmpfs", json!(["size=1m"]))],
        violating: &[|s| mount(s, "/t", "nfs", json!([])), |s| mount(s, "/t", "debugfs", json!([]))],
    },
];

/// `capabilities.add` of the baseline.
const BASELINE_CAPABILITIES: &[&str] = &[
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// capabilities(7), all 41.
const NAMES: [&str; 41] = [
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
];

fn namespace(spec: &mut serde_json::Value, kind: &str, path: &str) {
    without(spec, kind);
    push(&mut spec["linux"]["namespaces"], json!({"type": kind, "path": path}));
}

fn without(spec: &mut serde_json::Value, kind: &str) {
    spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != kind);
}

fn sets(spec: &mut serde_json::Value, names: &[&str]) {
    for set in ["bounding", "effective", "permitted"] {
        spec["process"]["capabilities"][set] = json!(names);
    }
}

fn walk(policy: &Policy, controls: &[Control]) {
    for Control { name, rule, conforming, violating } in controls {
        assert!(!conforming.is_empty() && !violating.is_empty(), "{name}");
        for (i, edit) in conforming.iter().enumerate() {
            assert_eq!(judged(rule, policy, *edit), Clean, "{name}: conforming {i}");
        }
        for (i, edit) in violating.iter().enumerate() {
            let verdict = judged(rule, policy, *edit);
            assert!(matches!(verdict, Denied | Mutated), "{name}: violating {i} is {verdict:?}");
        }
    }
}

#[test]
fn baseline_is_the_standards_baseline() {
    walk(&Policy::from_toml("profile = \"baseline\"").unwrap(), BASELINE);
}

#[test]
fn restricted_is_the_standards_restricted() {
    walk(&Policy::builtin(), RESTRICTED);
    // Whatever baseline forbids, restricted does; its own lists of capabilities and volumes are shorter.
    let narrower = |control: &&Control| !matches!(control.rule, "caps.never");
    for control in BASELINE.iter().filter(narrower) {
        walk(&Policy::builtin(), std::slice::from_ref(control));
    }
}

#[test]
fn baseline_lets_pass_what_only_restricted_forbids() {
    let baseline = Policy::from_toml("profile = \"baseline\"").unwrap();
    assert_eq!(judged("user.non-root", &baseline, |s| s["process"]["user"]["uid"] = json!(0)), Audited);
    assert_eq!(judged("process.nnp", &baseline, |s| s["process"]["noNewPrivileges"] = json!(false)), Audited);
    assert_eq!(judged("caps.allow-list", &baseline, |s| sets(s, BASELINE_CAPABILITIES)), Clean);
}
