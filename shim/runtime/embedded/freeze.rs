//! `pause` and `resume`.

use std::path::Path;

use super::error::RuntimeFailure;
use super::id::ContainerId;
use super::state::{StateDir, Status};

/// Freezes all processes of a running container.
pub(super) fn pause(root: &Path, id: &ContainerId) -> Result<(), RuntimeFailure> {
    change(root, id, "pause", &[Status::Running, Status::Created], true)
}

/// Lets the processes of a paused container go on.
pub(super) fn resume(root: &Path, id: &ContainerId) -> Result<(), RuntimeFailure> {
    change(root, id, "resume", &[Status::Paused], false)
}

fn change(
    root: &Path,
    id: &ContainerId,
    verb: &'static str,
    from: &[Status],
    frozen: bool,
) -> Result<(), RuntimeFailure> {
    let state = StateDir::open(root, id)?;
    let record = state.record()?;
    let status = state.status(&record);
    if !from.contains(&status) {
        return Err(RuntimeFailure::WrongStatus { verb, id: id.clone(), status });
    }
    Ok(record.cgroup.freeze(frozen)?)
}
