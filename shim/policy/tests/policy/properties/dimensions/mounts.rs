//! Mounts: how many, where, of what, and with which options.

use serde_json::{Value, json};

use super::{Dimension, at, changed, items, plain, push, put, seen};

pub(super) const ALL: &[Dimension] = &[
    Dimension::new("mounts", count, |d| {
        push(d, "/mounts", json!({"destination": "/extra", "type": "bind", "source": "/etc", "options": ["rbind"]}));
    }),
    Dimension::new(
        "mount destinations",
        |a, b| each(a, b, |old, new| changed(old, new, "/destination")),
        |d| on_last(d, |mount| put(mount, "/destination", json!("/"))),
    ),
    Dimension::new(
        "mount types",
        |a, b| each(a, b, |old, new| changed(old, new, "/type")),
        |d| {
            on_last(d, |mount| put(mount, "/type", json!("debugfs")));
            on_last(d, |mount| {
                if let Some(options) = mount["options"].as_array_mut() {
                    options.retain(|option| option != "bind" && option != "rbind");
                }
            });
        },
    ),
    Dimension::new("mount sources", sources, |d| {
        on_last(d, |mount| *mount = json!({"destination": "/x", "type": "bind", "source": "/"}));
    }),
    Dimension::new(
        "mount flags",
        |a, b| each(a, b, flags),
        |d| {
            on_each(d, |mount| {
                ["rw", "suid", "dev", "exec"].iter().for_each(|word| push(mount, "/options", json!(word)))
            });
        },
    ),
    Dimension::new(
        "recursive mount flags",
        |a, b| each(a, b, recursive_flags),
        |d| {
            on_each(d, |mount| {
                ["rrw", "rsuid", "rdev", "rexec"].iter().for_each(|word| push(mount, "/options", json!(word)))
            });
        },
    ),
    Dimension::new(
        "mount options",
        |a, b| each(a, b, options),
        |d| {
            on_last(d, |mount| push(mount, "/options", json!("lowerdir=/etc")));
        },
    ),
    Dimension::new(
        "propagation",
        |a, b| each(a, b, propagation),
        |d| {
            on_each(d, |mount| push(mount, "/options", json!("rshared")));
        },
    ),
    Dimension::new(
        "tmpfs size",
        |a, b| each(a, b, size),
        |d| {
            on_each(d, |mount| {
                if mount["type"] == "tmpfs" {
                    push(mount, "/options", json!("size=0"));
                }
            });
        },
    ),
    Dimension::new(
        "idmapped mounts",
        |a, b| each(a, b, mappings),
        |d| {
            on_last(d, |mount| push(mount, "/uidMappings", json!({"containerID": 0, "hostID": 0, "size": 1})));
        },
    ),
    Dimension::new("root propagation", root_propagation, |d| put(d, "/linux/rootfsPropagation", json!("rshared"))),
];

fn count(before: &Value, after: &Value) -> Option<String> {
    let (old, new) = (items(before, "/mounts").len(), items(after, "/mounts").len());
    seen(old != new, || format!("were {old} and are {new}"))
}

fn each(before: &Value, after: &Value, gained: fn(&Value, &Value) -> Option<String>) -> Option<String> {
    let mut pairs = items(before, "/mounts").iter().zip(items(after, "/mounts"));
    pairs.find_map(|(old, new)| Some(format!("{} at {}", gained(old, new)?, new["destination"])))
}

fn on_each(document: &mut Value, change: impl Fn(&mut Value)) {
    if let Some(mounts) = document["mounts"].as_array_mut() {
        mounts.iter_mut().for_each(change);
    }
}

fn on_last(document: &mut Value, change: impl Fn(&mut Value)) {
    if let Some(mount) = document["mounts"].as_array_mut().and_then(|mounts| mounts.last_mut()) {
        change(mount);
    }
}

/// The tests' host has links below /link/to; the policy writes down where they lead.
fn sources(before: &Value, after: &Value) -> Option<String> {
    each(before, after, |old, new| {
        let of = |mount: &Value| at(mount, "/source").as_str().unwrap_or_default().to_owned();
        let (old, new) = (of(old), of(new));
        seen(new != old && new != old.replace("/link/to/", "/"), || format!("{old:?} became {new:?}"))
    })
}

