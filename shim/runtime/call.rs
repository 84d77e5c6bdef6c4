//! One call of a runtime: a child process with a deadline, whose last log line is the error.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, CommandArgs, Stdio};
use std::time::Duration;

use palisade_seccomp::CompileError;
use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;

use super::embedded::within::{NotDone, Within};
use super::filter_program::FilterFile;
use super::listening::Listening;
use super::log::CallLog;
use super::view::HostView;
use crate::task::Reaper;

/// Longest wait for the end of a runtime that was killed; only a kernel that is stuck takes as long.
const KILLED: Duration = Duration::from_secs(5);

/// Why a call failed.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// The program can't be started.
    #[error("start the OCI runtime for {verb}")]
    Spawn {
        /// The command.
        verb: &'static str,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The system call profile can't be put in force.
    #[error("linux.seccomp can't be put in force")]
    Filter(#[source] CompileError),
    /// What was judged can't be shown to it.
    #[error("{action} for the OCI runtime")]
    View {
        /// What was done.
        action: &'static str,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// A mount can't be made to show its files as those of the container's users.
    #[error(
        "mounts[{mount}] can't show its files as those of the pod's users (idmapped mount): the kernel, its filesystem or one that is mounted below it has no such mounts, or it is one already"
    )]
    Idmap {
        /// Index in `/mounts`.
        mount: usize,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// It ended with a failure.
    #[error("OCI runtime {verb} failed: {message}")]
    Failed {
        /// The command.
        verb: &'static str,
        /// The last error of its log, or its exit status.
        message: String,
    },
    /// It did not end in time and was killed.
    #[error("OCI runtime {verb} did not end within {} s ([runtime] deadline) and was killed", deadline.as_secs())]
    Deadline {
        /// The command.
        verb: &'static str,
        /// The admin's.
        deadline: Duration,
    },
    /// It ended well and left no pid.
    #[error("OCI runtime {verb} left no usable pid file")]
    PidFile {
        /// The command.
        verb: &'static str,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

/// The ends of the pipes that a container's process gets; `None` is `/dev/null`.
#[derive(Debug, Default)]
pub struct ChildStdio {
    /// fd 0.
    pub stdin: Option<OwnedFd>,
    /// fd 1.
    pub stdout: Option<OwnedFd>,
    /// fd 2.
    pub stderr: Option<OwnedFd>,
}

impl ChildStdio {
    fn attach(self, command: &mut Command) {
        let end = |fd: Option<OwnedFd>| fd.map_or_else(Stdio::null, Stdio::from);
        command.stdin(end(self.stdin)).stdout(end(self.stdout)).stderr(end(self.stderr));
    }
}

/// A call that was made ready and not run yet.
#[derive(Debug)]
pub struct Call {
    verb: &'static str,
    command: Command,
    stdio: Option<ChildStdio>,
    log: CallLog,
    /// containerd waits without an end, so a hanging runtime would hang the pod.
    deadline: Duration,
    view: Option<HostView>,
    within: Option<Within>,
}

impl Call {
    pub(super) fn new(verb: &'static str, command: Command, log: CallLog, deadline: Duration) -> Self {
        Self { verb, command, stdio: None, log, deadline, view: None, within: None }
    }

    /// Gives the runtime, and through it the container's process, these streams.
    pub(super) fn with(self, stdio: ChildStdio) -> Self {
        Self { stdio: Some(stdio), ..self }
    }

    /// Lets this process do it where that is possible.
    pub(super) fn or_within(self, within: Option<Within>) -> Self {
        Self { within, ..self }
    }

    /// The runtime's command, as errors name it.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        self.verb
    }

    /// What the program is called with.
    pub fn arguments(&self) -> CommandArgs<'_> {
        self.command.get_args()
    }

    /// The streams of the container's process, for a call that starts one.
    #[must_use]
    pub fn into_stdio(self) -> Option<ChildStdio> {
        self.stdio
    }

    /// Makes the runtime see the host as `view` shows it.
    #[must_use]
    pub fn seeing(self, view: HostView) -> Self {
        Self { view: Some(view), ..self }
    }

    /// Has the embedded runtime send the listener of the process's filter. Other runtimes have no such option.
    #[must_use]
    pub fn asking(mut self, listening: Option<&Listening>) -> Self {
        if let Some(listening) = listening {
            listening.write(&mut self.command);
        }
        self
    }

    /// Has the embedded runtime load this program; the document that it reads then has no profile. Other runtimes have no such option.
    #[must_use]
    pub fn filtered_by(mut self, program: Option<&FilterFile>) -> Self {
        if let Some(program) = program {
            self.command.arg(format!("--{}", FilterFile::OPTION)).arg(program.path());
        }
        self
    }

    /// Runs the call to its end.
    ///
    /// The runtime leads a process group, so that past the deadline its helpers are killed with it.
    ///
    /// # Errors
    ///
    /// [`RuntimeError`].
    pub async fn run(self, reaper: &Reaper) -> Result<(), RuntimeError> {
        let Self { verb, mut command, stdio, log, deadline, view, within } = self;
        if let Some(within) = within
            && let Some(done) = within.attempt(deadline).await
        {
            return done.map_err(|not_done| match not_done {
                NotDone::Failed(message) => RuntimeError::Failed { verb, message },
                NotDone::Deadline => RuntimeError::Deadline { verb, deadline },
            });
        }
        command.process_group(0);
        if let Some(stdio) = stdio {
            stdio.attach(&mut command);
        }
        // The command holds the container's ends of the pipes: a reader sees the end only when they are closed.
        let child = match view {
            Some(view) => view.spawn(command, reaper.clone()).await?,
            None => {
                let child = reaper.spawn(&mut command);
                drop(command);
                child.map_err(|source| RuntimeError::Spawn { verb, source })?
            }
        };
        let pid = child.pid();
        let mut exit = pin!(child.exit());
        match tokio::time::timeout(deadline, &mut exit).await {
            Ok(exit) if exit.status() == 0 => Ok(()),
            Ok(exit) => Err(RuntimeError::Failed { verb, message: log.last_error(exit.status()) }),
            Err(_) => {
                kill_group(pid);
                // Whoever cleans up after it must not race it.
                if tokio::time::timeout(KILLED, exit).await.is_err() {
                    crate::warn!("OCI runtime {pid} for {verb} was killed and does not end");
                }
                Err(RuntimeError::Deadline { verb, deadline })
            }
        }
    }
}

/// The pid of the process that a call has left behind.
///
/// # Errors
///
/// [`RuntimeError::PidFile`].
pub(crate) fn read_pid(verb: &'static str, pid_file: &Path) -> Result<u32, RuntimeError> {
    let failed = |source| RuntimeError::PidFile { verb, source };
    let text = fs::read_to_string(pid_file).map_err(failed)?;
    match text.trim().parse() {
        Ok(pid) if pid > 1 => Ok(pid),
        _ => Err(failed(io::ErrorKind::InvalidData.into())),
    }
}

fn kill_group(pid: u32) {
    let group = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(group) = group
        && let Err(error) = kill_process_group(group, Signal::KILL)
    {
        crate::warn!("kill the runtime's process group {pid}: {error}");
    }
}
