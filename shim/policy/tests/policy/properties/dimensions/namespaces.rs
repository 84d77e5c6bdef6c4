//! What is shared with the host and with others.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Dimension, changed, items, place, push, seen};

pub(super) const ALL: &[Dimension] = &[
    Dimension::new("namespaces", kinds, |d| {
        if let Some(list) = place(d, "/linux/namespaces").as_array_mut() {
            list.retain(|one| one["type"] != "ipc");
        }
    }),
    Dimension::new("joined namespaces", joined, |d| {
        push(d, "/linux/namespaces", json!({"type": "network", "path": "/proc/1/ns/net"}));
    }),
    Dimension::new(
        "uid mappings",
        |a, b| changed(a, b, "/linux/uidMappings"),
        |d| {
            push(d, "/linux/uidMappings", json!({"containerID": 0, "hostID": 0, "size": 1}));
        },
    ),
    Dimension::new(
        "gid mappings",
        |a, b| changed(a, b, "/linux/gidMappings"),
        |d| {
            push(d, "/linux/gidMappings", json!({"containerID": 0, "hostID": 0, "size": 1}));
        },
    ),
];

const LIST: &str = "/linux/namespaces";

/// A kind that is not listed is the host's.
fn kinds(before: &Value, after: &Value) -> Option<String> {
    let of = |document: &Value| -> BTreeSet<String> {
        items(document, LIST).iter().map(|one| one["type"].to_string()).collect()
    };
    let (old, new) = (of(before), of(after));
    let shared: Vec<&String> = old.difference(&new).collect();
    seen(!shared.is_empty(), || format!("{shared:?} are the host's"))
}

/// What is joined was to be joined, and what was to be new is.
fn joined(before: &Value, after: &Value) -> Option<String> {
    let mut list = items(after, LIST).iter();
    let other = list.find(|one| one.get("path").is_some() && !items(before, LIST).contains(one));
    other.map(|one| format!("{one}"))
}
