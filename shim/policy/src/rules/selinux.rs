//! `process.selinux`.

use crate::draft::{Draft, ProcessDraft};
use crate::rules::{Case, ProcessScope};
use crate::sheet::{Found, Sheet};

/// PSS baseline, rules of v1.31: the types that a container may run as.
const PROCESS_TYPES: &[&str] = &["container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// Types for a container's files (container-selinux).
const FILE_TYPES: &[&str] = &["container_file_t", "container_ro_file_t"];

/// The label of the process.
pub(super) fn process(process: &mut ProcessDraft, scope: &ProcessScope<'_>, sheet: &mut Sheet) {
    let label = process.selinux_label.as_str();
    if !has_type(label, PROCESS_TYPES, &scope.settings.selinux) {
        let reason = format!("{label:?} is not a container's type");
        sheet.refuses(Found::new("/process/selinuxLabel", label, reason), PROCESS_TYPES.join(", "));
    }
}

/// The label that the container's mounts get.
pub(super) fn mounts(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    let label = draft.linux.mount_label.as_str();
    if !has_type(label, FILE_TYPES, &case.settings.selinux) {
        let reason = format!("{label:?} is not a container's file type");
        sheet.refuses(Found::new("/linux/mountLabel", label, reason), FILE_TYPES.join(", "));
    }
}

/// An empty label is what a node without SELinux gets. A label is `user:role:type[:level]`.
fn has_type(label: &str, known: &[&str], added: &[String]) -> bool {
    let mut parts = label.split(':').skip(2);
    label.is_empty() || parts.next().is_some_and(|kind| known.contains(&kind) || added.iter().any(|one| one == kind))
}
