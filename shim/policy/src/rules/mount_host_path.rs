//! `mount.host-path` and `mount.deny-always`.

use std::path::Path;

use crate::draft::Draft;
use crate::host::{MountBelow, SourceFact, SourceKind};
use crate::profile::AllowedPath;
use crate::rules::{Case, read_only};
use crate::sheet::{Found, Sheet};
use crate::spec::{is_bind, is_recursive_bind};

fn place(mount: usize) -> String {
    format!("/mounts/{mount}/source")
}

pub(super) fn allowed_here(fact: &SourceFact, case: &Case<'_>) -> bool {
    let is_own = |path| case.node.is_own_volume(path, case.identity, case.task.id);
    is_own(&fact.real_path)
        && (!is_subpath(&fact.real_path) || fact.locations.iter().any(|path| !is_subpath(path) && is_own(path)))
}

/// The kubelet binds what a subPath names below this directory, whatever kind of volume it is in: for a
/// hostPath volume that is any file of the host. So it counts for what it shows, not for where it stands.
fn is_subpath(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "volume-subpaths")
}

/// The entry of the admin's list that lets a container have what a source shows.
pub(super) fn listed<'a>(fact: &SourceFact, case: &'a Case<'_>) -> Option<&'a AllowedPath> {
    let mut shown = fact.locations.iter().filter(|_| is_subpath(&fact.real_path)).chain([&fact.real_path]);
    shown.find_map(|path| case.settings.host_paths.iter().find(|entry| entry.covers(path)))
}

/// PSS hostPath: a bind mount shows a volume of the pod itself, or a path that the policy lists.
pub(super) fn host_path(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    for (i, mount) in draft.mounts.iter_mut().enumerate().filter(|(_, mount)| is_bind(mount)) {
        let source = mount.source().clone().unwrap_or_default();
        let text = source.to_string_lossy().into_owned();
        let Some(fact) = case.host.source(i).filter(|fact| fact.kind != SourceKind::Missing) else {
            let reason = format!("{text:?} cannot be looked at");
            sheet.refuses(Found::new(place(i), text, reason), "volumes of the pod");
            continue;
        };
        // For people who read the document: the runtime is shown the very file that was looked at, at another path.
        mount.set_source(Some(fact.real_path.clone()));
        let writable = !read_only::is(mount.options().as_deref().unwrap_or_default());
        let (reason, allowed) = match listed(fact, case) {
            _ if allowed_here(fact, case) => continue,
            Some(entry) if entry.read_only && writable => (format!("{text:?} may be mounted read-only"), "ro"),
            Some(_) => continue,
            None => (format!("{text:?} is a host path"), "volumes of the pod"),
        };
        sheet.refuses(Found::new(place(i), text, reason), allowed);
    }
}

/// Sources that no list lifts: whatever commands or configures the node, by path and by device and inode.
pub(super) fn deny_always(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    for (i, mount) in draft.mounts.iter().enumerate().filter(|(_, mount)| is_bind(mount)) {
        let Some(fact) = case.host.source(i) else { continue };
        let text = mount.source().as_deref().unwrap_or(&fact.real_path).to_string_lossy().into_owned();
        let below = || {
            fact.below.iter().filter(|_| is_recursive_bind(mount)).find_map(|below| why_not_below(below, fact, case))
        };
        if let Some(reason) = why_never(fact, case).or_else(below) {
            let found = Found::new(place(i), text.as_str(), format!("{text:?} {reason}"));
            sheet.refuses(found, "other paths");
        }
    }
}

fn why_never(fact: &SourceFact, case: &Case<'_>) -> Option<String> {
    let own = allowed_here(fact, case);
    match fact.kind {
        SourceKind::BlockDevice | SourceKind::CharDevice => return Some("is a device node".to_owned()),
        SourceKind::Socket if !own => return Some("is a socket of the host".to_owned()),
        _ => {}
    }
    let by_path = if own { None } else { case.node.denied(&fact.real_path) };
    by_path.or_else(|| fact.same_as.as_ref().map(|watched| format!("is the same file as {watched}")))
}

/// `rbind` brings along what is mounted below the source, which may be what no source may be.
fn why_not_below(below: &MountBelow, fact: &SourceFact, case: &Case<'_>) -> Option<String> {
    let by_path = if allowed_here(fact, case) { None } else { case.node.denied(&below.path) };
    let same = || below.same_as.as_ref().map(|watched| format!("is the same file as {watched}"));
    let reason = by_path.or_else(same)?;
    Some(format!("has a mount below it, {:?}, that {reason}", below.path.to_string_lossy()))
}
