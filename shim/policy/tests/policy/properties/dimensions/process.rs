//! The process: capabilities, user, limits, scheduling, labels, program.

use serde_json::{Value, json};

use super::{Dimension, added_items, at, changed, filled, items, push, put, seen, texts};

pub(super) const ALL: &[Dimension] = &[
    Dimension::new("bounding", |a, b| capabilities(a, b, "bounding"), |d| add_capability(d, "bounding")).of_exec(),
    Dimension::new("effective", |a, b| capabilities(a, b, "effective"), |d| add_capability(d, "effective")).of_exec(),
    Dimension::new("permitted", |a, b| capabilities(a, b, "permitted"), |d| add_capability(d, "permitted")).of_exec(),
    Dimension::new("inheritable", |a, b| capabilities(a, b, "inheritable"), |d| add_capability(d, "inheritable"))
        .of_exec(),
    Dimension::new("ambient", |a, b| capabilities(a, b, "ambient"), |d| add_capability(d, "ambient")).of_exec(),
    Dimension::new("no_new_privs", no_new_privileges, |d| put(d, "/process/noNewPrivileges", json!(false))).of_exec(),
    Dimension::new("uid", |a, b| id(a, b, "/process/user/uid"), |d| make_root(d, "/process/user/uid")).of_exec(),
    Dimension::new("gid", gid, |d| make_root(d, "/process/user/gid")).of_exec(),
    Dimension::new("groups", groups, |d| push(d, "/process/user/additionalGids", json!(0))).of_exec(),
    Dimension::new("umask", umask, |d| put(d, "/process/user/umask", json!(0))),
    Dimension::new("rlimits", rlimits, raise_rlimits).of_exec(),
    Dimension::new("oom score", oom_score, |d| put(d, "/process/oomScoreAdj", json!(-1000))).of_exec(),
    Dimension::new("scheduler", scheduler, |d| put(d, "/process/scheduler", json!({"policy": "SCHED_FIFO"}))).of_exec(),
    Dimension::new("disk priority", io_priority, |d| {
        put(d, "/process/ioPriority", json!({"class": "IOPRIO_CLASS_RT", "priority": 0}))
    })
    .of_exec(),
    Dimension::new(
        "CPU affinity",
        |a, b| filled(a, b, "/process/execCPUAffinity"),
        |d| put(d, "/process/execCPUAffinity", json!({"initial": "0-7"})),
    ),
    Dimension::new(
        "AppArmor profile",
        |a, b| changed(a, b, "/process/apparmorProfile"),
        |d| put(d, "/process/apparmorProfile", json!("unconfined")),
    )
    .of_exec(),
    Dimension::new(
        "SELinux label",
        |a, b| changed(a, b, "/process/selinuxLabel"),
        |d| put(d, "/process/selinuxLabel", json!("system_u:system_r:spc_t:s0")),
    )
    .of_exec(),
    Dimension::new(
        "program",
        |a, b| changed(a, b, "/process/args"),
        |d| put(d, "/process/args", json!(["/proc/self/exe"])),
    ),
    Dimension::new(
        "working directory",
        |a, b| changed(a, b, "/process/cwd"),
        |d| put(d, "/process/cwd", json!("/proc/self/fd/7")),
    ),
    Dimension::new(
        "environment",
        |a, b| added_items(a, b, "/process/env"),
        |d| push(d, "/process/env", json!("ADDED=1")),
    ),
];

/// libcontainer leaves a root process with all capabilities where a set is absent, so each has to be written.
fn capabilities(before: &Value, after: &Value, set: &str) -> Option<String> {
    let pointer = format!("/process/capabilities/{set}");
    if !at(after, &pointer).is_array() {
        return Some("is not written".to_owned());
    }
    let (old, new) = (texts(before, &pointer), texts(after, &pointer));
    let more: Vec<&String> = new.difference(&old).collect();
    seen(!more.is_empty(), || format!("{more:?}"))
}

fn add_capability(document: &mut Value, set: &str) {
    push(document, &format!("/process/capabilities/{set}"), json!("CAP_SYS_ADMIN"));
}

fn no_new_privileges(before: &Value, after: &Value) -> Option<String> {
    let set = |document: &Value| at(document, "/process/noNewPrivileges").as_bool().unwrap_or(false);
    seen(set(before) && !set(after), || "is off".to_owned())
}

fn number(document: &Value, pointer: &str) -> u64 {
    at(document, pointer).as_u64().unwrap_or(0)
}

