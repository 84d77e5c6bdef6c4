//! The embedded OCI runtime: the runc command line, with libcontainer inside.
//!
//! The shim starts its own binary again for each call but the plainest (see [`within`]), so every other call is a fresh process with one thread. That is
//! what libcontainer needs: it clones raw, changes the working directory, writes `oom_score_adj` and makes the
//! process undumpable. Nothing of that reaches the shim.
//!
//! ```text
//! Invocation ─▶ protected binary ─▶ deadline ─▶ verb ─▶ exit code, one line on stderr, one JSON line in --log
//! ```
//!
//! What libcontainer 0.7 does not do, or does wrong, is done here: the seccomp filter, exec as a whole, reading credentials
//! back, device rules on cgroup v2, signals, delete, update, and the truth about a container's state. A spec that cannot be enforced is refused (see [`spec`]).

mod arguments;
mod causes;
mod cgroup;
mod cgroup_mounts;
mod clock;
mod create;
mod credentials;
mod deadline;
mod delete;
mod devices;
mod environment;
mod error;
mod exec;
mod executable;
mod executor;
mod execve;
mod features;
mod filter;
mod freeze;
mod id;
mod init_process;
mod joined_pid_cgroup_mounts;
mod kill;
mod mount_namespace;
mod null_device;
mod program;
mod propagation;
mod ps;
mod report;
pub(crate) mod seal;
mod signal;
mod spec;
mod start;
mod state;
mod state_document;
mod systemd_unit;
mod update;
pub(in crate::runtime) mod within;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::{Command, Invocation};
use error::RuntimeFailure;
use report::Report;

use crate::unsafe_syscalls;

/// Runs one OCI runtime command in this process.
///
/// `args` are the arguments after the program's name (and after the word that makes the shim's binary the
/// runtime). The process must be fresh: one thread, no state worth keeping.
///
/// The exit code is 0 on success and 1 on failure; a foreground `exec` gives its process's own code. A failure
/// is one line on stderr and, with `--log`, one JSON line `{"level":"error","msg":…,"time":…}` as runc writes it.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let invocation = match Invocation::parse(&args) {
        Ok(invocation) => invocation,
        Err(error) => return Report::default().failed(&error.into()),
    };
    let report = Report::to(invocation.log());
    report.clone().take_panics();
    match execute(invocation, &args) {
        Ok(code) => code,
        Err(error) => report.failed(&error),
    }
}

/// What the caller left open or set must not reach a container. Kernels before 5.9 can't close all at once; there
/// libcontainer marks the descriptors one by one before the execve.
fn forget_inheritance() -> Result<(), RuntimeFailure> {
    match unsafe_syscalls::forget_inheritance() {
        Err(error) if error.raw_os_error() != Some(libc::ENOSYS) => {
            Err(RuntimeFailure::kernel("close inherited descriptors")(error))
        }
        _ => Ok(()),
    }
}

fn execute(invocation: Invocation, args: &[OsString]) -> Result<ExitCode, RuntimeFailure> {
    forget_inheritance()?;
    if invocation.command().enters_container() {
        seal::run_from_read_only_binary(args)?;
    }
    let limit = invocation.deadline();
    deadline::arm(limit).map_err(RuntimeFailure::deadline)?;
    let (root, command) = invocation.into_parts();
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Create(request) => create::create(&root, request, limit).map(done),
        Command::Start(id) => start::start(&root, &id).map(done),
        Command::Exec(request) => exec::exec(&root, request),
        Command::Kill(request) => kill::kill(&root, &request).map(done),
        Command::Delete { id, force } => delete::delete(&root, &id, force).map(done),
        Command::State(id) => state_document::print(&root, &id).map(done),
        Command::Update { id, resources } => update::update(&root, &id, &resources).map(done),
        Command::Pause(id) => freeze::pause(&root, &id).map(done),
        Command::Resume(id) => freeze::resume(&root, &id).map(done),
        Command::Ps { id, format } => ps::print(&root, &id, format).map(done),
        Command::Features => features::print().map(done),
        Command::Version => report::print(&report::version()).map(done),
        Command::Help => report::print(arguments::USAGE).map(done),
    }
}
