//! Which runtime, and its command line.
//!
//! Source: the runc command line, which crun and the embedded runtime share.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use palisade_policy::{Policy, RuntimeChoice};
use serde::{Deserialize, Serialize};

use super::call::{Call, ChildStdio};
use super::embedded::within::Within;
use super::log::CallLog;
use crate::attest::Attested;
use crate::bundle::PrivateDir;

/// First argument that makes the shim's binary the embedded OCI runtime.
pub const RUNTIME_ARGUMENT: &str = "runtime";
/// Program name that does the same, for callers that expect an OCI runtime binary.
const RUNTIME_NAME: &str = "palisade-runtime";

/// Whether the program was started under the runtime's name.
#[must_use]
pub fn is_runtime_name(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new(RUNTIME_NAME))
}

/// Part of the deadline, in quarters, after which the embedded runtime interrupts itself and takes back what it has made: better than
/// to be killed at the deadline itself.
const OWN_QUARTERS: u32 = 3;

/// The runtime of a container. It is chosen by the admin's file alone, never by a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Program", from = "Program")]
pub struct OciRuntime {
    program: Program,
    deadline: Duration,
}

/// What is written down of a runtime: its deadline counts for the shim that was told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Program {
    /// This binary, in a process of its own.
    Embedded,
    /// An absolute path to runc or crun.
    Binary(PathBuf),
}

impl From<OciRuntime> for Program {
    fn from(runtime: OciRuntime) -> Self {
        runtime.program
    }
}

impl From<Program> for OciRuntime {
    fn from(program: Program) -> Self {
        Self { program, deadline: Policy::builtin().runtime_deadline() }
    }
}

impl OciRuntime {
    /// The policy's choice.
    #[must_use]
    pub fn chosen_by(policy: &Policy) -> Self {
        let program = match policy.runtime() {
            RuntimeChoice::Embedded => Program::Embedded,
            RuntimeChoice::Binary(path) => Program::Binary(path.clone()),
        };
        Self { program, deadline: policy.runtime_deadline() }
    }

