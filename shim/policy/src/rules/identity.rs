//! `task.identity`.

use crate::draft::Draft;
use crate::identity::{ContainerKind, Identity};
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// A container that says it is a sandbox must be the sandbox; one of a pod must name the sandbox that this shim holds,
/// and that pod; any other must name none. Volumes, selectors and exemptions go by these names, so the rule holds in
/// every profile: a container that claims another pod's would choose the profile that lets it.
pub(super) fn judge(_: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    let own = case.identity;
    let id = &own.sandbox_id;
    let itself = id == case.task.id;
    let (wrong, reason, allowed) = match own.kind {
        ContainerKind::Sandbox => (!itself, "is another than the container's", "the container's own id"),
        ContainerKind::Container if itself || id.is_empty() => (true, "is no pod's", "the id of the pod's sandbox"),
        ContainerKind::Container => {
            let here = case.task.sandboxes.iter().any(|pod| same_pod(pod, own));
            (!here, "or its pod is another than this shim's", "the pod whose sandbox was created here")
        }
        ContainerKind::Standalone => {
            let claims = names(own).iter().any(|name| !name.is_empty());
            (claims, "or another name of a pod stands without a container type", "no pod's names")
        }
    };
    if wrong {
        let pointer = "/annotations/io.kubernetes.cri.sandbox-id";
        sheet.refuses(Found::new(pointer, id.as_str(), format!("sandbox id {id:?} {reason}")), allowed);
    }
}

fn same_pod(sandbox: &Identity, container: &Identity) -> bool {
    names(sandbox) == names(container)
}

/// What a container says of its pod.
fn names(one: &Identity) -> [&str; 4] {
    [&one.sandbox_id, &one.pod_uid, &one.pod_namespace, &one.pod_name]
}
