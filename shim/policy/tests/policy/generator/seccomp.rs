//! System call profiles: none, one that allows all, tight ones with arguments and flags, and ones that nobody can read.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::parts::{Json, Temper, joined, list, maybe, merged, numbers, object, pick, row, words};

const CALLS: &[&str] = &[
    "clone",
    "clone3",
    "execve",
    "ioctl",
    "mount",
    "openat",
    "personality",
    "prctl",
    "ptrace",
    "read",
    "setns",
    "socket",
    "unshare",
    "write",
    "no_such_call",
];

const ARCHITECTURES: &[&str] =
    &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_NATIVE", "SCMP_ARCH_AARCH64"];

const VALUES: &[u64] =
    &[0, 1, 2, 8, 16, 38, 40, 0x5412, 0x7e02_0000, 0xffff_ffff, 0x1_0000_0000, u64::MAX - 1, u64::MAX];

/// Actions without an errno.
const PLAIN: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_LOG",
];

pub(super) fn of(temper: Temper) -> Json {
    let tame = prop_oneof![
        3 => Just(Value::Null),
        1 => Just(json!({"defaultAction": "SCMP_ACT_ALLOW"})),
        6 => profile(temper),
    ];
    temper.mix(tame.boxed(), unreadable())
}

fn profile(temper: Temper) -> Json {
    let flags = words(&[
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ]);
    let rest = object(vec![
        ("architectures", maybe(70, list(words(ARCHITECTURES), 3))),
        ("flags", maybe(30, list(flags, 3))),
        ("syscalls", maybe(95, joined(list(entry(temper), 6), row(vec![maybe(50, usual())])))),
    ]);
    merged(vec![action(temper, "defaultAction", "defaultErrnoRet"), rest])
}

/// An action, and an errno where it takes one.
fn action(temper: Temper, action: &'static str, errno: &'static str) -> Json {
    let numbers = || pick([0, 1, 38, 4095].map(|errno| json!(errno)).to_vec());
    let with = object(vec![(action, words(&["SCMP_ACT_ERRNO"])), (errno, maybe(40, numbers()))]);
    let without = object(vec![(action, words(PLAIN))]);
    let odd = object(vec![(action, words(PLAIN)), (errno, numbers())]);
    temper.mix(prop_oneof![2 => with, 3 => without].boxed(), odd)
}

/// What lets ordinary programs run.
fn usual() -> Json {
    pick(vec![json!({
        "names": ["accept4", "brk", "close", "execve", "exit_group", "fstat", "futex", "mmap", "openat", "read", "write"],
        "action": "SCMP_ACT_ALLOW",
    })])
}

fn entry(temper: Temper) -> Json {
    let names = joined(row(vec![words(CALLS)]), list(words(CALLS), 3));
    let rest = object(vec![("names", names), ("args", maybe(50, list(argument(temper), 3)))]);
    merged(vec![action(temper, "action", "errnoRet"), rest])
}

fn argument(temper: Temper) -> Json {
    let operators = words(&[
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_MASKED_EQ",
    ]);
    let index = pick((0..=5).map(|index| json!(index)).collect());
    object(vec![
        ("index", temper.mix(index, pick(vec![json!(6), json!(u32::MAX)]))),
        ("value", numbers(VALUES)),
        ("valueTwo", maybe(40, numbers(VALUES))),
        ("op", operators),
    ])
}

fn unreadable() -> Json {
    pick(vec![
        json!({"defaultAction": "SCMP_ACT_NOTIFY"}),
        json!({"defaultAction": "SCMP_ACT_TRACE"}),
        json!({"defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "/run/x.sock", "listenerMetadata": "x",
               "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]}),
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}),
    ])
}
