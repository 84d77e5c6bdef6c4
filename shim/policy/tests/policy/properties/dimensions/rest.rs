//! Paths of the kernel, the root filesystem, hooks, names, and whatever has no dimension of its own.

use serde_json::{Value, json};

use super::{Dimension, added_entries, at, changed, filled, items, place, plain, push, put, seen, texts};
use crate::generator::ID;
use crate::support;

pub(super) const ALL: &[Dimension] = &[
    Dimension::new("masked paths", masked, |d| drop(place(d, MASKED).as_array_mut().map(Vec::pop))),
    Dimension::new("read-only paths", readonly, |d| drop(place(d, READONLY).as_array_mut().map(Vec::pop))),
    Dimension::new("read-only root", read_only_root, |d| put(d, "/root/readonly", json!(false))),
    Dimension::new("root", root, |d| put(d, "/root/path", json!("/"))),
    Dimension::new("hooks", hooks, |d| push(d, "/hooks/createRuntime", json!({"path": "/usr/bin/x"}))),
    Dimension::new(
        "sysctls",
        |a, b| added_entries(a, b, "/linux/sysctl"),
        |d| {
            put(d, "/linux/sysctl/kernel.core_pattern", json!("|/x"));
        },
    ),
    Dimension::new(
        "annotations",
        |a, b| added_entries(a, b, "/annotations"),
        |d| {
            put(d, "/annotations/run.oci.hooks.stdout", json!("/x"));
        },
    ),
    Dimension::new("cgroup", cgroup, |d| put(d, "/linux/cgroupsPath", json!("/kubepods/other"))),
    Dimension::new(
        "mount label",
        |a, b| changed(a, b, "/linux/mountLabel"),
        |d| {
            put(d, "/linux/mountLabel", json!("system_u:object_r:etc_t:s0"));
        },
    ),
    Dimension::new(
        "personality",
        |a, b| filled(a, b, "/linux/personality"),
        |d| {
            put(d, "/linux/personality", json!({"domain": "LINUX32"}));
        },
    ),
    Dimension::new(
        "cache class",
        |a, b| filled(a, b, "/linux/intelRdt"),
        |d| {
            put(d, "/linux/intelRdt/closID", json!("x"));
        },
    ),
    Dimension::new(
        "memory policy",
        |a, b| filled(a, b, "/linux/memoryPolicy"),
        |d| {
            put(d, "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"}));
        },
    ),
    Dimension::new(
        "clocks",
        |a, b| filled(a, b, "/linux/timeOffsets"),
        |d| {
            put(d, "/linux/timeOffsets/boottime", json!({"secs": 1}));
        },
    ),
    Dimension::new(
        "network interfaces",
        |a, b| filled(a, b, "/linux/netDevices"),
        |d| {
            put(d, "/linux/netDevices/eth0", json!({"name": "x"}));
        },
    ),
    Dimension::new("all else", all_else, |d| put(d, "/hostname", json!("node-1"))),
];

const MASKED: &str = "/linux/maskedPaths";
const READONLY: &str = "/linux/readonlyPaths";

fn masked(before: &Value, after: &Value) -> Option<String> {
    let (old, new) = (texts(before, MASKED), texts(after, MASKED));
    let shown: Vec<&String> = old.difference(&new).collect();
    seen(!shown.is_empty(), || format!("{shown:?} are shown"))
}

/// What cannot be seen cannot be written either.
fn readonly(before: &Value, after: &Value) -> Option<String> {
    let (old, mut new) = (texts(before, READONLY), texts(after, READONLY));
    new.extend(texts(after, MASKED));
    let writable: Vec<&String> = old.difference(&new).collect();
    seen(!writable.is_empty(), || format!("{writable:?} can be written"))
}

fn read_only_root(before: &Value, after: &Value) -> Option<String> {
    let set = |document: &Value| *at(document, "/root/readonly") == json!(true);
    seen(set(before) && !set(after), || "can be written".to_owned())
}

fn root(_: &Value, after: &Value) -> Option<String> {
    let own = format!("{}/{ID}/rootfs", support::BUNDLE);
    let path = at(after, "/root/path");
    seen(*path != json!(own), || format!("is {path}"))
}

fn hooks(before: &Value, after: &Value) -> Option<String> {
    let stages = at(after, "/hooks").as_object().into_iter().flatten();
    let mut added = stages.flat_map(|(stage, list)| {
        let place = format!("/hooks/{stage}");
        let old = items(before, &place);
        list.as_array().into_iter().flatten().filter(move |hook| !old.contains(hook))
    });
    added.next().map(Value::to_string)
}

/// The one that was asked for, or one of the container's own.
fn cgroup(before: &Value, after: &Value) -> Option<String> {
    let (old, new) = (plain(at(before, "/linux/cgroupsPath")), plain(at(after, "/linux/cgroupsPath")));
    let own = old.is_null() && new == json!(format!("/default/{ID}"));
    seen(old != new && !own, || format!("was {old} and is {new}"))
}

/// Places that the other dimensions look at, or that the request decides about.
const KNOWN: &[&str] = &[
    "/process",
    "/root",
    "/mounts",
    "/hooks",
    "/annotations",
    "/linux/namespaces",
    "/linux/devices",
    "/linux/seccomp",
    "/linux/sysctl",
    "/linux/cgroupsPath",
    "/linux/maskedPaths",
    "/linux/readonlyPaths",
    "/linux/rootfsPropagation",
    "/linux/resources/devices",
    "/linux/resources/memory",
    "/linux/resources/cpu/quota",
    "/linux/resources/cpu/period",
    "/linux/resources/cpu/burst",
    "/linux/resources/cpu/realtimeRuntime",
    "/linux/resources/cpu/realtimePeriod",
    "/linux/resources/cpu/cpus",
    "/linux/resources/cpu/mems",
    "/linux/resources/hugepageLimits",
    "/linux/resources/blockIO",
    "/linux/resources/pids",
    "/linux/resources/network",
    "/linux/resources/unified",
];

/// Whatever else there is stays as it was.
fn all_else(before: &Value, after: &Value) -> Option<String> {
    let rest = |document: &Value| {
        let mut rest = document.clone();
        KNOWN.iter().for_each(|known| put(&mut rest, known, Value::Null));
        plain(&rest)
    };
    let (old, new) = (rest(before), rest(after));
    seen(old != new, || format!("was {old} and is {new}"))
}
