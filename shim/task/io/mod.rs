//! stdio of a process: containerd's FIFOs on one side, pipes or a terminal on the other.
//!
//! The process gets pipes of the shim's, never containerd's FIFOs: a FIFO that a background process of the
//! container keeps open would never end, and one whose reader went away with containerd would kill the
//! workload by SIGPIPE. Source: containerd `docs/runtime-v2.md`, "I/O".

mod console;
mod copy;
mod fifo;
mod logger;
mod target;
mod thread;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Gid, Uid, fchown};
use rustix::pipe::{PipeFlags, pipe_with};
use thiserror::Error;
use tokio::task::JoinHandle;

pub(super) use console::{Console, ConsoleSocket};
use copy::Sink;
use logger::{Logger, LoggerEnds};
use target::Target;

use super::host::Host;
use super::reaper::Reaper;
use crate::runtime::ChildStdio;

/// Why stdio can't be set up.
#[derive(Debug, Error)]
pub enum StdioError {
    /// The URI's scheme is not one that a process may be connected to.
    #[error("stdio {uri:?}: scheme {scheme:?} is not offered; known: a FIFO's path, file://, binary://")]
    Scheme {
        /// The URI.
        uri: String,
        /// Its scheme.
        scheme: String,
    },
    /// The path is not absolute.
    #[error("stdio {0:?} is not an absolute path")]
    Relative(String),
    /// The path is something else than it should be.
    #[error("stdio {path:?} is not a {expected}")]
    WrongKind {
        /// The path.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// The kernel refused.
    #[error("{action} {path:?}")]
    Io {
        /// What was done.
        action: &'static str,
        /// With which path.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// Others than root could have put the program there.
    #[error("logging program {0:?} is a link, or others than root can write it")]
    NotRoots(PathBuf),
    /// The logging program ended, or did not say in time that it is ready.
    #[error("logging program {program:?} {problem}")]
    Logger {
        /// The program.
        program: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A pipe can't be made.
    #[error("make a pipe")]
    Pipe(#[source] io::Error),
    /// The runtime did not hand over the terminal.
    #[error("the OCI runtime sent no terminal")]
    NoTerminal(#[source] io::Error),
}

/// What a request says of a process's stdio; empty strings are `/dev/null`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stdio {
    pub(super) stdin: String,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) terminal: bool,
}

/// Who owns the pipes, so that a process that is not root can open `/dev/stdout` again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Everything that connecting a process's streams takes.
#[derive(Clone, Copy)]
pub(super) struct Streams<'a> {
    pub(super) stdio: &'a Stdio,
    pub(super) owner: Owner,
    /// The container's id, or the exec's, and containerd's namespace: what a logging program is told.
    pub(super) id: &'a str,
    pub(super) namespace: &'a str,
    pub(super) reaper: &'a Reaper,
    pub(super) host: &'a dyn Host,
}

/// The shim's side of a process's stdio.
#[derive(Debug, Default)]
pub(super) struct ProcessIo {
    /// Held open so that the process's stdin ends with `CloseIO`, not when containerd restarts.
    stdin_hold: Option<OwnedFd>,
    input: Vec<JoinHandle<()>>,
    output: Vec<JoinHandle<()>>,
    console: Option<Console>,
    logger: Option<Logger>,
}

impl ProcessIo {
    /// Pipes for a process without a terminal, and the copies between them and the targets.
    pub(super) async fn pipes(streams: &Streams<'_>) -> Result<(Self, ChildStdio), StdioError> {
        let Streams { stdio, owner, .. } = *streams;
        let mut io = Self::default();
        let mut child = ChildStdio::default();
        if let Target::Fifo(path) = Target::parse(&stdio.stdin)? {
            let (read, write) = pipe(owner)?;
            io.connect_input(&path, Sink::pipe(write)?)?;
            child.stdin = Some(read);
        }
        if let Target::Logger(command) = Target::parse(&stdio.stdout)? {
            let (logger, ends) = command.start(streams).await?;
            io.logger = Some(logger);
            (child.stdout, child.stderr) = (Some(ends.stdout), Some(ends.stderr));
        } else {
            child.stdout = io.output_pipe(&stdio.stdout, owner)?;
            child.stderr = io.output_pipe(&stdio.stderr, owner)?;
        }
        Ok((io, child))
    }

    fn output_pipe(&mut self, uri: &str, owner: Owner) -> Result<Option<OwnedFd>, StdioError> {
        let target = Target::parse(uri)?;
        let Some(sink) = target.open_sink()? else { return Ok(None) };
        let (read, write) = pipe(owner)?;
        let source = copy::source(read)?;
        self.output.push(thread::spawn(copy::copy(source, sink)));
        Ok(Some(write))
    }

    fn connect_input(&mut self, path: &Path, sink: Sink) -> Result<(), StdioError> {
        let (read, hold) = fifo::open_input(path)?;
        self.copy_input(read, hold, sink)
    }

    fn copy_input(&mut self, read: OwnedFd, hold: OwnedFd, sink: Sink) -> Result<(), StdioError> {
        let source = copy::source(read)?;
        self.stdin_hold = Some(hold);
        self.input.push(thread::spawn(copy::copy(source, sink)));
        Ok(())
    }

    /// Connects a terminal's master end.
    pub(super) fn terminal(ends: TerminalEnds, console: Console) -> Result<Self, StdioError> {
        let mut io = Self::default();
        if let Some((read, hold)) = ends.input {
            io.copy_input(read, hold, console.sink())?;
        }
        if let Some(sink) = ends.output {
            io.output.push(thread::spawn(copy::copy(console.source(), sink)));
        }
        io.logger = ends.logger;
        io.console = Some(console);
        Ok(io)
    }

    /// Sets the terminal's size in characters; nothing where there is no terminal.
    pub(super) fn resize(&self, width: u16, height: u16) -> io::Result<()> {
        self.console.as_ref().map_or(Ok(()), |console| console.resize(width, height))
    }

    /// Lets stdin end once what was written is read.
    pub(super) fn close_stdin(&mut self) {
        self.stdin_hold = None;
    }

    /// Waits until all output was copied or taken by the logging program, at most `limit`: a background process may
    /// hold the pipe for good.
    pub(super) async fn drain(&mut self, limit: Duration) {
        let logger = self.logger.take();
        let copies = std::mem::take(&mut self.output);
        let aborts: Vec<_> = copies.iter().map(JoinHandle::abort_handle).collect();
        let all = async {
            for copy in copies {
                // A copy that was aborted or panicked has nothing left to wait for.
                drop(copy.await);
            }
        };
        let end = tokio::time::Instant::now() + limit;
        if tokio::time::timeout_at(end, all).await.is_err() {
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
        }
        if let Some(logger) = logger {
            logger.end(end).await;
        }
    }
}

/// containerd's ends of a terminal, opened before the runtime is called: what can't be opened then leaves nothing.
#[derive(Debug)]
pub(super) struct TerminalEnds {
    input: Option<(OwnedFd, OwnedFd)>,
    output: Option<Sink>,
    logger: Option<Logger>,
}

impl TerminalEnds {
    pub(super) async fn open(streams: &Streams<'_>) -> Result<Self, StdioError> {
        let input = match Target::parse(&streams.stdio.stdin)? {
            Target::Fifo(path) => Some(fifo::open_input(&path)?),
            Target::Null | Target::File(_) | Target::Logger(_) => None,
        };
        let target = Target::parse(&streams.stdio.stdout)?;
        if let Target::Logger(command) = target {
            // A terminal has one output.
            let (logger, LoggerEnds { stdout, .. }) = command.start(streams).await?;
            return Ok(Self { input, output: Some(Sink::pipe(stdout)?), logger: Some(logger) });
        }
        Ok(Self { input, output: target.open_sink()?, logger: None })
    }
}

impl Drop for ProcessIo {
    fn drop(&mut self) {
        self.input.iter().chain(&self.output).for_each(JoinHandle::abort);
    }
}

fn pipe(owner: Owner) -> Result<(OwnedFd, OwnedFd), StdioError> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| StdioError::Pipe(errno.into()))?;
    // Both ends are one inode.
    fchown(&read, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
        .map_err(|errno| StdioError::Pipe(errno.into()))?;
    Ok((read, write))
}

#[cfg(test)]
mod tests;