    /// Whether it is the shim's own binary.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.program == Program::Embedded
    }

    /// `/proc/self/exe` stays the running binary when the file is replaced by an upgrade.
    fn program(&self) -> Command {
        let mut command = match &self.program {
            Program::Embedded => {
                let mut command = Command::new("/proc/self/exe");
                command.arg(RUNTIME_ARGUMENT);
                command
            }
            Program::Binary(path) => Command::new(path),
        };
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// The program with the flags that each call has; errors go to a log file, since stderr is the container's.
    fn with_state(&self, dir: &PrivateDir, log: &Path) -> Command {
        let mut command = self.program();
        command.arg("--root").arg(dir.runtime_root()).arg("--log").arg(log).args(["--log-format", "json"]);
        if self.is_embedded() {
            let own = (self.deadline * OWN_QUARTERS / 4).as_secs().max(1);
            command.arg("--deadline").arg(own.to_string());
        }
        command.current_dir(dir.path());
        command
    }

    fn call(&self, dir: &PrivateDir, verb: &'static str, arguments: impl FnOnce(&mut Command)) -> Call {
        let log = CallLog::new();
        let mut command = self.with_state(dir, &log.path());
        command.arg(verb);
        arguments(&mut command);
        Call::new(verb, command, log, self.deadline)
    }

    /// `create`: makes the container from the private bundle; its init process waits for `start`.
    #[must_use]
    pub fn create(
        &self,
        dir: &PrivateDir,
        id: &str,
        stdio: ChildStdio,
        console: Option<&Path>,
        pid_file: &Path,
        systemd: bool,
    ) -> Call {
        let log = CallLog::new();
        let mut command = self.with_state(dir, &log.path());
        if systemd {
            command.arg("--systemd-cgroup");
        }
        command.arg("create").arg("--bundle").arg(dir.path()).arg("--pid-file").arg(pid_file);
        if let Some(console) = console {
            command.arg("--console-socket").arg(console);
        }
        command.arg(id);
        Call::new("create", command, log, self.deadline).with(stdio)
    }

    /// `exec`: runs a process, given as a file, in the container.
    #[must_use]
    pub fn exec(
        &self,
        dir: &PrivateDir,
        id: &str,
        process: &Path,
        stdio: ChildStdio,
        console: Option<&Path>,
        pid_file: &Path,
    ) -> Call {
        let log = CallLog::new();
        let mut command = self.with_state(dir, &log.path());
        command.arg("exec").arg("--process").arg(process).arg("--pid-file").arg(pid_file).arg("--detach");
        if let Some(console) = console {
            command.arg("--console-socket").arg(console);
        }
        command.arg(id);
        Call::new("exec", command, log, self.deadline).with(stdio)
    }

    /// `start`: lets the init process go on to the container's program, once it was found to be what was decided.
    #[must_use]
    pub fn start(&self, dir: &PrivateDir, id: &str, _: &Attested) -> Call {
        let call = self.call(dir, "start", |command| {
            command.arg(id);
        });
        call.or_within(self.is_embedded().then(|| Within::start(dir.runtime_root(), id)))
    }

    /// `delete`: removes a stopped container; with `force` also one that runs.
    #[must_use]
    pub fn delete(&self, dir: &PrivateDir, id: &str, force: bool) -> Call {
        let call = self.call(dir, "delete", |command| {
            if force {
                command.arg("--force");
            }
            command.arg(id);
        });
        call.or_within(self.is_embedded().then(|| Within::delete(dir.runtime_root(), id, force)))
    }

    /// `pause`: freezes the container's processes.
    #[must_use]
    pub fn pause(&self, dir: &PrivateDir, id: &str) -> Call {
        self.call(dir, "pause", |command| {
            command.arg(id);
        })
    }

    /// `resume`: thaws them.
    #[must_use]
    pub fn resume(&self, dir: &PrivateDir, id: &str) -> Call {
        self.call(dir, "resume", |command| {
            command.arg(id);
        })
    }

    /// `update`: sets limits, given as a file with `LinuxResources`.
    #[must_use]
    pub fn update(&self, dir: &PrivateDir, id: &str, resources: &Path) -> Call {
        self.call(dir, "update", |command| {
            command.arg("--resources").arg(resources).arg(id);
        })
    }

    /// `delete --force` as a bare command, for `shim delete`, which has no event loop.
    #[must_use]
    pub fn force_delete(&self, dir: &PrivateDir, id: &str) -> Command {
        let mut command = self.with_state(dir, Path::new("/dev/null"));
        // stdout is where containerd reads the reply of `shim delete`.
        command.args(["delete", "--force", id]).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// `features`: prints the OCI features document.
    #[must_use]
    pub fn features(&self) -> Command {
        let mut command = self.program();
        command.arg("features");
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen_by(policy: &str) -> OciRuntime {
        OciRuntime::chosen_by(&Policy::from_toml(policy).unwrap())
    }

    #[test]
    fn what_is_written_down_is_the_program_alone() {
        let runtime = chosen_by("[runtime]\nbinary = '/usr/sbin/runc'\ndeadline = 5");
        let text = serde_json::to_string(&runtime).unwrap();
        assert_eq!(text, r#"{"Binary":"/usr/sbin/runc"}"#, "as earlier versions wrote it");
        let read: OciRuntime = serde_json::from_str(&text).unwrap();
        assert_eq!((read.program, read.deadline), (runtime.program, Duration::from_secs(60)));
        assert!(serde_json::from_str::<OciRuntime>("\"Embedded\"").unwrap().is_embedded());
    }

    #[test]
    fn only_the_runtimes_own_name_makes_it_the_runtime() {
        assert!(is_runtime_name(OsStr::new("/usr/bin/palisade-runtime")));
        assert!(!is_runtime_name(OsStr::new("/usr/bin/containerd-shim-palisade-v1")));
    }

    #[test]
    fn a_runtime_gets_no_environment_of_ours() {
        let command = chosen_by("[runtime]\nbinary = '/usr/sbin/runc'").features();
        let names: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["PATH"]);
    }
}
