//! Runs the node's own programs, in the node's own tree, with a deadline.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};

use super::error::InstallError;
use crate::Verdict;
use crate::error::CliError;

/// What is told of a program that failed, in bytes.
const MOST_TOLD: usize = 2 << 10;
/// Of its output, in bytes: a configuration has some 20 KB.
const MOST_OUTPUT: u64 = 8 << 20;
/// Between two looks whether it has ended.
const PAUSE: Duration = Duration::from_millis(10);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program did.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) status: ExitStatus,
    pub(super) out: String,
    pub(super) errors: String,
}

impl Ran {
    /// The end of what it said, in one line.
    pub(super) fn said(&self) -> String {
        let text = if self.errors.trim().is_empty() { &self.out } else { &self.errors };
        let text: Vec<&str> = text.split_whitespace().collect();
        let text = text.join(" ");
        let mut start = text.len().saturating_sub(MOST_TOLD);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        format!("{} ({})", text.get(start..).unwrap_or_default(), self.status)
    }
}

/// Runs a program of the tree at `root` to its end.
pub(super) fn run(root: &Path, words: &[&str], patience: Duration) -> Result<Ran, InstallError> {
    let command_line = words.join(" ");
    let failed = |error: io::Error| InstallError::Run { command: command_line.clone(), why: error.to_string() };
    let (program, arguments) = words.split_first().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let mut command = if root == Path::new("/") {
        Command::new(program)
    } else {
        let mut command = Command::new("/proc/self/exe");
        command.arg("within").arg(root).arg(program);
        command
    };
    // A child of the program may hold what it writes to: files end where pipes don't.
    let output = || Ok::<File, io::Error>(File::from(memfd_create("output", MemfdFlags::CLOEXEC)?));
    let (mut out, mut errors) = (output().map_err(failed)?, output().map_err(failed)?);
    command.args(arguments).env_clear().env("PATH", PATH).current_dir("/").stdin(Stdio::null());
    // In a chroot into the node's own tree systemctl would think that it is in some other one. Source: systemd docs/ENVIRONMENT.md.
    command.env("SYSTEMD_IGNORE_CHROOT", "1");
    command.stdout(out.try_clone().map_err(failed)?).stderr(errors.try_clone().map_err(failed)?);
    let mut child = command.spawn().map_err(failed)?;
    let deadline = Instant::now() + patience;
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None if Instant::now() < deadline => thread::sleep(PAUSE),
            None => {
                child.kill().and_then(|()| child.wait()).map_err(failed)?;
                let why = format!("it had not ended after {} s", patience.as_secs());
                return Err(InstallError::Run { command: command_line, why });
            }
        }
    };
    Ok(Ran { status, out: read(&mut out).map_err(failed)?, errors: read(&mut errors).map_err(failed)? })
}

fn read(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MOST_OUTPUT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `palisade within ROOT PROGRAM …`: becomes a program of another tree. A process of its own, since a root is changed for all of one.
pub(crate) fn within(root: &PathBuf, words: &[OsString]) -> Result<Verdict, CliError> {
    let failed = |source| CliError::Read { path: root.clone(), source };
    std::os::unix::fs::chroot(root).map_err(failed)?;
    std::env::set_current_dir("/").map_err(failed)?;
    let (program, arguments) = words.split_first().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    Err(CliError::Read { path: program.into(), source: Command::new(program).args(arguments).exec() })
}
