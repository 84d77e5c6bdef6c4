//! `task.identity`.

use crate::draft::Draft;
use crate::identity::ContainerKind;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// A container that says it is a sandbox must be the sandbox, and one of a pod must not be.
pub(super) fn judge(_: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    let id = &case.identity.sandbox_id;
    let itself = id == case.task.id;
    let (wrong, allowed) = match case.identity.kind {
        ContainerKind::Sandbox => (!itself, "the container's own id"),
        ContainerKind::Container => (itself || id.is_empty(), "the id of the pod's sandbox"),
        ContainerKind::Standalone => (!id.is_empty(), "no sandbox id without a container type"),
    };
    if wrong {
        let reason = format!("sandbox id {id:?} does not fit the container's type");
        let pointer = "/annotations/io.kubernetes.cri.sandbox-id";
        sheet.refuses(Found::new(pointer, id.as_str(), reason), allowed);
    }
}
