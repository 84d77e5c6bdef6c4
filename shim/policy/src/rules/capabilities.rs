//! `caps.never` and `caps.allow-list`.

use crate::capability::{CapabilitySet, constant, listed};
use crate::draft::ProcessDraft;
use crate::rules::ProcessScope;
use crate::sheet::{Found, Sheet};

/// What containerd gives every container without being asked (`oci.defaultUnixCaps`). Having them in a
/// specification is no sign of intent, so they are dropped rather than refused.
pub(crate) const CONTAINERD_DEFAULTS: &[&str] = &[
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Each of these is a way to the host by itself, so an allow list does not lift them: that takes
/// switching `caps.never` off, which every record then names.
const NEVER: &[&str] = &[
    "CAP_BPF",
    "CAP_DAC_READ_SEARCH",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_PERFMON",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_TIME",
];

fn place(set: &str) -> String {
    format!("/process/capabilities/{set}")
}

/// A capability that somebody asked for by name, and that the profile does not grant.
pub(super) fn never(process: &mut ProcessDraft, scope: &ProcessScope<'_>, sheet: &mut Sheet) {
    let (hard, usual) = (constant(NEVER), constant(CONTAINERD_DEFAULTS));
    let granted = &scope.settings.capabilities;
    for (name, set) in process.capabilities.named_mut() {
        let beyond: CapabilitySet = set
            .iter()
            .filter(|cap| hard.contains(cap) || !(usual.contains(cap) || granted.contains(cap)))
            .copied()
            .collect();
        if beyond.is_empty() {
            continue;
        }
        let kept: CapabilitySet = set.difference(&beyond).copied().collect();
        let reason = format!("{} asked for", listed(&beyond).join(", "));
        let found = Found::new(place(name), listed(set), reason);
        if sheet.mends(found, listed(&kept)) {
            *set = kept;
        }
    }
}

/// What is left, cut to the profile's list. Inheritable and ambient sets are emptied: a non-empty
/// inheritable set was CVE-2022-24769 and its kin, and the kernel takes an ambient capability only if it is
/// inheritable too.
pub(super) fn allow_list(process: &mut ProcessDraft, scope: &ProcessScope<'_>, sheet: &mut Sheet) {
    let asked = process.capabilities.clone();
    let granted = &scope.settings.capabilities;
    let mut kept = asked.clone();
    kept.bounding.retain(|cap| granted.contains(cap));
    kept.permitted.retain(|cap| granted.contains(cap));
    // capset(2): effective must be within permitted.
    let permitted = kept.permitted.clone();
    kept.effective.retain(|cap| permitted.contains(cap));
    kept.inheritable.clear();
    kept.ambient.clear();
    let mut mended = asked.clone();
    let sets = asked.named().into_iter().zip(kept.named()).zip(mended.named_mut());
    for (((name, before), (_, after)), (_, slot)) in sets {
        if before == after {
            continue;
        }
        let reason = "capabilities beyond the profile's list";
        if sheet.mends(Found::new(place(name), listed(before), reason), listed(after)) {
            slot.clone_from(after);
        }
    }
    process.capabilities = mended;
}
