//! What a process that is added to a container asks for itself (contract §6.1, §6.2).

use palisade_integration::bundle_spec;
use palisade_integration::containerd::Runtime;
use palisade_integration::tasks::CreateOptions;
use serde_json::{Value, json};

use super::container::{Container, SLEEP};
use super::ways::Meeting;
use super::ways::Way::{Exec, Test};
use super::{Bypass, powerless, refused, seen};
use crate::lifecycle::waits_for_signal;
use crate::spec_edits::{push, set};
use crate::support::World;

const EXEC_SAME: &str = "exec is judged again and clamped to the container's own process";
const NEEDS_RESOURCE: &str = "needs CAP_SYS_RESOURCE, which a test machine may keep from root";
const NEWER: &str = "runc knows the field since 1.2, Debian's is older";
const NO_APPARMOR: &str = "needs a node with AppArmor";
const NO_SELINUX: &str = "needs a node with SELinux";

pub(super) const ENTRIES: &[Bypass] = &[
    powerless(
        "exec-root",
        "§6.1",
        "uid 0",
        Exec {
            make: |process| process["user"] = json!({ "uid": 0, "gid": 0 }),
            shown: |pid| seen::status(pid, "Uid").starts_with("0\t"),
        },
        EXEC_SAME,
    ),
    powerless(
        "exec-groups",
        "§6.1, CVE-2026-30892",
        "the groups root and disk",
        Exec {
            make: |process| process["user"] = json!({ "uid": 1000, "gid": 0, "additionalGids": [0, 6] }),
            shown: |pid| seen::status(pid, "Gid").starts_with("0\t") || seen::has_group(pid, "6"),
        },
        EXEC_SAME,
    ),
    powerless(
        "exec-new-privileges",
        "§6.1",
        "no_new_privs off",
        Exec {
            make: |process| process["noNewPrivileges"] = json!(false),
            shown: |pid| seen::status(pid, "NoNewPrivs") == "0",
        },
        EXEC_SAME,
    ),
    powerless(
        "exec-capabilities",
        "§6.1",
        "containerd's default capabilities, which CRI sends although the container was hardened",
        Exec { make: |_| (), shown: |pid| seen::capabilities(pid, "CapBnd") & !(1 << 10) != 0 },
        EXEC_SAME,
    ),
    powerless(
        "exec-ambient",
        "§6.1, CVE-2022-29162",
        "inheritable and ambient capabilities",
        Exec {
            make: |process| with_ambient(Some(process)),
            shown: |pid| seen::capabilities(pid, "CapInh") | seen::capabilities(pid, "CapAmb") != 0,
        },
        EXEC_SAME,
    ),
    refused(
        "exec-sys-admin",
        "§6.1",
        "CAP_SYS_ADMIN",
        Exec {
            make: |process| {
                for set in ["bounding", "effective", "permitted"] {
                    process["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
                }
            },
            shown: |pid| seen::capabilities(pid, "CapEff") & (1 << 21) != 0,
        },
        "caps.never",
    ),
    powerless(
        "exec-no-filter",
        "§6.2",
        "a further process without the container's filter",
        Exec { make: |_| (), shown: |pid| seen::status(pid, "Seccomp") == "0" },
        "the shim's runtime filters every exec",
    ),
    powerless(
        "exec-oom",
        "§6.1",
        "a process that the OOM killer spares, of a container that has an adjustment",
        Test("exec; the process as the host sees it", exec_oom),
        "exec.oom",
    )
    .untried(NEEDS_RESOURCE),
    powerless(
        "exec-oom-unset",
        "§6.1",
        "a process that the OOM killer spares, of a container that has no adjustment",
        Test("exec; the process as the host sees it", exec_oom_unset),
        "exec.oom",
    )
    .untried(NEEDS_RESOURCE),
    powerless(
        "exec-umask",
        "§6.1",
        "files that everybody may write, by umask 0",
        Exec { make: |process| process["user"]["umask"] = json!(0), shown: |pid| seen::status(pid, "Umask") == "0000" },
        "user.umask",
    )
    .untried("runc's exec leaves the mask as it is"),
    powerless(
        "exec-limits",
        "§6.1",
        "more open files than the container may have",
        Exec {
            make: |process| process["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "hard": 2048, "soft": 2048 }]),
            shown: |pid| seen::limit(pid, "Max open files").is_none_or(|most| most > 1024),
        },
        "exec.rlimits",
    ),
    powerless(
        "exec-realtime-limit",
        "§6.1",
        "a resource limit that lets it become real-time",
        Exec {
            make: |process| limit(Some(process), "RLIMIT_RTPRIO"),
            shown: |pid| seen::limit(pid, "Max realtime priority").is_none_or(|most| most > 0),
        },
        "process.rlimits",
    )
    .untried(NEEDS_RESOURCE),
    powerless(
        "exec-scheduler",
        "§6.1",
        "a higher priority than the host's own processes",
        Exec {
            make: |process| process["scheduler"] = json!({ "policy": "SCHED_OTHER", "nice": -20 }),
            shown: |pid| seen::stat(pid, 19) < 0,
        },
        "exec.sched",
    )
    .untried(NEWER),
    refused(
        "exec-cwd",
        "CVE-2024-21626",
        "a working directory of /proc/self/cwd",
        Exec { make: |process| process["cwd"] = json!("/proc/self/cwd"), shown: |_| true },
        "process.cwd",
    ),
    refused(
        "exec-runtime-binary",
        "CVE-2019-5736",
        "the runtime's own binary as the program",
        Exec { make: |process| process["args"] = json!(["/proc/self/exe", "--version"]), shown: |_| true },
        "process.args",
    )
    .untried("ends at once, and the control waits for a process that stays"),
    refused(
        "exec-apparmor",
        "§6.1",
        "the AppArmor profile unconfined",
        Exec { make: |process| process["apparmorProfile"] = json!("unconfined"), shown: |_| true },
        "process.apparmor",
    )
    .untried(NO_APPARMOR),
    refused(
        "exec-selinux",
        "§6.1",
        "the SELinux type spc_t",
        Exec { make: |process| process["selinuxLabel"] = json!("system_u:system_r:spc_t:s0"), shown: |_| true },
        "process.selinux",
    )
    .untried(NO_SELINUX),
];

fn exec_oom(world: &World, runtime: Runtime) -> Meeting {
    spared(world, runtime, |spec| set(spec, "/process/oomScoreAdj", json!(0)))
}

fn exec_oom_unset(world: &World, runtime: Runtime) -> Meeting {
    spared(world, runtime, |_| ())
}

fn spared(world: &World, runtime: Runtime, container: fn(&mut Value)) -> Meeting {
    let container = Container::make(world, runtime, SLEEP, container)?;
    container.start(CreateOptions::default())?;
    let mut process = bundle_spec::process(SLEEP);
    process["oomScoreAdj"] = json!(-999);
    container.tasks.exec(&container.id, "e1", &process)?;
    let pid = container.tasks.start(&container.id, "e1")?;
    waits_for_signal(pid)?;
    let score = seen::oom_score(pid);
    container.tasks.kill(&container.id, "e1", 9)?;
    container.tasks.wait(&container.id, "e1")?;
    container.tasks.delete_exec(&container.id, "e1")?;
    Ok(super::ways::seen(score < 0, format!("adjusted by {score}")))
}

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
