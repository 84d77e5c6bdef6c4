//! What a piece of work takes of the kernel and the processor, counted: a guard that needs no clock.

use std::collections::BTreeSet;
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
    /// Counts the calls in the output of `strace --follow-forks`, each process's lines beginning with its id.
    ///
    /// # Errors
    /// A process has not ended, which is told with its id; there may be more to come.
    pub fn count(trace: &str) -> Result<Self, String> {
        let mut work = Self { system_calls: 0, programs: 0, processes: 0 };
        let (mut seen, mut ended) = (BTreeSet::new(), BTreeSet::new());
        for line in trace.lines() {
            // A line that is no process's goes on with the one before it.
            let Some((process, rest)) = line.split_once(' ').filter(|(process, _)| process.parse::<u32>().is_ok())
            else {
                continue;
            };
            let rest = rest.trim_start();
            seen.insert(process);
            if rest.starts_with("+++ ") {
                ended.insert(process);
            } else if !rest.starts_with("---") && !rest.starts_with("<...") {
                work.add(rest);
            }
        }
        if seen.is_empty() {
            return Err("nothing was traced".to_owned());
        }
        match seen.difference(&ended).next() {
            None => Ok(work),
            Some(process) => Err(format!("process {process} has not ended")),
        }
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

    const TRACE: &str = "7 execve(\"/bin/shim\", [\"shim\"], 0x7ffd) = 0\n7 clone3({flags=CLONE_VM}, 88 <unfinished ...>\n\
        8 read(0,  <unfinished ...>\n7 <... clone3 resumed>) = 8\n8 <... read resumed>\"\", 1) = 0\n\
        8 execve(\"/bin/runtime\", [], []) = 0\n8 +++ exited with 0 +++\n7 --- SIGCHLD {si_signo=SIGCHLD} ---\n7 exit_group(0) = ?\n";

    #[test]
    fn calls_are_counted_once() {
        let work = Work::count(&format!("{TRACE}7 +++ killed by SIGKILL +++\n"));
        assert_eq!(work, Ok(Work { system_calls: 5, programs: 2, processes: 1 }));
    }

    #[test]
    fn what_goes_on_is_not_counted() {
        assert_eq!(Work::count(TRACE), Err("process 7 has not ended".to_owned()));
        assert_eq!(Work::count(""), Err("nothing was traced".to_owned()));
    }

    #[test]
    fn callgrinds_sum_is_read() {
        assert_eq!(collected("==1== Events    : Ir\n==1== Collected : 547189\n==1==\n"), Some(547_189));
        assert_eq!(collected("valgrind: /x: No such file"), None);
    }
}