fn words(mount: &Value) -> impl DoubleEndedIterator<Item = &str> {
    items(mount, "/options").iter().filter_map(Value::as_str)
}

/// Whether the last word of a pair is the restricting one.
fn is_on(mount: &Value, flag: &str, opposite: &str) -> bool {
    words(mount).rev().find(|word| *word == flag || *word == opposite) == Some(flag)
}

const FLAGS: &[(&str, &str)] =
    &[("ro", "rw"), ("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec"), ("nosymfollow", "symfollow")];

const RECURSIVE: &[(&str, &str)] =
    &[("rro", "rrw"), ("rnosuid", "rsuid"), ("rnodev", "rdev"), ("rnoexec", "rexec"), ("rnosymfollow", "rsymfollow")];

fn flags(before: &Value, after: &Value) -> Option<String> {
    let mut all = FLAGS.iter();
    let lost = all.find(|(flag, opposite)| is_on(before, flag, opposite) && !is_on(after, flag, opposite));
    lost.map(|(flag, _)| format!("no {flag}"))
}

/// The recursive words: the restriction stays, and what lifts one comes from nowhere.
fn recursive_flags(before: &Value, after: &Value) -> Option<String> {
    RECURSIVE.iter().find_map(|(flag, opposite)| {
        let lost = is_on(before, flag, opposite) && !is_on(after, flag, opposite);
        let lifted = is_on(after, opposite, flag) && !is_on(before, opposite, flag);
        seen(lost || lifted, || format!("no {flag}"))
    })
}

/// Words that the policy adds. All others were there.
const MENDED: &[&str] = &["ro", "nosuid", "nodev", "noexec", "rro", "rnosuid", "rnodev", "rprivate"];

fn options(before: &Value, after: &Value) -> Option<String> {
    let asked: Vec<&str> = words(before).collect();
    let mut new = words(after).filter(|word| !asked.contains(word));
    new.find(|word| !MENDED.contains(word) && !word.starts_with("size=")).map(str::to_owned)
}

fn rank(word: &str) -> Option<u8> {
    match word {
        "private" | "rprivate" | "unbindable" | "runbindable" => Some(0),
        "slave" | "rslave" => Some(1),
        "shared" | "rshared" => Some(2),
        _ => None,
    }
}

/// Where a mount says nothing it is what its source was, or a slave of that.
const UNSAID: u8 = 1;

fn propagation(before: &Value, after: &Value) -> Option<String> {
    let highest = |mount: &Value| words(mount).filter_map(rank).max();
    let (old, new) = (highest(before), highest(after));
    let gained = new.unwrap_or(UNSAID) > old.unwrap_or(UNSAID);
    seen(gained || (old.is_some() && new.is_none()), || format!("was {old:?} and is {new:?}"))
}

fn root_propagation(before: &Value, after: &Value) -> Option<String> {
    let of = |document: &Value| at(document, "/linux/rootfsPropagation").as_str().and_then(rank);
    let (old, new) = (of(before), of(after));
    seen(new > old || (old.is_some() && new.is_none()), || format!("was {old:?} and is {new:?}"))
}

/// Bytes that may be written; the last size counts, and 0 is none.
fn size(before: &Value, after: &Value) -> Option<String> {
    if before["type"] != "tmpfs" {
        return None;
    }
    let bytes = |mount: &Value| {
        let last = words(mount).rev().find_map(|word| word.strip_prefix("size="));
        last.and_then(number).filter(|bytes| *bytes > 0).unwrap_or(u128::MAX)
    };
    let (old, new) = (bytes(before), bytes(after));
    seen(new > old, || format!("were {old} bytes and are {new}"))
}

fn number(text: &str) -> Option<u128> {
    let digits = text.trim_end_matches(['k', 'm', 'g']);
    let shift = match text.strip_prefix(digits)? {
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => 0,
    };
    digits.parse::<u128>().ok().map(|number| number << shift)
}

fn mappings(before: &Value, after: &Value) -> Option<String> {
    let of = |mount: &Value| (plain(&mount["uidMappings"]), plain(&mount["gidMappings"]));
    seen(of(before) != of(after), || format!("{:?}", of(after)))
}