/// The highest id that is not refused.
const MAX_ID: u64 = 0x7fff_ffff;

fn make_root(document: &mut Value, pointer: &str) {
    if number(document, pointer) <= MAX_ID {
        put(document, pointer, json!(0));
    }
}

/// Another id than before is one that nobody asked for, unless it is in root's place.
fn id(before: &Value, after: &Value, pointer: &str) -> Option<String> {
    let (old, new) = (number(before, pointer), number(after, pointer));
    seen(new != old && (old != 0 || new == 0), || format!("was {old} and is {new}"))
}

/// Groups that own what no container should reach.
const HOST_GROUPS: &[u64] = &[0, 6, 9, 15, 42];

fn gid(before: &Value, after: &Value) -> Option<String> {
    let (old, new) = (number(before, "/process/user/gid"), number(after, "/process/user/gid"));
    let replaced = HOST_GROUPS.contains(&old) && !HOST_GROUPS.contains(&new);
    let own = items(before, "/process/user/additionalGids").iter().any(|gid| gid.as_u64() == Some(new));
    seen(new != old && !replaced && !own, || format!("was {old} and is {new}"))
}

/// The first process's own group counts as one of its groups.
fn groups(before: &Value, after: &Value) -> Option<String> {
    let pointer = "/process/user/additionalGids";
    let own = number(before, "/process/user/gid");
    let mut list = items(after, pointer).iter();
    let more = list.find(|gid| gid.as_u64() != Some(own) && !items(before, pointer).contains(gid));
    more.map(Value::to_string)
}

/// Bits of the mask that are gone. Absent, runtimes set 022.
fn umask(before: &Value, after: &Value) -> Option<String> {
    let mask = |document: &Value| at(document, "/process/user/umask").as_u64().unwrap_or(0o22);
    let lost = mask(before) & !mask(after) & 0o777;
    seen(lost != 0, || format!("{lost:#o} are not masked"))
}

/// The limit of a kind that counts: the last one.
fn rlimit(document: &Value, kind: &str) -> Option<(u64, u64)> {
    let last = items(document, "/process/rlimits").iter().rev().find(|limit| limit["type"] == kind)?;
    Some((number(last, "/soft"), number(last, "/hard")))
}

fn rlimits(before: &Value, after: &Value) -> Option<String> {
    let mut kinds = items(before, "/process/rlimits").iter().filter_map(|limit| limit["type"].as_str());
    kinds.find_map(|kind| {
        let old = rlimit(before, kind)?;
        let new = rlimit(after, kind).unwrap_or((u64::MAX, u64::MAX));
        seen(new.0 > old.0 || new.1 > old.1, || format!("{kind} was {old:?} and is {new:?}"))
    })
}

fn raise_rlimits(document: &mut Value) {
    for kind in ["RLIMIT_CORE", "RLIMIT_NOFILE"] {
        push(document, "/process/rlimits", json!({"type": kind, "soft": u64::MAX, "hard": u64::MAX}));
    }
}

/// Absent: as the shim, which the kernel spares as little as any process.
fn oom_score(before: &Value, after: &Value) -> Option<String> {
    let score = |document: &Value| at(document, "/process/oomScoreAdj").as_i64().unwrap_or(0);
    let (old, new) = (score(before), score(after));
    seen(new < old, || format!("was {old} and is {new}"))
}

/// 3: before all others; 2: raised; 1: any other class; 0: none of its own.
fn scheduler_rank(document: &Value) -> u8 {
    let scheduler = at(document, "/process/scheduler");
    let raised = scheduler["nice"].as_i64().is_some_and(|nice| nice < 0);
    match scheduler["policy"].as_str() {
        None => 0,
        Some("SCHED_FIFO" | "SCHED_RR" | "SCHED_DEADLINE" | "SCHED_ISO") => 3,
        Some(_) if raised => 2,
        Some(_) => 1,
    }
}

fn scheduler(before: &Value, after: &Value) -> Option<String> {
    let (old, new) = (scheduler_rank(before), scheduler_rank(after));
    seen(new > old, || format!("{}", at(after, "/process/scheduler")))
}

fn io_priority(before: &Value, after: &Value) -> Option<String> {
    let rank = |document: &Value| match at(document, "/process/ioPriority/class").as_str() {
        None => 0,
        Some("IOPRIO_CLASS_RT") => 2,
        Some(_) => 1,
    };
    seen(rank(after) > rank(before), || format!("{}", at(after, "/process/ioPriority")))
}
