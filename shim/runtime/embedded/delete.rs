//! `delete`: nothing of a container is left.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::error::RuntimeFailure;
use super::id::ContainerId;
use super::report;
use super::state::{Record, StateDir, StateError, Status};
use super::within::Progress;
use super::{state_document, systemd_unit};

/// Longest wait for killed processes to be gone.
const LIMIT: Duration = Duration::from_secs(10);

/// Deletes a container. Without `force` it must be stopped, or created and not started (as runc has it).
pub(super) fn delete(root: &Path, id: &ContainerId, force: bool) -> Result<(), RuntimeFailure> {
    let state = match StateDir::open(root, id) {
        Ok(state) => state,
        Err(StateError::NotFound { .. }) if force => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let record = match state.record() {
        Ok(record) => record,
        Err(error) if force => return delete_damaged(state, &error),
        Err(error) => return Err(error.into()),
    };
    delete_known(state, &record, id, force)
}

/// The same in a process that has more to do, for a container without hooks of whose cgroup systemd knows nothing.
pub(super) fn delete_within(root: &Path, id: &ContainerId, force: bool) -> Result<Progress, RuntimeFailure> {
    // What is missing or damaged is for a process to tell of.
    let Ok(state) = StateDir::open(root, id) else { return Ok(Progress::NotHere) };
    let Ok(record) = state.record() else { return Ok(Progress::NotHere) };
    if !record.poststop.is_empty() || record.cgroup.is_systemd() {
        return Ok(Progress::NotHere);
    }
    delete_known(state, &record, id, force).map(|()| Progress::Done)
}

fn delete_known(state: StateDir, record: &Record, id: &ContainerId, force: bool) -> Result<(), RuntimeFailure> {
    let status = state.status(record);
    if !force && !matches!(status, Status::Stopped | Status::Created) {
        return Err(RuntimeFailure::WrongStatus { verb: "delete", id: id.clone(), status });
    }
    if status != Status::Stopped {
        kill_all(record)?;
    }
    record.cgroup.remove(LIMIT)?;
    systemd_unit::end(&record.cgroup, id);
    let hooks = state_document::run_hooks(&state, record, &record.poststop);
    state.remove()?;
    // The container is gone whether or not its hooks liked it; runc logs their failure and goes on.
    if let Err(failure) = hooks {
        report::note(&format!("poststop: {failure}"));
    }
    Ok(())
}

fn kill_all(record: &Record) -> Result<(), RuntimeFailure> {
    record.cgroup.signal_all(libc::SIGKILL)?;
    let until = Instant::now() + LIMIT;
    while record.init.is_some_and(|init| init.is_alive()) && Instant::now() < until {
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// A record that can't be read names no cgroup and no process. Only the directory can be removed.
fn delete_damaged(state: StateDir, error: &StateError) -> Result<(), RuntimeFailure> {
    report::note(&format!("{error}; its cgroup and processes, if there are any, are left"));
    Ok(state.remove()?)
}
