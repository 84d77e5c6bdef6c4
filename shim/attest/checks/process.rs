//! What is a process's own: credentials, filter, namespaces, limits, cgroup.

use super::super::capabilities::{self, SETGID, SETUID};
use super::super::devices;
use super::super::expected::{ExpectedNamespace, ExpectedProcess};
use super::super::seen::Read;
use super::super::status::SETS;
use super::{Case, Difference, Outcome, Stage, differs, hold, known};
use crate::cgroup::DeviceFilter;

/// Capability to raise one's own hard limits, and to lower one's own OOM score.
const SYS_RESOURCE: u64 = 1 << 24;
/// Capability to enter and to make namespaces.
const SYS_ADMIN: u64 = 1 << 21;

fn list(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

/// A set by its name.
fn set(sets: &[u64; 5], name: &str) -> u64 {
    SETS.iter().zip(sets).find(|((one, _), _)| *one == name).map_or(0, |(_, bits)| *bits)
}

/// Whether a program that runs can have changed its ids: by a capability, or by a set-user-ID file.
fn may_change(process: &ExpectedProcess, capability: u64) -> bool {
    !process.no_new_privs || set(&process.capabilities, "bounding") & capability != 0
}

pub(super) fn user(case: &Case<'_>) -> Outcome {
    let process = &case.expected.process;
    let decided = format!("uid {} gid {}", process.uid, process.gid);
    let status = known(&case.seen.status, &decided)?;
    let right = (status.uids == [process.uid; 4] || case.is_running() && may_change(process, SETUID))
        && (status.gids == [process.gid; 4] || case.is_running() && may_change(process, SETGID));
    hold(right, || decided.clone(), || format!("uids {} gids {}", list(&status.uids), list(&status.gids)))
}

pub(super) fn groups(case: &Case<'_>) -> Outcome {
    let process = &case.expected.process;
    let status = known(&case.seen.status, &list(&process.groups))?;
    // The kernel may list the primary group among them, or not: it counts in any case.
    let others = |groups: &[u32]| groups.iter().copied().filter(|gid| *gid != process.gid).collect::<Vec<_>>();
    let right = others(&status.groups) == others(&process.groups) || case.is_running() && may_change(process, SETGID);
    hold(right, || format!("groups {}", list(&process.groups)), || format!("groups {}", list(&status.groups)))
}

/// Whether a program that has just begun can have entered other namespaces already, as nsenter does: that is not the runtime's doing.
/// Whoever asks later is told.
fn has_moved(case: &Case<'_>) -> bool {
    case.stage == Stage::Begun && set(&case.expected.process.capabilities, "bounding") & SYS_ADMIN != 0
}

/// A user namespace that is joined is known by its inode; whoever made it has set its maps.
pub(super) fn user_maps(case: &Case<'_>) -> Outcome {
    if has_moved(case) {
        return Ok(());
    }
    let own = !matches!(case.expected.namespaces.get("user"), Some(ExpectedNamespace::This(_)));
    let maps =
        [("uid", &case.seen.uid_map, &case.expected.uid_map), ("gid", &case.seen.gid_map, &case.expected.gid_map)];
    for (name, seen, decided) in maps {
        if !own && decided.is_empty() {
            continue;
        }
        let text = |map: &[(u32, u32, u32)]| format!("{name} map {map:?}");
        let seen = known(seen, &text(decided))?;
        let sorted = |map: &[(u32, u32, u32)]| {
            let mut map = map.to_vec();
            map.sort_unstable();
            map
        };
        hold(sorted(seen) == sorted(decided), || text(decided), || text(seen))?;
    }
    Ok(())
}

/// What a set may hold at most once the program runs: what it has it may move between sets, and without no_new_privs a file may
/// give it whatever is in the bounding set. Source: capabilities(7).
fn ceiling(process: &ExpectedProcess, name: &str) -> u64 {
    let [bounding, permitted, inheritable] =
        ["bounding", "permitted", "inheritable"].map(|name| set(&process.capabilities, name));
    let gained = if process.no_new_privs { 0 } else { bounding };
    match name {
        "bounding" => bounding,
        "inheritable" => inheritable | permitted | gained,
        _ => permitted | gained,
    }
}

fn capability_set(case: &Case<'_>, name: &str) -> Outcome {
    let decided = set(&case.expected.process.capabilities, name);
    let seen = set(&known(&case.seen.status, &capabilities::names(decided))?.capabilities, name);
    let right = match case.stage {
        Stage::Created { .. } => seen == decided,
        Stage::Begun | Stage::Running => seen & !ceiling(&case.expected.process, name) == 0,
    };
    hold(right, || capabilities::names(decided), || capabilities::names(seen))
}

pub(super) fn bounding(case: &Case<'_>) -> Outcome {
    capability_set(case, "bounding")
}

pub(super) fn permitted(case: &Case<'_>) -> Outcome {
    capability_set(case, "permitted")
}

pub(super) fn effective(case: &Case<'_>) -> Outcome {
    capability_set(case, "effective")
}

pub(super) fn inheritable(case: &Case<'_>) -> Outcome {
    capability_set(case, "inheritable")
}

pub(super) fn ambient(case: &Case<'_>) -> Outcome {
    capability_set(case, "ambient")
}

/// A shim that has it itself gives it to all: stricter than decided is no mismatch.
pub(super) fn no_new_privs(case: &Case<'_>) -> Outcome {
    let decided = case.expected.process.no_new_privs;
    let seen = known(&case.seen.status, "on")?.no_new_privs;
    hold(seen || !decided, || "on".into(), || "off".into())
}

/// Whether the filter is loaded only after the start signal: crun's way, and that of the embedded runtime, also when the admin's file
/// names it as a program. Such a process is looked at again right after its execve.
fn comes_last(case: &Case<'_>) -> bool {
    let Stage::Created { embedded, .. } = case.stage else { return false };
    case.expected.process.no_new_privs && (embedded || case.seen.is_to_be_filtered(case.expected))
}

/// Whose filter it is can't be seen, so it is counted.
pub(super) fn seccomp(case: &Case<'_>) -> Outcome {
    let (above, own) = (case.expected.filters_above, u32::from(case.expected.filtered));
    let text = |filters: u32| format!("{filters} filters");
    let status = known(&case.seen.status, &text(above + own))?;
    let wanted = if comes_last(case) { above } else { above + own };
    let right = (status.filters == wanted || case.is_running() && status.filters > wanted)
        && (status.seccomp == 2 || status.filters == 0);
    hold(right, || text(wanted), || format!("mode {} with {}", status.seccomp, text(status.filters)))
}

/// AppArmor writes `profile (mode)`, SELinux the label alone.
pub(super) fn label(case: &Case<'_>) -> Outcome {
    let process = &case.expected.process;
    let seen = known(&case.seen.label, &process.apparmor)?;
    let name = seen.split_once(" (").map_or(seen.as_str(), |(name, _)| name);
    let right = |decided: &str, seen: &str| decided.is_empty() || decided == seen;
    let decided = if process.apparmor.is_empty() { &process.selinux } else { &process.apparmor };
    let both = right(&process.apparmor, name) && right(&process.selinux, seen);
    hold(both, || format!("{decided:?}"), || format!("{seen:?}"))
}

pub(super) fn namespace(case: &Case<'_>, name: &str) -> Outcome {
    if has_moved(case) {
        return Ok(());
    }
    // A kernel without such namespaces has none to share.
    let Some(decided) = case.expected.namespaces.get(name) else { return Ok(()) };
    let seen = known(&case.seen.namespaces, "a namespace")?.get(name);
    let text = |seen: Option<u64>| seen.map_or_else(|| "none".into(), |inode| format!("{name}:[{inode}]"));
    match (*decided, seen) {
        (ExpectedNamespace::This(wanted), seen) => hold(seen == Some(wanted), || text(Some(wanted)), || text(seen)),
        (ExpectedNamespace::New(_), None) => differs("one of its own", "none"),
        (ExpectedNamespace::New(hosts), Some(seen)) => {
            hold(seen != hosts, || "one of its own".into(), || "the host's".into())
        }
    }
}

/// A process may raise its own score, and the container be killed the sooner for it.
pub(super) fn oom_score(case: &Case<'_>) -> Outcome {
    let Some(decided) = case.expected.process.oom_score_adj else { return Ok(()) };
    let seen = *known(&case.seen.oom_score_adj, &decided.to_string())?;
    let lowers = set(&case.expected.process.capabilities, "bounding") & SYS_RESOURCE != 0;
    hold(
        seen == decided || case.is_running() && (lowers || seen > decided),
        || decided.to_string(),
        || seen.to_string(),
    )
}

/// A process may lower its own limits.
pub(super) fn rlimits(case: &Case<'_>) -> Outcome {
    let process = &case.expected.process;
    let raises = set(&process.capabilities, "bounding") & SYS_RESOURCE != 0;
    if case.is_running() && raises {
        return Ok(());
    }
    for (name, soft, hard) in &process.rlimits {
        let text = |soft: u64, hard: u64| format!("{name} {soft}:{hard}");
        let seen = known(&case.seen.rlimits, name)?.iter().find(|(one, ..)| one == name);
        let Some((_, soft_seen, hard_seen)) = seen else { return differs(text(*soft, *hard), "no such limit") };
        let right = match case.stage {
            Stage::Created { .. } => (soft_seen, hard_seen) == (soft, hard),
            Stage::Begun | Stage::Running => hard_seen <= hard && soft_seen <= hard,
        };
        hold(right, || text(*soft, *hard), || text(*soft_seen, *hard_seen))?;
    }
    Ok(())
}

/// Source: CVE-2024-21626, where a directory of the host stayed open. Before execve everything that stays open counts; afterwards, when
/// the program has opened files of its own, those that no mount of the container leads to.
pub(super) fn descriptors(case: &Case<'_>) -> Outcome {
    let open = known(&case.seen.descriptors, "0, 1 and 2")?;
    let leaked = match case.stage {
        Stage::Created { .. } => open.iter().find(|one| !one.closed_at_execve),
        Stage::Begun | Stage::Running => {
            if has_moved(case) {
                return Ok(());
            }
            let table = known(&case.seen.mounts, "the mounts")?;
            open.iter().find(|one| one.has_a_path() && table.get(one.mount).is_none())
        }
    };
    leaked.map_or(Ok(()), |leaked| {
        differs("0, 1 and 2 of the host", format!("{} ({}) as well", leaked.number, leaked.target))
    })
}

pub(super) fn cgroup(case: &Case<'_>) -> Outcome {
    let decided = &case.expected.cgroups_path;
    let astray = known(&case.seen.cgroup, decided)?.astray(decided, case.is_running());
    hold(astray.is_empty(), || decided.clone(), || astray.join(" "))
}

pub(super) fn limits(case: &Case<'_>) -> Outcome {
    match known(&case.seen.limits, "the limits")?.first() {
        None => Ok(()),
        Some(one) => differs(format!("{} {}", one.file, one.decided), one.found.replace('\n', "; ")),
    }
}

pub(super) fn devices(case: &Case<'_>) -> Outcome {
    let rules = case.expected.resources.devices().as_deref().unwrap_or_default();
    if devices::allow_all(rules) {
        return Ok(());
    }
    let filter: Result<&DeviceFilter, Difference> = filter(&case.seen.devices);
    match filter? {
        DeviceFilter::Programs(0) => differs("a device filter", "none"),
        DeviceFilter::Programs(_) => Ok(()),
        // A program of the host that the policy let in may allow more, as nvidia's hook does, but not all.
        DeviceFilter::Rules(list) if case.expected.has_hooks => match devices::everything(list) {
            None => Ok(()),
            Some(line) => differs("the decided device rules", format!("`{line}` as well")),
        },
        DeviceFilter::Rules(list) => match devices::undecided(list, rules).first() {
            None => Ok(()),
            Some(line) => differs("the decided device rules", format!("`{line}` as well")),
        },
    }
}

fn filter(seen: &Read<DeviceFilter>) -> Result<&DeviceFilter, Difference> {
    known(seen, "a device filter")
}
