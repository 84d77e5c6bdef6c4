//! `state`: what the OCI runtime-spec calls the state of a container, and the hooks that get it on stdin.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use libcontainer::container::{ContainerStatus, State};
use oci_spec::runtime::Hook;
use serde::Serialize;

use super::error::RuntimeFailure;
use super::id::ContainerId;
use super::report;
use super::state::{Record, StateDir, Status};

/// The document that runc prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    oci_version: &'a str,
    id: &'a str,
    /// 0 for a stopped container.
    pid: i32,
    status: &'a str,
    bundle: &'a PathBuf,
    rootfs: &'a PathBuf,
    created: &'a str,
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    annotations: &'a HashMap<String, String>,
    owner: &'a str,
}

/// Prints the state of a container.
pub(super) fn print(root: &Path, id: &ContainerId) -> Result<(), RuntimeFailure> {
    let state = StateDir::open(root, id)?;
    let record = state.record()?;
    let status = state.status(&record);
    let document = Document {
        oci_version: &record.oci_version,
        id: id.as_str(),
        pid: record.init.filter(|_| status != Status::Stopped).map_or(0, |init| init.pid()),
        status: status.as_str(),
        bundle: &record.bundle,
        rootfs: &record.rootfs,
        created: &record.created,
        annotations: &record.annotations,
        owner: "",
    };
    let mut text =
        serde_json::to_string_pretty(&document).map_err(|source| RuntimeFailure::Json { what: "the state", source })?;
    text.push('\n');
    report::print(&text)
}

/// Runs hooks in the runtime's namespaces. The first failure ends it.
pub(super) fn run_hooks(state: &StateDir, record: &Record, hooks: &Vec<Hook>) -> Result<(), RuntimeFailure> {
    if hooks.is_empty() {
        return Ok(());
    }
    // OCI states have no `paused`; runc says `running` for it.
    let status = match state.status(record) {
        Status::Creating => ContainerStatus::Creating,
        Status::Created => ContainerStatus::Created,
        Status::Running | Status::Paused => ContainerStatus::Running,
        Status::Stopped => ContainerStatus::Stopped,
    };
    let pid = record.init.filter(|_| status != ContainerStatus::Stopped).map_or(0, |init| init.pid());
    let mut given = State::new(state.id().as_str(), status, Some(pid), record.bundle.clone());
    given.annotations = Some(record.annotations.clone());
    libcontainer::hooks::run_hooks(Some(hooks), Some(&given), Some(&record.bundle), None, None)
        .map_err(RuntimeFailure::step("run the hooks"))
}
