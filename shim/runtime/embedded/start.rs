//! `start`: lets the init process go on to the container's program, and ends when that has begun.

use std::fs;
use std::path::Path;

use libcontainer::notify_socket::NotifySocket;

use super::error::RuntimeFailure;
use super::execve;
use super::id::ContainerId;
use super::state::{StateDir, Status};
use super::state_document;

/// Starts a created container.
pub(super) fn start(root: &Path, id: &ContainerId) -> Result<(), RuntimeFailure> {
    let state = StateDir::open(root, id)?;
    let record = state.record()?;
    let status = state.status(&record);
    if status != Status::Created {
        return Err(RuntimeFailure::WrongStatus { verb: "start", id: id.clone(), status });
    }
    let execve = execve::watch(&state.execve_fifo()).map_err(RuntimeFailure::kernel("open a FIFO"))?;
    let socket = state.notify_socket();
    NotifySocket::new(&socket).notify_container_start().map_err(RuntimeFailure::step("start the container"))?;
    // From here on the container counts as running.
    fs::remove_file(&socket).map_err(RuntimeFailure::file("remove", &socket))?;
    if let Some(end) = &execve {
        execve::wait(end).map_err(RuntimeFailure::kernel("wait for the program to begin"))?;
    }
    state_document::run_hooks(&state, &record, &record.poststart)
}
