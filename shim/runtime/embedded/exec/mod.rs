//! `exec`: another process in a running container.
//!
//! Three processes, as every runtime needs them, since a pid namespace takes in children only:
//!
//! ```text
//! this one ──fork── the guide: joins cgroup and namespaces ──fork── the newcomer: takes on all that its process has, execve
//!     ▲                                 │ its pid                        │ what went wrong, or nothing: the pipe closes at execve
//!     └─────────────────────────────────┴────────────────────────────────┘
//! ```
//!
//! The newcomer does nothing before this process knows its pid, so whatever fails, nothing of it stays behind. libcontainer's own exec
//! would not join a user namespace, and would do the work of a create again.

mod channel;
mod guide;
mod namespaces;
mod newcomer;
mod scheduling;
mod terminal;

use std::path::Path;
use std::process::ExitCode;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use oci_spec::runtime::{Process, Spec};
use rustix::process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior};

use super::arguments::{ExecProcess, ExecRequest};
use super::cgroup::Forked;
use super::create::{set_oom_score, write_pid_file};
use super::credentials::Credentials;
use super::deadline;
use super::error::RuntimeFailure;
use super::filter::{Filter, Listener};
use super::program::Program;
use super::spec::{self, SpecError};
use super::state::{StateDir, Status};
use channel::Channels;
use guide::Guide;
use namespaces::ForeignNamespaces;
use newcomer::Newcomer;
use terminal::ConsoleConnection;

/// Every failure of a container's process begins with these words, as with runc; kubelet shows them.
const PREFIX: &str = "unable to start container process: ";

/// Runs a process in a container.
///
/// The filter is the container's own, from its state directory; nothing in the request can change it. Without
/// `--detach` the exit code is the process's (128 and the signal's number if it was killed).
pub(super) fn exec(root: &Path, request: ExecRequest) -> Result<ExitCode, RuntimeFailure> {
    let state = StateDir::open(root, &request.id)?;
    let record = state.record()?;
    let status = state.status(&record);
    let (Status::Running, Some(init)) = (status, record.init) else {
        return Err(RuntimeFailure::WrongStatus { verb: "exec in", id: request.id, status });
    };
    let container: Spec = spec::read_json(&state.exec_bundle().join("config.json"), "spec")?;
    let process = process(&container, &request)?;
    let listener = request.listening.as_ref().map(Listener::connect).transpose();
    let listener = listener.map_err(RuntimeFailure::kernel("connect to the socket for the seccomp listener"))?;
    let program = Program::new(&process, Credentials::of(&process)?, Filter::read(&state.filter())?).asking(listener);
    let personality = container.linux().as_ref().and_then(|linux| linux.personality().as_ref()).map(|one| one.domain());
    set_oom_score(process.oom_score_adj())?;
    let console = request.console_socket.as_deref().map(ConsoleConnection::to).transpose();
    let console = console.map_err(RuntimeFailure::kernel("connect to the console socket"))?;
    let namespaces =
        ForeignNamespaces::of(init).map_err(RuntimeFailure::kernel("look at the container's namespaces"))?;
    let newcomer = Newcomer { process: &process, program, personality, console };
    let guide = Guide { process: &process, cgroup: &record.cgroup, init, namespaces };
    let pid = start(guide, newcomer)?;
    if let Some(file) = &request.pid_file {
        write_pid_file(file, pid).inspect_err(|_| end(pid))?;
    }
    if request.detach { Ok(ExitCode::SUCCESS) } else { wait(pid) }
}

fn process(container: &Spec, request: &ExecRequest) -> Result<Process, RuntimeFailure> {
    let process = match &request.process {
        ExecProcess::File(file) => spec::read_json(file, "process")?,
        ExecProcess::Arguments { args, cwd, env, user } => {
            let mut process = container.process().clone().ok_or(SpecError::Missing { field: "process" })?;
            process.set_args(Some(args.clone())).set_terminal(Some(request.tty));
            let env = process.env().iter().flatten().chain(env).cloned().collect();
            process.set_env(Some(env));
            if let Some(cwd) = cwd {
                process.set_cwd(cwd.clone());
            }
            if let Some((uid, gid)) = *user {
                let mut user = process.user().clone();
                user.set_uid(uid).set_gid(gid);
                process.set_user(user);
            }
            process
        }
    };
    spec::check_process(&process)?;
    if process.terminal().unwrap_or(false) != request.console_socket.is_some() {
        let reason = "a terminal and a console socket go together";
        return Err(SpecError::Refused { field: "process.terminal".into(), reason }.into());
    }
    Ok(process)
}

/// Starts the process; its pid.
fn start(guide: Guide<'_>, newcomer: Newcomer<'_>) -> Result<i32, RuntimeFailure> {
    // What has no parent any more comes here, so that a newcomer can be waited for though the guide has gone.
    set_child_subreaper(Some(getpid())).map_err(|errno| RuntimeFailure::kernel("become a subreaper")(errno.into()))?;
    // Neither of them may be looked into from inside the container: their memory is the host's (CVE-2016-9962).
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| RuntimeFailure::kernel("become undumpable")(errno.into()))?;
    let channels = Channels::open().map_err(RuntimeFailure::kernel("make pipes"))?;
    let guide_pid = match guide.cgroup.fork().map_err(RuntimeFailure::kernel("start a process"))? {
        Forked::Child(inside) => guide.lead(newcomer, channels.in_child(), &inside),
        Forked::Parent(pid) => pid,
    };
    let mut channels = channels.in_parent();
    let newcomer_pid = channels.pid();
    let guided = waitpid(Pid::from_raw(guide_pid), None);
    let pid = match (newcomer_pid, guided) {
        (Ok(pid), Ok(WaitStatus::Exited(_, 0))) => pid,
        (found, _) => {
            end(guide_pid);
            if let Ok(pid) = found {
                end(pid);
            }
            return Err(failure(channels.give_up()));
        }
    };
    match channels.go().and_then(|()| channels.failure()) {
        Ok(text) if text.is_empty() => Ok(pid),
        Ok(text) => {
            end(pid);
            Err(failure(text))
        }
        Err(error) => {
            end(pid);
            Err(RuntimeFailure::kernel("wait for the process to start")(error))
        }
    }
}

fn failure(text: String) -> RuntimeFailure {
    let text = if text.is_empty() { "the process ended before its program was started".to_owned() } else { text };
    let reason = if text.starts_with(PREFIX) { text } else { format!("{PREFIX}{text}") };
    RuntimeFailure::Process { reason }
}

/// Kills a process of ours that is not to go on, and waits for its end.
fn end(pid: i32) {
    let pid = Pid::from_raw(pid);
    // ESRCH: it has ended by itself, and only the wait is left to do.
    kill(pid, Signal::SIGKILL).unwrap_or_default();
    while waitpid(pid, None) == Err(nix::errno::Errno::EINTR) {}
}

fn wait(pid: i32) -> Result<ExitCode, RuntimeFailure> {
    deadline::disarm().map_err(RuntimeFailure::deadline)?;
    let number = |code: i32| ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX));
    loop {
        match waitpid(Pid::from_raw(pid), None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(number(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(number(128 + signal as i32)),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(RuntimeFailure::kernel("wait for the process")(errno.into())),
        }
    }
}
