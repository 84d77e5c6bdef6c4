//! The dimensions of privilege: for each, whether one specification has more of it than another, and a way to add some.

mod devices;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod rest;
mod seccomp;

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// One dimension.
#[derive(Debug)]
pub(super) struct Dimension {
    pub(super) name: &'static str,
    /// What the second specification has that the first has not.
    pub(super) gained: fn(&Value, &Value) -> Option<String>,
    /// Adds some, and takes nothing away for which the specification would be refused.
    pub(super) widen: fn(&mut Value),
    /// A further process must not have more of it than the first one.
    pub(super) exec: bool,
}

impl Dimension {
    const fn new(name: &'static str, gained: fn(&Value, &Value) -> Option<String>, widen: fn(&mut Value)) -> Self {
        Self { name, gained, widen, exec: false }
    }

    /// The same of a dimension that exec requests have too.
    const fn of_exec(self) -> Self {
        Self { exec: true, ..self }
    }
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Dimension> {
    let tables = [process::ALL, mounts::ALL, devices::ALL, namespaces::ALL, resources::ALL, seccomp::ALL, rest::ALL];
    tables.into_iter().flatten()
}

/// Everything in which `after` exceeds `before`.
pub(super) fn gains(before: &Value, after: &Value) -> Vec<String> {
    gains_in(all(), before, after)
}

pub(super) fn gains_in(
    dimensions: impl Iterator<Item = &'static Dimension>,
    before: &Value,
    after: &Value,
) -> Vec<String> {
    let gained = dimensions.filter_map(|one| Some((one.name, (one.gained)(before, after)?)));
    gained.map(|(name, what)| format!("{name}: {what}")).collect()
}

/// A finding, if there is one.
fn seen(gained: bool, what: impl FnOnce() -> String) -> Option<String> {
    gained.then(what)
}

/// The value at a place; null where there is none.
fn at<'a>(document: &'a Value, pointer: &str) -> &'a Value {
    document.pointer(pointer).unwrap_or(&Value::Null)
}

fn items<'a>(document: &'a Value, pointer: &str) -> &'a [Value] {
    at(document, pointer).as_array().map(Vec::as_slice).unwrap_or_default()
}

fn texts(document: &Value, pointer: &str) -> BTreeSet<String> {
    items(document, pointer).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The place, made where there is none.
fn place<'a>(document: &'a mut Value, pointer: &str) -> &'a mut Value {
    pointer.split('/').skip(1).fold(document, |document, name| {
        if !document.is_object() {
            *document = json!({});
        }
        &mut document[name]
    })
}

fn put(document: &mut Value, pointer: &str, value: Value) {
    *place(document, pointer) = value;
}

fn push(document: &mut Value, pointer: &str, item: Value) {
    let list = place(document, pointer);
    match list.as_array_mut() {
        Some(list) => list.push(item),
        None => *list = json!([item]),
    }
}

/// Absent, null and empty are the same.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let there = map.iter().map(|(key, value)| (key, plain(value))).filter(|(_, value)| !value.is_null());
            let map: serde_json::Map<String, Value> = there.map(|(key, value)| (key.clone(), value)).collect();
            if map.is_empty() { Value::Null } else { Value::Object(map) }
        }
        Value::Array(list) if list.is_empty() => Value::Null,
        Value::Array(list) => list.iter().map(plain).collect(),
        Value::String(text) if text.is_empty() => Value::Null,
        other => other.clone(),
    }
}

/// Whether a place is another than it was, where no rule mends anything.
fn changed(before: &Value, after: &Value, pointer: &str) -> Option<String> {
    let (old, new) = (plain(at(before, pointer)), plain(at(after, pointer)));
    seen(old != new, || format!("{pointer} was {old} and is {new}"))
}

/// Whether a place has anything that it did not have; it may be empty now.
fn filled(before: &Value, after: &Value, pointer: &str) -> Option<String> {
    if plain(at(after, pointer)).is_null() { None } else { changed(before, after, pointer) }
}

/// Entries of a map that were not there, or had another value.
fn added_entries(before: &Value, after: &Value, pointer: &str) -> Option<String> {
    let (old, new) = (at(before, pointer), at(after, pointer));
    let mut entries = new.as_object().into_iter().flatten();
    entries.find(|(key, value)| old.get(key.as_str()) != Some(value)).map(|(key, value)| format!("{key:?}: {value}"))
}

/// Items of a list of which there are more than there were.
fn added_items(before: &Value, after: &Value, pointer: &str) -> Option<String> {
    let count = |document: &Value, item: &Value| items(document, pointer).iter().filter(|other| *other == item).count();
    items(after, pointer).iter().find(|item| count(after, item) > count(before, item)).map(Value::to_string)
}
