//! `linux.userns`.

use oci_spec::runtime as oci;
use serde_json::json;

use crate::draft::{Draft, FIRST_REMAPPED_ID, LinuxDraft, is_outside_host};
use crate::pointer;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// A user namespace whose root is a user of the host is none: mapping 0 to 0 would make a root process
/// pass for an ordinary one.
pub(super) fn judge(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    idmapped_mounts(&draft.linux, &draft.mounts, sheet);
    if draft.linux.namespace(oci::LinuxNamespaceType::User).is_none() {
        return;
    }
    let lists = [("/linux/uidMappings", &draft.linux.uid_mappings), ("/linux/gidMappings", &draft.linux.gid_mappings)];
    for (place, mappings) in lists {
        if mappings.is_empty() {
            sheet.refuses(Found::new(place, json!(null), "a user namespace without mapping"), "a mapping");
        }
        for (i, mapping) in mappings.iter().enumerate().filter(|(_, mapping)| !is_outside_host(mapping)) {
            let found = Found::new(pointer::index(place, i), json!(mapping), "maps to users of the host");
            sheet.refuses(found, format!("host ids from {FIRST_REMAPPED_ID}"));
        }
    }
}

/// An idmapped mount shows the files of one user as another's (mount_setattr(2)): mapped to an id of the host, or to
/// whom the container runs as without a user namespace, a volume's root-owned files would be the container user's. So it
/// goes to users of the container's own namespace.
fn idmapped_mounts(linux: &LinuxDraft, mounts: &[oci::Mount], sheet: &mut Sheet) {
    let has_own = linux.namespace(oci::LinuxNamespaceType::User).is_some();
    for (at, mount) in mounts.iter().enumerate() {
        let lists = [
            ("uidMappings", mount.uid_mappings(), &linux.uid_mappings),
            ("gidMappings", mount.gid_mappings(), &linux.gid_mappings),
        ];
        for (list, mappings, own) in lists {
            let passes = |mapping: &oci::LinuxIdMapping| {
                is_outside_host(mapping) && has_own && own.iter().any(|own| is_within(mapping, own))
            };
            for (i, mapping) in mappings.iter().flatten().enumerate().filter(|(_, mapping)| !passes(mapping)) {
                let place = format!("/mounts/{at}/{list}/{i}");
                let found =
                    Found::new(place, json!(mapping), "shows files as those of users who are not the container's");
                sheet.refuses(found, format!("host ids of the container's user namespace, from {FIRST_REMAPPED_ID}"));
            }
        }
    }
}

/// Whether the host ids of one mapping are among those of another.
fn is_within(one: &oci::LinuxIdMapping, other: &oci::LinuxIdMapping) -> bool {
    let end = |mapping: &oci::LinuxIdMapping| u64::from(mapping.host_id()) + u64::from(mapping.size());
    other.host_id() <= one.host_id() && end(one) <= end(other)
}
