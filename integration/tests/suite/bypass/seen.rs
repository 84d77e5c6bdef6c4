//! What the host sees of a container's process.

use std::fs;

/// A field of `/proc/<pid>/status`.
pub(super) fn status(pid: u32, field: &str) -> String {
    let text = read(pid, "status");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// A set of capabilities.
pub(super) fn capabilities(pid: u32, set: &str) -> u64 {
    u64::from_str_radix(&status(pid, set), 16).unwrap_or(0)
}

/// The groups beside the first.
pub(super) fn has_group(pid: u32, group: &str) -> bool {
    status(pid, "Groups").split_whitespace().any(|one| one == group)
}

/// The soft limit in `/proc/<pid>/limits`; `None` for what is unlimited.
pub(super) fn limit(pid: u32, name: &str) -> Option<u64> {
    let text = read(pid, "limits");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse().ok())
}

/// A field of `/proc/<pid>/stat` by its number in proc_pid_stat(5), from 3 on.
pub(super) fn stat(pid: u32, number: usize) -> i64 {
    let text = read(pid, "stat");
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().nth(number.saturating_sub(3)).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// The OOM killer's adjustment.
pub(super) fn oom_score(pid: u32) -> i64 {
    read(pid, "oom_score_adj").trim().parse().unwrap_or(0)
}

/// Whether a namespace is the suite's own, which the shims share.
pub(super) fn shares(pid: u32, kind: &str) -> bool {
    let of = |who: &str| fs::read_link(format!("/proc/{who}/ns/{kind}")).ok();
    of(&pid.to_string()).is_some_and(|theirs| of("self") == Some(theirs))
}

fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}
