//! The five capability sets.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::parts::{Json, Temper, maybe, object};

/// Their OCI names.
pub(crate) const SETS: [&str; 5] = ["bounding", "effective", "permitted", "inheritable", "ambient"];

/// Every capability of capability.h.
pub(crate) const ALL: [&str; 41] = [
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

/// What containerd gives every container.
const USUAL: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

pub(super) fn of(temper: Temper) -> Json {
    maybe(90, object(SETS.into_iter().map(|name| (name, maybe(85, set(temper)))).collect()))
}

fn set(temper: Temper) -> Json {
    let usual = prop_oneof![
        2 => Just(Vec::new()),
        3 => Just(USUAL.to_vec()),
        5 => subsequence(&USUAL[..], 0..=USUAL.len()),
        // In no order, and some twice.
        2 => prop::collection::vec(select(&USUAL[..]), 0..6),
    ];
    let wild = prop_oneof![Just(ALL.to_vec()), subsequence(&ALL[..], 1..8)];
    temper.mix(usual.prop_map(names).boxed(), wild.prop_map(names).boxed())
}

fn names(names: Vec<&str>) -> Value {
    json!(names)
}
