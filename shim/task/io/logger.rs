//! `binary://`: a program of the node's that takes a process's output, such as nerdctl's logging drivers.
//!
//! It gets stdout at descriptor 3 and stderr at 4, and says that it is ready by closing descriptor 5. It ends by itself when both outputs have.
//! Source: containerd `core/runtime/v2/README.md`, "Logging", and `cmd/containerd-shim-runc-v2/process/io.go`.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio as ChildStream};
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::Interest;
use tokio::time::Instant;

use super::copy::nonblocking;
use super::{StdioError, Streams, pipe};
use crate::gate::is_roots_program;
use crate::task::host::SignalTarget;
use crate::task::reaper::Child;
use crate::task::signal::SignalNumber;

/// Longest time until the program is ready.
const READY: Duration = Duration::from_secs(10);
/// Between SIGTERM and SIGKILL for one that does not end though its input has; containerd's own shim gives as much.
const PATIENCE: Duration = Duration::from_secs(12);
/// Where the program finds stdout, stderr, and the pipe that it closes when it is ready.
const DESCRIPTORS: [i32; 3] = [3, 4, 5];

/// A program and its arguments, as a URI names them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LoggerCommand {
    program: PathBuf,
    arguments: Vec<String>,
}

/// A logging program that runs.
#[derive(Debug)]
pub(super) struct Logger {
    program: PathBuf,
    child: Child,
    target: Box<dyn SignalTarget>,
}

/// The writing ends of its pipes.
#[derive(Debug)]
pub(super) struct LoggerEnds {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

impl LoggerCommand {
    /// From what stands behind `binary://`. Each pair of the query is two arguments, its name and its value.
    pub(super) fn parse(text: &str) -> Self {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let pairs = form_urlencoded::parse(query.as_bytes());
        let arguments = pairs.flat_map(|(name, value)| [name.into_owned(), value.into_owned()]).collect();
        Self { program: path.into(), arguments }
    }

    /// Starts it and waits until it is ready.
    pub(super) async fn start(self, streams: &Streams<'_>) -> Result<(Logger, LoggerEnds), StdioError> {
        if !is_roots_program(&self.program) {
            return Err(StdioError::NotRoots(self.program));
        }
        let (out, stdout) = pipe(streams.owner)?;
        let (err, stderr) = pipe(streams.owner)?;
        let (ready, say_ready) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| StdioError::Pipe(errno.into()))?;
        let logger = self.spawn(streams, [out, err, say_ready])?;
        match logger.ready(ready).await {
            Ok(()) => Ok((logger, LoggerEnds { stdout, stderr })),
            Err(error) => {
                drop((stdout, stderr));
                logger.end(Instant::now()).await;
                Err(error)
            }
        }
    }

    fn spawn(&self, streams: &Streams<'_>, descriptors: [OwnedFd; 3]) -> Result<Logger, StdioError> {
        let failed = |source| StdioError::Io { action: "start", path: self.program.clone(), source };
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs([("CONTAINER_ID", streams.id), ("CONTAINER_NAMESPACE", streams.namespace)])
            .current_dir("/")
            .stdin(ChildStream::null())
            .stdout(ChildStream::null())
            .stderr(ChildStream::null());
        let mappings = descriptors.into_iter().zip(DESCRIPTORS);
        let mappings = mappings.map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd }).collect();
        command.fd_mappings(mappings).map_err(|error| failed(std::io::Error::other(error)))?;
        let child = streams.reaper.spawn(&mut command).map_err(failed)?;
        let target = streams.host.signal_target(child.pid()).map_err(|_| self.problem("ended at once"))?;
        Ok(Logger { program: self.program.clone(), child, target })
    }

    fn problem(&self, problem: &'static str) -> StdioError {
        StdioError::Logger { program: self.program.clone(), problem }
    }
}

impl Logger {
    /// A byte or the end of the pipe: both say ready.
    async fn ready(&self, pipe: OwnedFd) -> Result<(), StdioError> {
        let pipe = nonblocking(pipe, Interest::READABLE)?;
        let said = pipe.async_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut [0; 1])?));
        match tokio::time::timeout(READY, said).await {
            Ok(said) => said.map(drop).map_err(StdioError::Pipe),
            Err(_) => Err(StdioError::Logger { program: self.program.clone(), problem: "was not ready in time" }),
        }
    }

    /// Waits for its end until `end`, the process's output being over. One that goes on is ended, without keeping anybody waiting.
    pub(super) async fn end(self, end: Instant) {
        let Self { program, child, target } = self;
        let mut exit = Box::pin(child.exit());
        if tokio::time::timeout_at(end, &mut exit).await.is_ok() {
            return;
        }
        crate::warn!("logging program {program:?} goes on after its input has ended");
        tokio::spawn(async move {
            for signal in [SignalNumber::TERM, SignalNumber::KILL] {
                if target.send(signal).is_err() || tokio::time::timeout(PATIENCE, &mut exit).await.is_ok() {
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_names_and_values_in_their_order() {
        let command = LoggerCommand::parse("/usr/bin/nerdctl?_NERDCTL_INTERNAL_LOGGING=%2Fvar%2Flib&b=&a=x+y");
        assert_eq!(command.program, PathBuf::from("/usr/bin/nerdctl"));
        assert_eq!(command.arguments, ["_NERDCTL_INTERNAL_LOGGING", "/var/lib", "b", "", "a", "x y"]);
        assert_eq!(LoggerCommand::parse("/bin/log").arguments, [""; 0]);
    }
}
