//! `kill`: a signal to the init process, or to all processes of a container.

use std::path::Path;

use super::arguments::KillRequest;
use super::cgroup::Version;
use super::error::RuntimeFailure;
use super::init_process::InitProcess;
use super::state::{Record, StateDir, Status};
use crate::unsafe_syscalls;

/// Sends the signal. With `--all` a stopped container's left-over processes get it too.
pub(super) fn kill(root: &Path, request: &KillRequest) -> Result<(), RuntimeFailure> {
    let state = StateDir::open(root, &request.id)?;
    let record = state.record()?;
    if request.all {
        return Ok(record.cgroup.signal_all(request.signal)?);
    }
    let status = state.status(&record);
    let wrong = || RuntimeFailure::WrongStatus { verb: "kill", id: request.id.clone(), status };
    let init = record.init.filter(|_| status != Status::Stopped).ok_or_else(wrong)?;
    if !send(init, request.signal)? {
        return Err(RuntimeFailure::WrongStatus { verb: "kill", id: request.id.clone(), status: Status::Stopped });
    }
    thaw_for_death(&record, status, request.signal)
}

/// Whether the very process was still there to get it.
fn send(init: InitProcess, signal: i32) -> Result<bool, RuntimeFailure> {
    let failed = || RuntimeFailure::kernel("signal the init process");
    let Some(pidfd) = init.pidfd().map_err(failed())? else { return Ok(false) };
    match unsafe_syscalls::pidfd_send_signal(&pidfd, signal) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        Err(error) => Err(failed()(error)),
    }
}

/// A frozen v1 task dies only when it is thawed.
fn thaw_for_death(record: &Record, status: Status, signal: i32) -> Result<(), RuntimeFailure> {
    if status == Status::Paused && signal == libc::SIGKILL && record.cgroup.version() == Version::V1 {
        record.cgroup.freeze(false)?;
    }
    Ok(())
}
