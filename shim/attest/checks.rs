//! The table of checks: an id, when it applies, and a pure function each.

mod places;
mod process;

use super::expected::Expected;
use super::seen::{Read, Seen};
use super::{Mismatch, Stage};

/// One check.
#[derive(Debug)]
pub struct Check {
    /// Stays as it is across versions: records and answers name it.
    pub id: &'static str,
    when: When,
    judge: fn(&Case<'_>) -> Outcome,
}

/// When a check can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// At any stage, and of a process that has ended: `/proc` keeps these until it is waited for.
    Always,
    /// As long as the process is there.
    Alive,
    /// The same, of what only the process itself can change: not if it was attested and has waited since.
    Own,
    /// Once its program has begun: the kernel puts it in force at execve.
    FromExecve,
    /// The same, by [`Stage::asks_for_openings`].
    UntilBegun,
    /// The container's rather than the process's: [`Stage::asks_for_container`].
    Container,
    /// The same, unless the mount table is the one with which it was attested before.
    Mounts,
}

/// What is compared.
struct Case<'a> {
    expected: &'a Expected,
    seen: &'a Seen,
    stage: Stage,
}

/// What was decided and what is there instead.
#[derive(Debug, PartialEq)]
struct Difference {
    decided: String,
    seen: String,
}

type Outcome = Result<(), Difference>;

impl Case<'_> {
    /// Whether the process can have changed what it was given.
    fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Begun | Stage::Running)
    }
}

fn differs(decided: impl ToString, seen: impl ToString) -> Outcome {
    Err(Difference { decided: decided.to_string(), seen: seen.to_string() })
}

fn hold(holds: bool, decided: impl FnOnce() -> String, seen: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { differs(decided(), seen()) }
}

/// What can't be read is as good as wrong.
fn known<'a, T>(part: &'a Read<T>, decided: &str) -> Result<&'a T, Difference> {
    part.as_ref().map_err(|error| Difference { decided: decided.to_owned(), seen: error.to_string() })
}

/// All checks, in the order in which a failure is told.
pub const CHECKS: &[Check] = &[
    check("user", When::Always, process::user),
    check("groups", When::Always, process::groups),
    check("user-maps", When::Own, process::user_maps),
    check("capabilities.bounding", When::Always, process::bounding),
    check("capabilities.permitted", When::Always, process::permitted),
    check("capabilities.effective", When::Always, process::effective),
    check("capabilities.inheritable", When::Always, process::inheritable),
    check("capabilities.ambient", When::Always, process::ambient),
    check("no-new-privs", When::Always, process::no_new_privs),
    check("seccomp", When::Always, process::seccomp),
    check("lsm-label", When::FromExecve, process::label),
    check("namespace.cgroup", When::Own, |case| process::namespace(case, "cgroup")),
    check("namespace.ipc", When::Own, |case| process::namespace(case, "ipc")),
    check("namespace.mount", When::Own, |case| process::namespace(case, "mnt")),
    check("namespace.network", When::Own, |case| process::namespace(case, "net")),
    check("namespace.pid", When::Own, |case| process::namespace(case, "pid")),
    check("namespace.time", When::Own, |case| process::namespace(case, "time")),
    check("namespace.user", When::Own, |case| process::namespace(case, "user")),
    check("namespace.uts", When::Own, |case| process::namespace(case, "uts")),
    check("root", When::Mounts, places::root),
    check("mounts", When::Mounts, places::mounts),
    check("idmapped-mounts", When::Mounts, places::idmapped),
    check("masked-paths", When::Mounts, places::masked),
    check("read-only-paths", When::Mounts, places::read_only),
    check("extra-mounts", When::Mounts, places::extra),
    check("working-directory", When::UntilBegun, places::working_directory),
    check("oom-score", When::Alive, process::oom_score),
    check("rlimits", When::Alive, process::rlimits),
    check("descriptors", When::UntilBegun, process::descriptors),
    check("cgroup", When::Alive, process::cgroup),
    check("limits", When::Container, process::limits),
    check("devices", When::Container, process::devices),
];

const fn check(id: &'static str, when: When, judge: fn(&Case<'_>) -> Outcome) -> Check {
    Check { id, when, judge }
}

impl Check {
    pub(super) fn applies(&self, stage: Stage, seen: &Seen) -> bool {
        match self.when {
            When::Always => true,
            _ if seen.has_ended() => false,
            When::Alive => true,
            When::FromExecve => stage.is_past_execve(),
            When::Own => !seen.as_before,
            When::UntilBegun => stage.asks_for_openings() && !seen.as_before,
            When::Container => stage.asks_for_container(),
            When::Mounts => stage.asks_for_container() && !seen.as_before,
        }
    }

    pub(super) fn run(&self, expected: &Expected, seen: &Seen, stage: Stage, found: &mut Vec<Mismatch>) {
        if let Err(Difference { decided, seen }) = (self.judge)(&Case { expected, seen, stage }) {
            found.push(Mismatch::new(self.id, decided, seen));
        }
    }
}
