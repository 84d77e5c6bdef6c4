//! `linux.seccomp.arch` and `linux.seccomp`.

use oci_spec::runtime as oci;
use oci_spec::runtime::Arch;
use palisade_seccomp::Architecture;
use serde_json::{Value, json};

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

const PLACE: &str = "/linux/seccomp";

/// Each architecture has numbers and calls of its own. 32-bit x86 has `socketcall`, whose arguments a filter cannot see: that
/// was the way round the AF_ALG filter of CVE-2026-31431. So it gets ENOSYS where the calls behind it are judged by their
/// arguments, here as in every profile; what that costs is sockets for 32-bit programs whose libc knows nothing else.
pub(super) fn architectures(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    let Some(own) = draft.linux.seccomp.as_mut() else { return };
    let listed = own.architectures().clone().unwrap_or_default();
    let kept: Vec<Arch> = listed.iter().copied().filter(|arch| is_let(*arch, case)).collect();
    if kept == listed {
        return;
    }
    let found = Found::new(
        format!("{PLACE}/architectures"),
        json!(listed),
        "system calls of an architecture that is not listed",
    );
    if sheet.mends(found, json!(kept)) {
        own.set_architectures(Some(kept));
    }
}

/// Whether it is the native one, or one that this machine may run and the profile lists.
fn is_let(arch: Arch, case: &Case<'_>) -> bool {
    let native = Architecture::native().ok();
    let beside = native.map(Architecture::others).unwrap_or_default();
    let listed = beside.iter().filter(|other| case.settings.architectures.contains(other));
    arch == Arch::ScmpArchNative || native.iter().chain(listed).any(|known| known.oci() == arch)
}

/// PSS, CIS-D 5.22. The profile made for the capabilities that are left, never looser than the
/// container's own: containerd's default was made for the capabilities that were asked for.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    let bounding = draft.process.capabilities.write().bounding().clone().unwrap_or_default();
    let own = draft.linux.seccomp.as_ref();
    let before = own.map_or(Value::Null, |own| Value::String(summary(own)));
    let (ours, others) = (&case.settings.seccomp, case.settings.architectures.as_slice());
    let decided = match own {
        None => ours.resolve(&bounding, others).map_err(|error| describe(&error)),
        Some(own) => ours.tighten(&bounding, others, own).map_err(|error| describe(&error)),
    };
    match decided {
        Err(reason) => sheet.refuses(Found::new(PLACE, before, reason), "a plain allow list"),
        Ok(decided) if own == Some(&decided) => {}
        Ok(decided) => {
            let reason = if own.is_some() { "looser than the policy's profile" } else { "no system call filter" };
            if sheet.mends(Found::new(PLACE, before, reason), summary(&decided)) {
                draft.linux.seccomp = Some(decided);
            }
        }
    }
}

/// A profile is too long for a record.
fn summary(profile: &oci::LinuxSeccomp) -> String {
    let calls: usize = profile.syscalls().iter().flatten().map(|entry| entry.names().len()).sum();
    format!("{}, {calls} system calls with another action", profile.default_action())
}

/// An error with all its causes, in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
