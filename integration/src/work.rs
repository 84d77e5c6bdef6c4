//! What a piece of work takes of the kernel and the processor, counted: a guard that needs no clock.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::Failure;

/// What strace saw of a group of processes that have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// System calls.
    pub system_calls: u64,
    /// Programs that were executed: execve(2), execveat(2).
    pub programs: u64,
    /// Processes and threads that were made: clone(2), clone3(2), fork(2), vfork(2).
    pub processes: u64,
}

impl Work {
    /// Counts the calls in what strace wrote of each process or thread, a text each.
    ///
    /// # Errors
    /// One of them has not ended; there may be more to come. Or there is none.
    pub fn count(traces: &[String]) -> Result<Self, String> {
        if traces.is_empty() {
            return Err("nothing was traced".to_owned());
        }
        let mut work = Self { system_calls: 0, programs: 0, processes: 0 };
        for trace in traces {
            let last = trace.lines().next_back().unwrap_or_default();
            if !last.starts_with("+++ ") {
                return Err(format!("it has not ended: {last}"));
            }
            trace
                .lines()
                .filter(|line| !line.starts_with("+++") && !line.starts_with("---"))
                .for_each(|call| work.add(call));
        }
        Ok(work)
    }

    fn add(&mut self, call: &str) {
        self.system_calls += 1;
        match call.split('(').next().unwrap_or_default() {
            "execve" | "execveat" => self.programs += 1,
            "clone" | "clone3" | "fork" | "vfork" => self.processes += 1,
            _ => {}
        }
    }

    /// The numbers with their names, to be held against others.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 3] {
        [("system calls", self.system_calls), ("programs", self.programs), ("processes", self.processes)]
    }
}

/// The instructions that a command executes, its own process alone, as callgrind counts them.
///
/// # Errors
/// valgrind does not run, the command fails, or nothing was counted.
pub fn instructions(program: &Path, arguments: &[&str]) -> Result<u64, Failure> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).args(arguments).env_clear();
    let output = command
        .env("PATH", "/usr/bin:/bin")
        .output()
        .map_err(|source| Failure::Io { action: "run valgrind".to_owned(), source })?;
    let said = String::from_utf8_lossy(&output.stderr);
    collected(&said)
        .filter(|_| output.status.success())
        .ok_or_else(|| Failure::unreadable("what callgrind says", &said.into_owned()))
}

fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIM: &str = "execve(\"/bin/shim\", [\"shim\"], 0x7ffd) = 0\nclone3({flags=CLONE_VM}, 88) = 8\n\
        --- SIGCHLD {si_signo=SIGCHLD} ---\nexit_group(0) = ?\n+++ exited with 0 +++\n";
    const RUNTIME: &str = "execve(\"/bin/runtime\", [], []) = 0\nread(0, \"\", 1) = 0\n";

    #[test]
    fn calls_are_counted_in_each() {
        let runtime = format!("{RUNTIME}+++ killed by SIGKILL +++\n");
        assert_eq!(Work::count(&[SHIM.to_owned(), runtime]), Ok(Work { system_calls: 5, programs: 2, processes: 1 }));
    }

    #[test]
    fn what_goes_on_is_not_counted() {
        let going_on = Work::count(&[SHIM.to_owned(), RUNTIME.to_owned()]);
        assert_eq!(going_on, Err("it has not ended: read(0, \"\", 1) = 0".to_owned()));
        assert!(Work::count(&[]).is_err() && Work::count(&[String::new()]).is_err());
    }

    #[test]
    fn callgrinds_sum_is_read() {
        assert_eq!(collected("==1== Events    : Ir\n==1== Collected : 547189\n==1==\n"), Some(547_189));
        assert_eq!(collected("valgrind: /x: No such file"), None);
    }
}
