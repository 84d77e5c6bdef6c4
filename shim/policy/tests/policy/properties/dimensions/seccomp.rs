//! System calls: every one that is known, with arguments at the edges of what either profile says of it.

use oci_spec::runtime::LinuxSeccomp;
use palisade_seccomp::verdicts;
use serde_json::{Value, json};
use syscalls::Sysno;

use super::{Dimension, at, items, push, seen, texts};

pub(super) const ALL: &[Dimension] = &[
    Dimension::new("system calls", calls, |d| {
        if d.pointer(PLACE).is_some_and(Value::is_object) {
            push(d, "/linux/seccomp/syscalls", json!({"names": ["mount", "bpf"], "action": "SCMP_ACT_ALLOW"}));
        }
    }),
    Dimension::new("system call tables", tables, |d| {
        if d.pointer(PLACE).is_some_and(Value::is_object) {
            push(d, ARCHITECTURES, json!("SCMP_ARCH_X86"));
        }
    }),
    Dimension::new("filter flags", flags, |d| {
        if d.pointer(FLAGS).is_some_and(Value::is_array) {
            push(d, FLAGS, json!("SECCOMP_FILTER_FLAG_SPEC_ALLOW"));
        }
    }),
];

const PLACE: &str = "/linux/seccomp";
const ARCHITECTURES: &str = "/linux/seccomp/architectures";
const FLAGS: &str = "/linux/seccomp/flags";

fn profile(document: &Value) -> Option<LinuxSeccomp> {
    serde_json::from_value(at(document, PLACE).clone()).ok()
}

/// A call that runs now and did not before. Where nobody can read a profile, it has to be the same.
fn calls(before: &Value, after: &Value) -> Option<String> {
    let old = profile(before)?;
    let Some(new) = profile(after) else { return Some("no filter".to_owned()) };
    let (Ok(old_verdict), Ok(new_verdict)) = (verdicts(&old), verdicts(&new)) else {
        return seen(old != new, || "a profile that nobody can read".to_owned());
    };
    let values = values(before, after);
    let mut calls = Sysno::iter().map(|call| call.name()).chain(["no_such_call"]).flat_map(|name| {
        let values = values.iter().find(|(known, _)| *known == name).map(|(_, values)| values.as_slice());
        arguments(values.unwrap_or_default()).into_iter().map(move |arguments| (name, arguments))
    });
    let gained =
        calls.find(|(name, arguments)| new_verdict(name, *arguments).runs() && !old_verdict(name, *arguments).runs());
    gained.map(|(name, arguments)| format!("{name}{arguments:x?}"))
}

/// For each system call, the (index, value) that either profile compares an argument with.
fn values(before: &Value, after: &Value) -> Vec<(String, Vec<(usize, u64)>)> {
    let entries = [before, after].into_iter().flat_map(|document| items(document, "/linux/seccomp/syscalls"));
    let mut values: Vec<(String, Vec<(usize, u64)>)> = Vec::new();
    for entry in entries.filter(|entry| entry["args"].is_array()) {
        let compared: Vec<(usize, u64)> = items(entry, "/args").iter().flat_map(compared).collect();
        for name in items(entry, "/names").iter().filter_map(Value::as_str) {
            match values.iter_mut().find(|(known, _)| known == name) {
                Some((_, all)) => all.extend(&compared),
                None => values.push((name.to_owned(), compared.clone())),
            }
        }
    }
    for (_, all) in &mut values {
        all.sort_unstable();
        all.dedup();
    }
    values
}

fn compared(argument: &Value) -> impl Iterator<Item = (usize, u64)> {
    let index = argument["index"].as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or(usize::MAX);
    ["value", "valueTwo"].into_iter().filter_map(move |field| Some((index, argument[field].as_u64()?)))
}

/// How many lists of arguments are tried for one system call.
const TRIED: usize = 160;

/// Arguments at, just below and just above each value, with other upper bits, and with one bit more or less.
fn arguments(values: &[(usize, u64)]) -> Vec<[u64; 6]> {
    let mut tried = vec![[0; 6], [u64::MAX; 6]];
    for (index, value) in values.iter().copied().filter(|(index, _)| *index < 6) {
        let near = [value, value.wrapping_sub(1), value.wrapping_add(1), value ^ (1 << 32), value ^ 1 << 31, !value];
        for (others, value) in [0, 1, u64::MAX].into_iter().flat_map(|others| near.map(|value| (others, value))) {
            let mut arguments = [others; 6];
            arguments[index] = value;
            tried.push(arguments);
        }
    }
    // Several at once, since a rule may look at more than one.
    for turn in 0..values.len() {
        let mut arguments = [0; 6];
        for (index, value) in values.iter().cycle().skip(turn).take(values.len()).filter(|(index, _)| *index < 6) {
            arguments[*index] = *value;
        }
        tried.push(arguments);
    }
    let step = tried.len().div_ceil(TRIED).max(1);
    tried.into_iter().step_by(step).collect()
}

/// Tables of system calls that the filter does not refuse as a whole. The native one always is let through.
fn tables(before: &Value, after: &Value) -> Option<String> {
    profile(before)?;
    let mut more = texts(after, ARCHITECTURES);
    more.retain(|table| !texts(before, ARCHITECTURES).contains(table) && !is_native(table));
    seen(!more.is_empty(), || format!("{more:?}"))
}

fn is_native(table: &str) -> bool {
    table == "SCMP_ARCH_NATIVE" || table == format!("SCMP_ARCH_{}", std::env::consts::ARCH.to_uppercase())
}

/// Without flags runtimes leave the mitigation of speculative stores off.
fn flags(before: &Value, after: &Value) -> Option<String> {
    profile(before)?;
    let has = |document: &Value, flag: &str| texts(document, FLAGS).contains(&format!("SECCOMP_FILTER_FLAG_{flag}"));
    let open = |document: &Value| !at(document, FLAGS).is_array() || has(document, "SPEC_ALLOW");
    let unlogged = has(before, "LOG") && !has(after, "LOG");
    seen((open(after) && !open(before)) || unlogged, || format!("{}", at(after, FLAGS)))
}
