//! `priv.heuristic`.

use serde_json::json;

use crate::draft::Draft;
use crate::rules::{Case, read_only};
use crate::sheet::{Found, Sheet};

/// So many capabilities in the bounding set mean "all": there are 41.
const MANY_CAPABILITIES: usize = 30;

/// containerd leaves no flag of `privileged` in the specification, only its traces. One alone may have
/// another cause, and has a rule of its own; all capabilities or two others together are that mode.
pub(super) fn judge(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    let all_capabilities = draft.process.capabilities.bounding.len() >= MANY_CAPABILITIES;
    let linux = &draft.linux;
    let writable = |kinds: &[&str]| {
        draft.mounts.iter().any(|mount| {
            let kind = mount.typ().as_deref().unwrap_or_default();
            kinds.contains(&kind) && !read_only::is(mount.options().as_deref().unwrap_or_default())
        })
    };
    let every_device = linux.resources.devices().iter().flatten().any(|rule| {
        rule.allow() && rule.major().is_none() && rule.minor().is_none() && rule.access().as_deref() == Some("rwm")
    });
    let marks = [
        (all_capabilities, "all capabilities"),
        (every_device, "every device"),
        (writable(&["sysfs"]), "writable /sys"),
        (writable(&["cgroup", "cgroup2"]), "writable cgroups"),
        (linux.masked_paths.is_empty() && linux.readonly_paths.is_empty(), "no masked paths"),
    ];
    let seen: Vec<&str> = marks.iter().filter(|(seen, _)| *seen).map(|(_, name)| *name).collect();
    if all_capabilities || seen.len() > 1 {
        let found = Found::new("", json!(seen), format!("privileged mode: {}", seen.join(", ")));
        sheet.refuses(found, "an unprivileged container");
    }
}
