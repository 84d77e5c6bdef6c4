//! `user.range`, `user.non-root` and `user.root-group`.

use serde_json::json;

use crate::draft::ProcessDraft;
use crate::rules::ProcessScope;
use crate::sheet::{Found, Sheet};

/// The kernel's own tools take ids as signed; beyond this they wrapped to 0 in CVE-2024-40635.
const MAX_ID: u32 = i32::MAX as u32;

/// Ids that do not fit.
pub(super) fn range(process: &mut ProcessDraft, _: &ProcessScope<'_>, sheet: &mut Sheet) {
    let ids = [("/process/user/uid".to_owned(), process.uid), ("/process/user/gid".to_owned(), process.gid)];
    let more = process.additional_gids.iter().enumerate();
    let more = more.map(|(i, gid)| (format!("/process/user/additionalGids/{i}"), *gid));
    for (pointer, id) in ids.into_iter().chain(more) {
        if id > MAX_ID {
            let reason = format!("{id} does not fit a signed 32-bit id");
            sheet.refuses(Found::new(pointer, id, reason), format!("0 to {MAX_ID}"));
        }
    }
}

/// Root, unless a user namespace makes an ordinary user of it.
pub(super) fn non_root(process: &mut ProcessDraft, scope: &ProcessScope<'_>, sheet: &mut Sheet) {
    if process.uid != 0 || scope.user_remapped {
        return;
    }
    let forced = scope.settings.user;
    let found = Found::new("/process/user/uid", 0, "the process would be root");
    if sheet.mends(found, forced.uid) {
        process.uid = forced.uid;
    }
}

/// Groups that every distribution numbers alike and that own devices and secrets: disk 6, wheel 10, kmem 15,
/// shadow 42 (Linux Standard Base: 0 to 99 are allocated statically).
const SYSTEM_GROUPS: std::ops::Range<u32> = 0..100;

/// Groups that no process needs for its own: whoever is in them reads disks, kernel memory and password hashes of
/// whatever the container is shown (base-passwd of Debian, setup of Fedora).
const HOST_GROUPS: &[(u32, &str)] = &[(0, "root"), (6, "disk"), (9, "kmem"), (15, "kmem"), (42, "shadow")];

/// The group of root, and with it the other system groups that root is in by the image's /etc/group. Those
/// of a volume (fsGroup) stay.
pub(super) fn root_group(process: &mut ProcessDraft, scope: &ProcessScope<'_>, sheet: &mut Sheet) {
    if scope.user_remapped {
        return;
    }
    let forced = scope.settings.user;
    if let Some((gid, name)) = HOST_GROUPS.iter().find(|(gid, _)| *gid == process.gid) {
        let found = Found::new("/process/user/gid", *gid, format!("the process would be in group {name}"));
        if sheet.mends(found, forced.gid) {
            process.gid = forced.gid;
        }
    }
    let own = process.gid;
    let stays =
        |gid: &u32| !SYSTEM_GROUPS.contains(gid) || (*gid == own && HOST_GROUPS.iter().all(|(host, _)| *host != own));
    let kept: Vec<u32> = process.additional_gids.iter().copied().filter(stays).collect();
    if kept != process.additional_gids {
        let before = json!(process.additional_gids);
        let found = Found::new("/process/user/additionalGids", before, "the process would be in system groups");
        if sheet.mends(found, json!(kept)) {
            process.additional_gids = kept;
        }
    }
}
