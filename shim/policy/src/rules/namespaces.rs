//! `linux.ns`.

use oci_spec::runtime as oci;
use oci_spec::runtime::LinuxNamespaceType as Kind;
use serde_json::json;

use crate::draft::Draft;
use crate::host::NamespaceSharing;
use crate::identity::ContainerKind;
use crate::pointer;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// A namespace that is not listed is the host's (OCI runtime-spec `config-linux.md` "Namespaces").
const REQUIRED: &[(Kind, &str)] =
    &[(Kind::Pid, "pid"), (Kind::Network, "network"), (Kind::Ipc, "ipc"), (Kind::Uts, "uts"), (Kind::Mount, "mount")];

/// PSS hostNetwork, hostPID, hostIPC. A container of a pod always joins by path, so whose the namespace
/// is is decided by inode.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    for (kind, name) in REQUIRED {
        if draft.linux.namespace(*kind).is_none() {
            let reason = format!("shares the host's {name} namespace");
            sheet.refuses(
                Found::new("/linux/namespaces", json!(null), reason),
                format!("a {name} namespace of its own"),
            );
        }
    }
    for (i, namespace) in draft.linux.namespaces.iter().enumerate() {
        let place = pointer::index("/linux/namespaces", i);
        let before = json!(namespace);
        let twice = draft.linux.namespaces.iter().take(i).any(|other| other.typ() == namespace.typ());
        if twice {
            sheet.refuses(Found::new(place, before, "the same namespace twice"), "each namespace once");
            continue;
        }
        if namespace.path().is_none() {
            continue;
        }
        if namespace.typ() == Kind::Mount {
            // What the container would see there, no rule has looked at.
            let reason = "joins a mount namespace that exists";
            sheet.refuses(Found::new(place, before, reason), "a mount namespace of its own");
            continue;
        }
        let reason = match case.host.sharing(namespace.typ()) {
            NamespaceSharing::Pod => continue,
            NamespaceSharing::Other if may_join_other(namespace.typ(), case.identity.kind) => continue,
            NamespaceSharing::Other => format!("joins another pod's {} namespace", json!(namespace.typ())),
            NamespaceSharing::Host => format!("joins the host's {} namespace", json!(namespace.typ())),
            NamespaceSharing::Unresolved => "the namespace cannot be looked at".to_owned(),
        };
        sheet.refuses(Found::new(place, before, reason), "a namespace of the pod");
    }
    add_cgroup(draft, sheet);
}

/// A pod's sandbox is made in the network and the user namespace that were made for it; what joins the pod later joins
/// its own. A container without a pod joins what its client says, but never the host's.
fn may_join_other(kind: Kind, container: ContainerKind) -> bool {
    match container {
        ContainerKind::Standalone => true,
        ContainerKind::Sandbox => matches!(kind, Kind::Network | Kind::User),
        ContainerKind::Container => false,
    }
}

/// Without a cgroup namespace the container sees the node's cgroup tree.
fn add_cgroup(draft: &mut Draft, sheet: &mut Sheet) {
    if draft.linux.namespace(Kind::Cgroup).is_some() {
        return;
    }
    let mut own = oci::LinuxNamespace::default();
    own.set_typ(Kind::Cgroup);
    let found = Found::new("/linux/namespaces", json!(null), "shares the host's cgroup namespace");
    if sheet.mends(found, json!(own)) {
        draft.linux.namespaces.push(own);
    }
}
