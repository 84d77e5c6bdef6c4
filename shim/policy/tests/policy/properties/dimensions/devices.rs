//! Device nodes, and what the device rules let a process do with any device.

use serde_json::{Value, json};

use super::{Dimension, added_items, items, push, seen};

pub(super) const ALL: &[Dimension] = &[
    Dimension::new(
        "device nodes",
        |a, b| added_items(a, b, "/linux/devices"),
        |d| {
            push(d, "/linux/devices", json!({"path": "/dev/sda", "type": "b", "major": 8, "minor": 0}));
        },
    ),
    Dimension::new("device rules", rules, |d| {
        push(d, RULES, json!({"allow": true, "type": "b", "major": 8, "access": "rwm"}));
    }),
];

const RULES: &str = "/linux/resources/devices";

/// What somebody does with a device.
#[derive(Debug, Clone, Copy)]
struct Access {
    kind: &'static str,
    major: i64,
    minor: i64,
    what: &'static str,
}

fn matches(rule: &Value, access: Access) -> bool {
    let kind = match rule["type"].as_str().unwrap_or("a") {
        "a" => true,
        "u" => access.kind == "c",
        kind => kind == access.kind,
    };
    let number = |field: &str, own: i64| rule[field].as_i64().is_none_or(|number| number < 0 || number == own);
    kind && number("major", access.major)
        && number("minor", access.minor)
        && rule["access"].as_str().unwrap_or_default().contains(access.what)
}

/// The last rule that matches decides. Without any, nothing is forbidden.
fn allows(document: &Value, access: Access) -> bool {
    let last = items(document, RULES).iter().rev().find(|rule| matches(rule, access));
    last.is_none_or(|rule| rule["allow"] == true)
}

/// Every number that a rule names, and one that none does.
fn numbers(document: &Value, field: &str) -> Vec<i64> {
    let named = items(document, RULES).iter().filter_map(|rule| rule[field].as_i64()).filter(|number| *number >= 0);
    let mut numbers: Vec<i64> = named.chain([1, 8, 77]).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn rules(before: &Value, after: &Value) -> Option<String> {
    let both = |field: &str| [numbers(before, field), numbers(after, field)].concat();
    let (majors, minors) = (both("major"), both("minor"));
    let kinds = ["b", "c"].into_iter().flat_map(|kind| ["r", "w", "m"].into_iter().map(move |what| (kind, what)));
    for (kind, what) in kinds {
        for (major, minor) in majors.iter().flat_map(|major| minors.iter().map(|minor| (*major, *minor))) {
            let access = Access { kind, major, minor, what };
            let gained = allows(after, access) && !allows(before, access);
            if let Some(gained) = seen(gained, || format!("{access:?}")) {
                return Some(gained);
            }
        }
    }
    None
}
