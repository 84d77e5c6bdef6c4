//! What a container's first process asks for itself (contract §6.12).

use serde_json::{Value, json};

use super::ways::Way::{Init, Inside, Spec};
use super::{Bypass, powerless, refused, seen};
use crate::spec_edits::{add_capability, push, set};

const NEEDS_RESOURCE: &str = "needs CAP_SYS_RESOURCE, which a test machine may keep from root";
const NEWER: &str = "runc knows the field since 1.2, Debian's is older";
const NO_APPARMOR: &str = "needs a node with AppArmor";
const NO_SELINUX: &str = "needs a node with SELinux";

pub(super) const ENTRIES: &[Bypass] = &[
    powerless(
        "init-root",
        "§6.12, PSS runAsNonRoot",
        "uid 0",
        Init { make: |_| (), shown: |pid| seen::status(pid, "Uid").starts_with("0\t") },
        "user.non-root",
    ),
    powerless(
        "init-groups",
        "§6.12",
        "the groups root and disk",
        Init {
            make: |spec| set(spec, "/process/user/additionalGids", json!([0, 6])),
            shown: |pid| seen::has_group(pid, "0") || seen::has_group(pid, "6"),
        },
        "user.root-group",
    ),
    refused(
        "init-uid-wraps",
        "CVE-2024-40635",
        "a uid above 2³¹−1",
        Spec(|spec| set(spec, "/process/user/uid", json!(2_147_483_648_u64))),
        "user.range",
    )
    .untried("which numbers wrap differs by runtime and version"),
    powerless(
        "init-umask",
        "§6.12",
        "files that everybody may write, by umask 0",
        Init {
            make: |spec| set(spec, "/process/user/umask", json!(0)),
            shown: |pid| seen::status(pid, "Umask") == "0000",
        },
        "user.umask",
    ),
    powerless(
        "init-capabilities",
        "§6.12",
        "containerd's fourteen default capabilities",
        Init { make: |_| (), shown: |pid| seen::capabilities(pid, "CapBnd") & !(1 << 10) != 0 },
        "caps.allow-list",
    ),
    powerless(
        "init-inheritable",
        "CVE-2022-24769, CVE-2022-29162, CVE-2025-27612",
        "inheritable capabilities",
        Init {
            make: |spec| set(spec, "/process/capabilities/inheritable", json!(["CAP_CHOWN"])),
            shown: |pid| seen::capabilities(pid, "CapInh") != 0,
        },
        "caps.allow-list",
    ),
    powerless(
        "init-ambient",
        "§6.12",
        "ambient capabilities, which outlive a change of user",
        Init {
            make: |spec| with_ambient(spec.pointer_mut("/process")),
            shown: |pid| seen::capabilities(pid, "CapAmb") != 0,
        },
        "caps.allow-list",
    ),
    refused(
        "init-sys-admin",
        "§6.12",
        "CAP_SYS_ADMIN",
        Spec(|spec| add_capability(spec, "CAP_SYS_ADMIN")),
        "caps.never",
    ),
    refused(
        "init-sys-module",
        "controls §3",
        "CAP_SYS_MODULE",
        Spec(|spec| add_capability(spec, "CAP_SYS_MODULE")),
        "caps.never",
    ),
    refused(
        "init-sys-ptrace",
        "controls §3",
        "CAP_SYS_PTRACE",
        Spec(|spec| add_capability(spec, "CAP_SYS_PTRACE")),
        "caps.never",
    ),
    refused(
        "init-dac-read-search",
        "Shocker",
        "CAP_DAC_READ_SEARCH",
        Spec(|spec| add_capability(spec, "CAP_DAC_READ_SEARCH")),
        "caps.never",
    ),
    refused(
        "init-net-admin",
        "CVE-2024-1086, CVE-2022-32250",
        "CAP_NET_ADMIN",
        Spec(|spec| add_capability(spec, "CAP_NET_ADMIN")),
        "caps.never",
    ),
    refused(
        "init-sys-rawio",
        "§6.12",
        "CAP_SYS_RAWIO",
        Spec(|spec| add_capability(spec, "CAP_SYS_RAWIO")),
        "caps.never",
    ),
    refused("init-bpf", "§6.12", "CAP_BPF", Spec(|spec| add_capability(spec, "CAP_BPF")), "caps.never"),
    powerless(
        "init-new-privileges",
        "§6.12, PSS allowPrivilegeEscalation",
        "no_new_privs off",
        Init {
            make: |spec| set(spec, "/process/noNewPrivileges", json!(false)),
            shown: |pid| seen::status(pid, "NoNewPrivs") == "0",
        },
        "process.nnp",
    ),
    powerless(
        "set-uid-program",
        "§6.26",
        "a set-uid program of root's in the image, run by uid 1000",
        Inside {
            make: |spec| {
                set(spec, "/process/user", json!({ "uid": 1000, "gid": 1000 }));
                set(spec, "/process/noNewPrivileges", json!(false));
            },
            args: &["/probe-as-root", "try", "read-file-of-root"],
            shown: |output| output.contains("\"reached\""),
        },
        "process.nnp",
    ),
    refused(
        "init-apparmor",
        "§6.12, PSS AppArmor",
        "the AppArmor profile unconfined",
        Spec(|spec| set(spec, "/process/apparmorProfile", json!("unconfined"))),
        "process.apparmor",
    )
    .untried(NO_APPARMOR),
    refused(
        "init-selinux",
        "§6.12, PSS SELinux",
        "the SELinux type spc_t",
        Spec(|spec| set(spec, "/process/selinuxLabel", json!("system_u:system_r:spc_t:s0"))),
        "process.selinux",
    )
    .untried(NO_SELINUX),
    powerless(
        "init-core-dumps",
        "controls §3, CVE-2022-4415",
        "core dumps without limit, which the host's core_pattern handles",
        Init {
            make: |spec| limit(spec.pointer_mut("/process"), "RLIMIT_CORE"),
            shown: |pid| seen::limit(pid, "Max core file size").is_none(),
        },
        "process.rlimits",
    ),
    powerless(
        "init-realtime-limit",
        "§6.12",
        "a resource limit that lets it become real-time",
        Init {
            make: |spec| limit(spec.pointer_mut("/process"), "RLIMIT_RTPRIO"),
            shown: |pid| seen::limit(pid, "Max realtime priority").is_none_or(|most| most > 0),
        },
        "process.rlimits",
    )
    .untried(NEEDS_RESOURCE),
    powerless(
        "init-message-queues",
        "controls §3",
        "message queues without limit, which is the host's kernel memory",
        Init {
            make: |spec| limit(spec.pointer_mut("/process"), "RLIMIT_MSGQUEUE"),
            shown: |pid| seen::limit(pid, "Max msgqueue size").is_none(),
        },
        "process.rlimits",
    )
    .untried(NEEDS_RESOURCE),
    powerless(
        "init-scheduler",
        "§6.12",
        "a higher priority than the host's own processes",
        Init {
            make: |spec| set(spec, "/process/scheduler", json!({ "policy": "SCHED_OTHER", "nice": -20 })),
            shown: |pid| seen::stat(pid, 19) < 0,
        },
        "process.sched",
    )
    .untried(NEWER),
    powerless(
        "init-io-priority",
        "§6.12",
        "the real-time class of disk access",
        Inside {
            make: |spec| {
                set(spec, "/process/ioPriority", json!({ "class": "IOPRIO_CLASS_RT", "priority": 0 }));
            },
            args: &["/bin/busybox", "ionice"],
            shown: |output| output.contains("realtime"),
        },
        "process.sched",
    )
    .untried(NEWER),
    refused(
        "init-cwd",
        "CVE-2024-21626",
        "a working directory of /proc/self/cwd",
        Spec(|spec| set(spec, "/process/cwd", json!("/proc/self/cwd"))),
        "process.cwd",
    ),
    refused(
        "init-cwd-descriptor",
        "CVE-2024-21626",
        "a working directory behind a descriptor of the runtime's",
        Spec(|spec| set(spec, "/process/cwd", json!("/proc/self/fd/7"))),
        "process.cwd",
    )
    .stops_too("runc has closed its descriptors since 1.1.12"),
    refused(
        "init-runtime-binary",
        "CVE-2019-5736",
        "the runtime's own binary as the program",
        Spec(|spec| set(spec, "/process/args", json!(["/proc/self/exe", "--version"]))),
        "process.args",
    ),
    refused(
        "init-runtime-binary-by-path",
        "CVE-2019-5736",
        "the runtime's own binary, found through PATH",
        Spec(|spec| {
            set(spec, "/process/args", json!(["exe", "--version"]));
            set(spec, "/process/env", json!(["PATH=/proc/self"]));
        }),
        "process.args",
    ),
    refused(
        "init-personality",
        "§6.16",
        "another execution domain",
        Spec(|spec| set(spec, "/linux/personality", json!({ "domain": "LINUX32" }))),
        "linux.personality",
    ),
];

fn with_ambient(process: Option<&mut Value>) {
    if let Some(process) = process {
        process["capabilities"]["inheritable"] = json!(["CAP_CHOWN"]);
        process["capabilities"]["ambient"] = json!(["CAP_CHOWN"]);
    }
}

/// Asks for a resource limit that is none.
fn limit(process: Option<&mut Value>, kind: &str) {
    if let Some(process) = process {
        push(process, "/rlimits", json!({ "type": kind, "hard": u64::MAX, "soft": u64::MAX }));
    }
}
