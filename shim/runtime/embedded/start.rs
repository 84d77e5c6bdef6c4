//! `start`: lets the init process go on to the container's program, and ends when that has begun.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

use super::error::RuntimeFailure;
use super::execve;
use super::id::ContainerId;
use super::state::{Record, StateDir, Status};
use super::state_document;
use super::within::Progress;

/// What libcontainer's init waits for on its socket.
const GO: &[u8] = b"start container";

/// Starts a created container.
pub(super) fn start(root: &Path, id: &ContainerId) -> Result<(), RuntimeFailure> {
    let (state, record) = created(root, id)?;
    let_go(&state)?;
    state_document::run_hooks(&state, &record, &record.poststart)
}

/// The same in a process that has more to do, for a container without hooks.
pub(super) fn start_within(root: &Path, id: &ContainerId) -> Result<Progress, RuntimeFailure> {
    let (state, record) = created(root, id)?;
    if !record.poststart.is_empty() {
        return Ok(Progress::NotHere);
    }
    let_go(&state).map(|()| Progress::Done)
}

fn created(root: &Path, id: &ContainerId) -> Result<(StateDir, Record), RuntimeFailure> {
    let state = StateDir::open(root, id)?;
    let record = state.record()?;
    match state.status(&record) {
        Status::Created => Ok((state, record)),
        status => Err(RuntimeFailure::WrongStatus { verb: "start", id: id.clone(), status }),
    }
}

/// Returns when init has become the container's program, or has ended.
fn let_go(state: &StateDir) -> Result<(), RuntimeFailure> {
    let execve = execve::watch(&state.execve_fifo()).map_err(RuntimeFailure::kernel("open a FIFO"))?;
    let socket = state.notify_socket();
    say_go(&socket).map_err(RuntimeFailure::file("say \"go\" to init on", &socket))?;
    // From here on the container counts as running.
    fs::remove_file(&socket).map_err(RuntimeFailure::file("remove", &socket))?;
    execve.as_ref().map_or(Ok(()), execve::wait).map_err(RuntimeFailure::kernel("wait for the program to begin"))
}

/// By way of its directory: a socket's whole path may be too long for an address. libcontainer changes the working directory instead,
/// which is the whole process's.
fn say_go(socket: &Path) -> io::Result<()> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let (directory, name) = (socket.parent().ok_or_else(missing)?, socket.file_name().ok_or_else(missing)?);
    let directory = open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let address = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    UnixStream::connect(address)?.write_all(GO)
}
