//! `exec.tty`, `exec.user`, `exec.caps`, `exec.nnp`, `exec.labels`, `exec.rlimits`, `exec.oom` and `exec.sched`: a further
//! process never has more than the first one was given. containerd sends the process of before hardening
//! (CRI keeps the original specification), so what was decided at create is applied again.

use serde_json::{Value, json};

use crate::capability::{CapabilitySet, listed};
use crate::draft::{ProcessDraft, Rlimit};
use crate::grant::Grant;
use crate::pointer;
use crate::sheet::{Found, Sheet};

/// An interactive process is one that a person drives. Off in the built-in profiles.
pub(super) fn terminal(process: &mut ProcessDraft, _: &Grant, sheet: &mut Sheet) {
    if process.terminal {
        let found = Found::new("/process/terminal", true, "an interactive process");
        sheet.refuses(found, "a process without a terminal");
    }
}

/// Whoever is root in the container may become anyone there; anybody else stays who they are.
pub(super) fn user(process: &mut ProcessDraft, grant: &Grant, sheet: &mut Sheet) {
    if grant.uid == 0 {
        return;
    }
    if process.uid != grant.uid {
        let found = Found::new("/process/user/uid", process.uid, "not the container's user");
        if sheet.mends(found, grant.uid) {
            process.uid = grant.uid;
        }
    }
    if !grant.has_gid(process.gid) {
        let found = Found::new("/process/user/gid", process.gid, "not a group of the container's");
        if sheet.mends(found, grant.gid) {
            process.gid = grant.gid;
        }
    }
    let kept: Vec<u32> = process.additional_gids.iter().copied().filter(|gid| grant.has_gid(*gid)).collect();
    if kept != process.additional_gids {
        let before = json!(process.additional_gids);
        let found = Found::new("/process/user/additionalGids", before, "not groups of the container's");
        if sheet.mends(found, json!(kept)) {
            process.additional_gids = kept;
        }
    }
}

/// Each set within the container's.
pub(super) fn capabilities(process: &mut ProcessDraft, grant: &Grant, sheet: &mut Sheet) {
    let sets = process.capabilities.named_mut().into_iter().zip(grant.capabilities.named());
    for ((name, set), (_, granted)) in sets {
        let kept: CapabilitySet = set.intersection(granted).copied().collect();
        if kept == *set {
            continue;
        }
        let place = format!("/process/capabilities/{name}");
        if sheet.mends(Found::new(place, listed(set), "beyond the container's capabilities"), listed(&kept)) {
            *set = kept;
        }
    }
}

/// The bit cannot be taken back.
pub(super) fn no_new_privileges(process: &mut ProcessDraft, grant: &Grant, sheet: &mut Sheet) {
    if grant.no_new_privileges && !process.no_new_privileges {
        let found = Found::new("/process/noNewPrivileges", false, "the container has it set");
        if sheet.mends(found, true) {
            process.no_new_privileges = true;
        }
    }
}

/// AppArmor profile and SELinux label are the container's.
pub(super) fn labels(process: &mut ProcessDraft, grant: &Grant, sheet: &mut Sheet) {
    let pairs = [
        ("/process/apparmorProfile", &mut process.apparmor_profile, &grant.apparmor_profile),
        ("/process/selinuxLabel", &mut process.selinux_label, &grant.selinux_label),
    ];
    for (place, label, granted) in pairs.into_iter().filter(|(_, label, granted)| *label != *granted) {
        let found = Found::new(place, label.as_str(), "not the container's label");
        if sheet.mends(found, granted.as_str()) {
            label.clone_from(granted);
        }
    }
}

/// No resource limit above the container's own.
pub(super) fn rlimits(process: &mut ProcessDraft, grant: &Grant, sheet: &mut Sheet) {
    for granted in &grant.rlimits {
        if !process.rlimits.iter().any(|limit| limit.kind == granted.kind) {
            let found = Found::new("/process/rlimits", Value::Null, "the container has this limit");
            if sheet.mends(found, json!(granted)) {
                process.rlimits.push(granted.clone());
            }
            continue;
        }
        // A runtime sets all entries of a kind, the last one for good.
        let asked = process.rlimits.iter_mut().enumerate();
        for (i, limit) in asked.filter(|(_, limit)| limit.kind == granted.kind) {
            lower(i, limit, granted, sheet);
        }
    }
}

fn lower(at: usize, limit: &mut Rlimit, granted: &Rlimit, sheet: &mut Sheet) {
    let lowered =
        Rlimit { kind: granted.kind.clone(), soft: limit.soft.min(granted.soft), hard: limit.hard.min(granted.hard) };
    if lowered == *limit {
        return;
    }
    let place = pointer::index("/process/rlimits", at);
    if sheet.mends(Found::new(place, json!(limit), "above the container's limit"), json!(lowered)) {
        *limit = lowered;
    }
}

/// Not spared by the OOM killer more than the container's first process.
pub(super) fn oom_score(process: &mut ProcessDraft, grant: &Grant, sheet: &mut Sheet) {
    let Some(granted) = grant.oom_score_adj else {
        // The container has the shim's own score, which is not known here; none at all gives the process the same.
        if process.oom_score_adj.is_some_and(|score| score < 0) {
            let found = Found::new("/process/oomScoreAdj", json!(process.oom_score_adj), "the container has none");
            if sheet.mends(found, Value::Null) {
                process.oom_score_adj = None;
            }
        }
        return;
    };
    if process.oom_score_adj.is_none_or(|score| score < granted) {
        let found = Found::new("/process/oomScoreAdj", json!(process.oom_score_adj), "below the container's");
        if sheet.mends(found, granted) {
            process.oom_score_adj = Some(granted);
        }
    }
}

/// No other scheduling class or disk priority than the container's.
pub(super) fn scheduling(process: &mut ProcessDraft, grant: &Grant, sheet: &mut Sheet) {
    let reason = |granted: bool| if granted { "not the container's" } else { "the container has none" };
    if process.scheduler.is_some() && process.scheduler != grant.scheduler {
        let why = reason(grant.scheduler.is_some());
        let found = Found::new("/process/scheduler", json!(process.scheduler), why);
        if sheet.mends(found, json!(grant.scheduler)) {
            process.scheduler.clone_from(&grant.scheduler);
        }
    }
    if process.io_priority.is_some() && process.io_priority != grant.io_priority {
        let why = reason(grant.io_priority.is_some());
        let found = Found::new("/process/ioPriority", json!(process.io_priority), why);
        if sheet.mends(found, json!(grant.io_priority)) {
            process.io_priority = grant.io_priority;
        }
    }
}
