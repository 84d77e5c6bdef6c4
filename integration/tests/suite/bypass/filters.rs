//! Filters of system calls that are none (contract §6.13).

use serde_json::{Value, json};

use super::ways::Way::{Init, Inside, Spec};
use super::{Bypass, powerless, refused, seen};
use crate::spec_edits::set;

const FILTERED: &[&str] = &["/probe", "try", "keyctl", "personality", "user-namespace"];

pub(super) const ENTRIES: &[Bypass] = &[
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
];

/// Some attempt was let through.
fn any(output: &str) -> bool {
    output.contains("\"reached\"")
}

fn filter(spec: &mut Value, filter: Value) {
    set(spec, "/linux/seccomp", filter);
}
