//! `linux.userns` and `linux.userns.require`.

use oci_spec::runtime as oci;
use serde_json::json;

use crate::draft::{Draft, LinuxDraft};
use crate::id_map::{self, FIRST_REMAPPED_ID, IdMaps, IdRange, ambiguous};
use crate::rules::mount_host_path::allowed_here;
use crate::rules::{Case, read_only};
use crate::sheet::{Found, Sheet};
use crate::spec::is_bind;

/// A user namespace whose root is a user of the host is none: mapping 0 to 0 would make a root process
/// pass for an ordinary one. Nor is one whose users are another pod's: each could read what is the other's.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    let own = own_maps(&draft.linux);
    idmapped_mounts(own.as_ref(), &draft.mounts, case, sheet);
    idmapped_root(own.as_ref(), case, sheet);
    let Some(own) = own else { return };
    for (place, map) in [("/linux/uidMappings", &own.uids), ("/linux/gidMappings", &own.gids)] {
        if map.is_empty() {
            sheet.refuses(Found::new(place, json!(null), "a user namespace without mapping"), "a mapping");
        }
        for (i, range) in map.iter().enumerate().filter(|(_, range)| !range.is_outside_host()) {
            let found = Found::new(format!("{place}/{i}"), json!(range), "maps to users of the host");
            sheet.refuses(found, format!("host ids from {FIRST_REMAPPED_ID}"));
        }
        if ambiguous(map).is_some() {
            sheet.refuses(Found::new(place, json!(map), "maps an id twice"), "each id once");
        }
    }
    let joins = draft.linux.namespace(oci::LinuxNamespaceType::User).is_some_and(|own| own.path().is_some());
    if joins && !case.host.joined_users_are_remapped {
        let reason = "the user namespace that is joined was not seen to have these mappings";
        sheet.refuses(Found::new("/linux/uidMappings", json!(own.uids), reason), "the mappings that the kernel has");
    }
    if let Some(taken) = &case.host.users_of_others {
        let reason = format!("host ids {} to {} are in use by {}", taken.first, taken.last, taken.by);
        sheet.refuses(Found::new("/linux/uidMappings", json!(own), reason), "host ids that no other pod has");
    }
}

/// For nodes whose pods are to have one.
pub(super) fn require(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    if draft.linux.namespace(oci::LinuxNamespaceType::User).is_none() {
        let found = Found::new("/linux/namespaces", json!(null), "shares the host's user namespace");
        sheet.refuses(found, "hostUsers: false in the pod's specification");
    }
}

/// The mappings of the container, where it has a user namespace.
fn own_maps(linux: &LinuxDraft) -> Option<IdMaps> {
    linux.namespace(oci::LinuxNamespaceType::User).map(|_| linux.id_maps())
}

const OTHERS: &str = "shows files as those of users who are not the container's";
const OWN: &str = "the mappings of the container's user namespace, or parts of them";

/// An idmapped mount shows the files of one user as another's (mount_setattr(2)): mapped to an id of the host, or to
/// whom the container runs as without a user namespace, a volume's root-owned files would be the container user's. So it
/// is mapped as the container's own namespace is, and files have inside the numbers that they have on the disk.
fn idmapped_mounts(own: Option<&IdMaps>, mounts: &[oci::Mount], case: &Case<'_>, sheet: &mut Sheet) {
    for (at, mount) in mounts.iter().enumerate() {
        let asked = id_map::maps_of(mount);
        if asked.is_empty() && !id_map::has_word(mount) {
            continue;
        }
        let lists = [
            ("uidMappings", &asked.uids, own.map(|own| &own.uids)),
            ("gidMappings", &asked.gids, own.map(|own| &own.gids)),
        ];
        for (list, map, own) in lists {
            let passes =
                |range: &IdRange| range.is_outside_host() && own.is_some_and(|own| id_map::is_within(&[*range], own));
            for (i, range) in map.iter().enumerate().filter(|(_, range)| !passes(range)) {
                sheet.refuses(Found::new(format!("/mounts/{at}/{list}/{i}"), json!(range), OTHERS), OWN);
            }
            if ambiguous(map).is_some() {
                let found = Found::new(format!("/mounts/{at}/{list}"), json!(map), "maps an id twice");
                sheet.refuses(found, "each id once");
            }
        }
        if let Some((reason, allowed)) = why_not(mount, at, &asked, own, case) {
            sheet.refuses(Found::new(format!("/mounts/{at}"), json!(mount.options()), reason), allowed);
        }
    }
}

/// Why a mount is not to be idmapped at all.
fn why_not(
    mount: &oci::Mount,
    at: usize,
    asked: &IdMaps,
    own: Option<&IdMaps>,
    case: &Case<'_>,
) -> Option<(&'static str, &'static str)> {
    if own.is_none() {
        return Some(("is idmapped without a user namespace", "a user namespace of the pod's own"));
    }
    if asked.uids.is_empty() != asked.gids.is_empty() {
        return Some(("maps users without groups, or groups without users", "both mappings"));
    }
    if !is_bind(mount) {
        return Some(("is idmapped and no bind mount", "bind mounts"));
    }
    // On the disk the container's root is root: what it made there with the set-user-ID bit would be the host's, for whoever
    // finds it outside of the container.
    let pods = case.host.source(at).is_some_and(|fact| allowed_here(fact, case));
    let options = mount.options().as_deref().unwrap_or_default();
    let has = |word: &str| options.iter().any(|option| option == word);
    // Plain `ro` does not reach what is mounted below, `ridmap` does.
    let writable = !read_only::is(options) || has("ridmap") && !has("rro");
    (!pods && writable)
        .then_some(("lets root of the container be root in a directory of the host", "ro, and rro with ridmap"))
}

/// Whoever calls containerd names the mappings of the layers as well.
fn idmapped_root(own: Option<&IdMaps>, case: &Case<'_>, sheet: &mut Sheet) {
    for (i, mount) in case.task.rootfs_mounts.iter().enumerate() {
        let place = format!("/task/rootfs/{i}/options");
        match IdMaps::of_options(mount.options) {
            Ok(None) => {}
            Ok(Some(maps)) => {
                let within = own.is_some_and(|own| {
                    id_map::is_within(&maps.uids, &own.uids) && id_map::is_within(&maps.gids, &own.gids)
                });
                let ambiguous = ambiguous(&maps.uids).is_some() || ambiguous(&maps.gids).is_some();
                if !within || ambiguous {
                    sheet.refuses(Found::new(place, json!(mount.options), OTHERS), OWN);
                }
            }
            Err(option) => {
                let reason = format!("{option:?} is not understood");
                sheet.refuses(Found::new(place, json!(mount.options), reason), "container-id:host-id:size");
            }
        }
    }
}
