//! Namespaces and the mappings of ids.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Role;
use super::parts::{Json, Temper, joined, maybe, numbers, object, pick, row};

/// Namespaces that a container has to have.
const NEEDED: [&str; 4] = ["pid", "network", "ipc", "uts"];

/// First host id of a tame mapping.
const REMAPPED: u32 = 1_048_576;

/// `namespaces`, `uidMappings` and `gidMappings`.
pub(super) fn of(role: Role, temper: Temper) -> Json {
    let needed = NEEDED.into_iter().map(|kind| temper.mix(own_or_pods(kind, role), anyones(kind)));
    let mount = temper.mix(new("mount"), anyones("mount"));
    let further =
        ["cgroup", "time"].into_iter().map(|kind| temper.mix(maybe(60, own_or_pods(kind, role)), anyones(kind)));
    let list = row(needed.chain([mount]).chain(further).collect());
    let twice = temper.mix(row(vec![]), row(vec![new("pid"), anyones("network")]));
    (list, twice, user(temper)).prop_map(put_together).boxed()
}

fn put_together((list, twice, user): (Value, Value, Value)) -> Value {
    let of = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut parts = user.as_object().cloned().unwrap_or_default();
    let namespaces: Vec<Value> = of(&list).into_iter().chain(of(&twice)).chain(parts.remove("user")).collect();
    parts.insert("namespaces".to_owned(), json!(namespaces));
    Value::Object(parts)
}

fn new(kind: &'static str) -> Json {
    pick(vec![json!({"type": kind})])
}

fn own_or_pods(kind: &'static str, role: Role) -> Json {
    let path = if role == Role::Sandbox { format!("/run/netns/{kind}") } else { format!("/proc/1234/ns/{kind}") };
    pick(vec![json!({"type": kind}), json!({"type": kind, "path": path})])
}

/// The host's in both ways, another's, and one that cannot be looked at.
fn anyones(kind: &'static str) -> Json {
    let at = |path: &str| json!({"type": kind, "path": format!("{path}/{kind}")});
    pick(vec![Value::Null, json!({"type": kind}), at("/proc/1/ns"), at("/other"), at("/unresolved")])
}

/// A user namespace with its mappings under `user`, or none.
fn user(temper: Temper) -> Json {
    let namespace = pick(vec![json!({"type": "user"}), json!({"type": "user", "path": "/proc/1234/ns/user"})]);
    let with = object(vec![("user", namespace), ("uidMappings", mappings()), ("gidMappings", mappings())]);
    let without = object(vec![("uidMappings", maybe(10, mappings())), ("gidMappings", maybe(10, mappings()))]);
    let odd = object(vec![
        ("user", anyones("user")),
        ("uidMappings", maybe(60, wild_mappings())),
        ("gidMappings", maybe(60, wild_mappings())),
    ]);
    let tame = prop_oneof![3 => without, 1 => with].boxed();
    temper.mix(tame, odd)
}

pub(super) fn mappings() -> Json {
    pick(vec![
        json!([{"containerID": 0, "hostID": REMAPPED, "size": 65_536}]),
        json!([{"containerID": 0, "hostID": 65_536, "size": 1}, {"containerID": 1000, "hostID": REMAPPED, "size": 1}]),
    ])
}

pub(super) fn wild_mappings() -> Json {
    let ids: fn() -> Json = || numbers(&[0_u32, 1, 1000, 65_535, 65_536, u32::MAX]);
    let one = move || object(vec![("containerID", ids()), ("hostID", ids()), ("size", ids())]);
    joined(row(vec![one()]), row(vec![maybe(30, one())]))
}
