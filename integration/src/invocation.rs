//! Running a command with a deadline and keeping all that it said.

use std::io::{Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use crate::{Failure, poll};

/// What a command did.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Invocation {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// The command cannot be started, or has not ended after `seconds` and is killed.
    pub fn run(command: &mut Command, stdin: &[u8], seconds: u64) -> Result<Self, Failure> {
        let line = command_line(command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| Failure::Io { action: format!("start `{line}`"), source })?;
        if let Some(mut pipe) = child.stdin.take() {
            // A command that ends without reading its input is no failure of ours.
            pipe.write_all(stdin)
                .or_else(ignore_closed_pipe)
                .map_err(|source| Failure::Io { action: format!("write to `{line}`"), source })?;
        }
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let status = wait(&mut child, &line, seconds)?;
        Ok(Self { command: line, status, stdout: text(stdout), stderr: text(stderr) })
    }

    /// The standard output of a command that must have succeeded.
    ///
    /// # Errors
    /// It ended otherwise.
    pub fn success(self) -> Result<String, Failure> {
        if self.status.success() { Ok(self.stdout) } else { Err(self.failure()) }
    }

    /// The standard error of a command that must have failed.
    ///
    /// # Errors
    /// It succeeded.
    pub fn refusal(self) -> Result<String, Failure> {
        if self.status.success() { Err(self.failure()) } else { Ok(self.stderr) }
    }

    /// The exit code, or 128 + signal as a shell has it.
    #[must_use]
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt as _;
        self.status.code().or_else(|| self.status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
    }

    fn failure(self) -> Failure {
        Failure::Command {
            command: self.command,
            ending: self.status.to_string(),
            output: format!("{}{}", self.stdout, self.stderr),
        }
    }
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn ignore_closed_pipe(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before a broken pipe is still the output.
            pipe.read_to_end(&mut bytes).ok();
        }
        bytes
    })
}

fn text(output: JoinHandle<Vec<u8>>) -> String {
    output.join().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn wait(child: &mut Child, line: &str, seconds: u64) -> Result<ExitStatus, Failure> {
    let ended = poll::eventually(&format!("the end of `{line}`"), seconds, || match child.try_wait() {
        Ok(Some(status)) => Ok(status),
        Ok(None) => Err("still running".to_owned()),
        Err(error) => Err(error.to_string()),
    });
    if ended.is_err() {
        // The child may have ended in this very moment; the failure to report is the deadline.
        child.kill().and_then(|()| child.wait()).ok();
    }
    ended
}
