//! `task.identity`.

use crate::draft::Draft;
use crate::identity::{ContainerKind, Identity};
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// A container that says it is a sandbox must be the sandbox, and one of a pod must not be, but must name the sandbox
/// that this shim holds and that pod: volumes and selectors go by these names, so a container that claims another pod's
/// would get that pod's files and profile.
pub(super) fn judge(_: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    let id = &case.identity.sandbox_id;
    let itself = id == case.task.id;
    let (wrong, allowed) = match case.identity.kind {
        ContainerKind::Sandbox => (!itself, "the container's own id"),
        ContainerKind::Container => (itself || id.is_empty(), "the id of the pod's sandbox"),
        ContainerKind::Standalone => (!id.is_empty(), "no sandbox id without a container type"),
    };
    if !wrong
        && case.identity.kind == ContainerKind::Container
        && !case.task.sandboxes.iter().any(|pod| same_pod(pod, case.identity))
    {
        let pointer = "/annotations/io.kubernetes.cri.sandbox-id";
        let found = Found::new(pointer, id.as_str(), "the sandbox or its pod is another than this shim's");
        sheet.refuses(found, "the pod whose sandbox was created here");
    }
    if wrong {
        let reason = format!("sandbox id {id:?} does not fit the container's type");
        let pointer = "/annotations/io.kubernetes.cri.sandbox-id";
        sheet.refuses(Found::new(pointer, id.as_str(), reason), allowed);
    }
}

fn same_pod(sandbox: &Identity, container: &Identity) -> bool {
    let names = |one: &Identity| [&one.sandbox_id, &one.pod_uid, &one.pod_namespace, &one.pod_name].map(String::clone);
    names(sandbox) == names(container)
}
