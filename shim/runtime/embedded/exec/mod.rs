//! `exec`: another process in a running container.

use std::fs;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::container::{ContainerStatus, State};
use libcontainer::syscall::syscall::SyscallType;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use oci_spec::runtime::{Process, Spec};
use rustix::fs::MemfdFlags;

use super::arguments::{ExecProcess, ExecRequest};
use super::causes::Causes;
use super::create::{set_oom_score, write_pid_file};
use super::credentials::Credentials;
use super::deadline;
use super::error::RuntimeFailure;
use super::executor::ContainerExecutor;
use super::filter::Filter;
use super::report;
use super::spec::{self, SpecError};
use super::state::{Record, StateDir, Status};

/// Runs a process in a container.
///
/// The filter is the container's own, from its state directory; nothing in the request can change it. Without
/// `--detach` the exit code is the process's (128 and the signal's number if it was killed).
pub(super) fn exec(root: &Path, request: ExecRequest) -> Result<ExitCode, RuntimeFailure> {
    let state = StateDir::open(root, &request.id)?;
    let record = state.record()?;
    let status = state.status(&record);
    if status != Status::Running {
        return Err(RuntimeFailure::WrongStatus { verb: "exec in", id: request.id, status });
    }
    if record.user_namespace {
        let field = "linux.namespaces".into();
        return Err(SpecError::Refused {
            field,
            reason: "the embedded runtime can't exec in a user namespace; use runc",
        }
        .into());
    }
    let process = process(&state, &request)?;
    let credentials = Credentials::of(&process)?;
    let executor = ContainerExecutor::new(&process, credentials, Filter::read(&state.filter())?);
    set_oom_score(process.oom_score_adj())?;
    let pid = {
        let own = OwnDirectory::make(&state, &record)?;
        let mut given = process;
        credentials.write_out(&mut given, executor.loads_with_privilege());
        run_libcontainer(&own, &request, &given, executor)?
    };
    if let Some(file) = &request.pid_file {
        write_pid_file(file, pid)?;
    }
    if request.detach { Ok(ExitCode::SUCCESS) } else { wait(pid) }
}

fn process(state: &StateDir, request: &ExecRequest) -> Result<Process, RuntimeFailure> {
    let process = match &request.process {
        ExecProcess::File(file) => spec::read_json(file, "process")?,
        ExecProcess::Arguments { args, cwd, env, user } => {
            let spec: Spec = spec::read_json(&state.exec_bundle().join("config.json"), "spec")?;
            let mut process = spec.process().clone().ok_or(SpecError::Missing { field: "process" })?;
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
    Ok(process)
}

fn run_libcontainer(
    own: &OwnDirectory,
    request: &ExecRequest,
    process: &Process,
    executor: ContainerExecutor,
) -> Result<i32, RuntimeFailure> {
    let text = serde_json::to_vec(process).map_err(|source| RuntimeFailure::Json { what: "the process", source })?;
    // libcontainer wants a file; this one has no name and is gone with the process.
    let file = rustix::fs::memfd_create("process.json", MemfdFlags::CLOEXEC)
        .map_err(|errno| RuntimeFailure::kernel("make a file for the process")(errno.into()))?;
    let mut file = fs::File::from(file);
    file.write_all(&text).map_err(RuntimeFailure::kernel("write the process"))?;
    let causes = Causes::keep();
    let pid = ContainerBuilder::new(request.id.as_str().to_owned(), SyscallType::default())
        .with_root_path(&own.path)
        .map_err(RuntimeFailure::step("open the state directory"))?
        .with_console_socket(request.console_socket.as_deref())
        .with_executor(executor)
        .as_tenant()
        .with_process(Some(format!("/proc/self/fd/{}", file.as_raw_fd())))
        .with_detach(true)
        .build()
        .map_err(|error| causes.of(&error))?;
    Ok(pid.as_raw())
}

/// What libcontainer takes for its root directory during one exec. It leaves sockets and links there, which go with
/// the directory, and it wants a state file that says `running`.
struct OwnDirectory {
    path: PathBuf,
}

impl OwnDirectory {
    fn make(state: &StateDir, record: &Record) -> Result<Self, RuntimeFailure> {
        let path = state.path().join(format!("exec-{}", std::process::id()));
        let own = Self { path: path.clone() };
        let directory = path.join(state.id());
        fs::create_dir_all(&directory).map_err(RuntimeFailure::file("make", &directory))?;
        let pid = record.init.map(|init| init.pid());
        let mut given = State::new(state.id().as_str(), ContainerStatus::Running, pid, state.exec_bundle());
        given.use_systemd = record.cgroup.is_systemd();
        let text = serde_json::to_vec(&given).map_err(|source| RuntimeFailure::Json { what: "the state", source })?;
        let file = directory.join("state.json");
        fs::write(&file, text).map_err(RuntimeFailure::file("write", &file))?;
        Ok(own)
    }
}

impl Drop for OwnDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            report::note(&format!("remove {}: {error}", self.path.display()));
        }
    }
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
