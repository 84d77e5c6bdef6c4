//! What the kernel really enforces on a container's process, compared with what was decided for it.
//!
//! A runtime is told what to do by a document; whether it has done so can be read in `/proc` and in the cgroup's files:
//!
//! ```text
//! HardenedSpec ─▶ Expected ┐
//!                          ├─▶ CHECKS, a table of pure functions ─▶ Attested, or every Mismatch
//! /proc/<pid>  ─▶ Seen ────┘
//! ```
//!
//! What can't be read is a mismatch and never passed over. Which check can apply at which [`Stage`] is one column of the table, and
//! `docs/attestation.md` says what follows of it. Nothing is decided here, and nothing is written.

mod capabilities;
mod checks;
mod descriptors;
mod devices;
mod expected;
mod identities;
mod look;
mod mounts;
mod namespaces;
mod options;
mod proc_dir;
mod rlimits;
mod seen;
mod status;
#[cfg(test)]
mod tests;
mod verify;

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use crate::cgroup::LimitDifference;

pub use capabilities::CAPABILITIES;
pub use checks::{CHECKS, Check};
pub use expected::{Expected, ExpectedError};
pub use identities::{Baseline, FileId, Identities};
pub use look::limits;
pub use mounts::TableMark;
pub use proc_dir::ProcDir;
pub use seen::{Seen, Summary, Unreadable};
pub use verify::{Finding, Verified, verify};

/// Name of the file in the private directory that keeps what a container is held to.
pub const ATTESTED: &str = "attested.json";

/// When a process is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits for start, and nothing of the container's has run.
    Created {
        /// Whether the embedded runtime made it, which loads the filter after the start signal where there is no_new_privs.
        embedded: bool,
        /// The mount table with which it was attested before. As long as it has that one, only what others can change of a process that
        /// waits is looked at again: its limits, its cgroup, and its credentials, which are beside them.
        before: Option<TableMark>,
    },
    /// Its program has just begun, of init or of an exec: what is the process's own is looked at.
    Begun,
    /// Its program has run for a while: the process may have lowered what it was given, and opened what it likes.
    Running,
}

impl Stage {
    /// Whether its program runs, or has.
    fn is_past_execve(self) -> bool {
        !matches!(self, Self::Created { .. })
    }

    /// Whether what is the container's counts: its mounts, limits and devices. Not as soon as a program of it runs that may have mounted
    /// something of its own, but whenever somebody asks.
    fn asks_for_container(self) -> bool {
        self != Self::Begun
    }

    /// The mount table with which it was attested before.
    fn before(self) -> Option<TableMark> {
        match self {
            Self::Created { before, .. } => before,
            Self::Begun | Self::Running => None,
        }
    }

    /// Whether what the process has opened counts, which is its own affair once its program runs.
    fn asks_for_openings(self) -> bool {
        self != Self::Running
    }

    /// As records name it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Begun => "begun",
            Self::Running => "running",
        }
    }
}

impl Serialize for Stage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// What was decided and what is there, of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// The check's id, which stays as it is across versions.
    pub check: &'static str,
    /// As decided.
    pub decided: String,
    /// As the kernel has it, or why that can't be read.
    pub seen: String,
}

impl Mismatch {
    fn new(check: &'static str, decided: impl fmt::Display, seen: impl fmt::Display) -> Self {
        Self { check, decided: decided.to_string(), seen: seen.to_string() }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: decided {}, the kernel has {}", self.check, self.decided, self.seen)
    }
}

/// A process that is not what was decided. The first mismatch is the message; all are kept.
#[derive(Debug, Error)]
#[error("palisade: attestation failed: {}{}", .0.first().map(ToString::to_string).unwrap_or_default(), and_more(.0.len()))]
pub struct NotAttested(Vec<Mismatch>);

fn and_more(count: usize) -> String {
    if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
}

impl NotAttested {
    /// All of them, in the order of the table.
    #[must_use]
    pub fn mismatches(&self) -> &[Mismatch] {
        &self.0
    }
}

/// Compares the limits of a container alone, as they are right after they were changed.
///
/// # Errors
///
/// [`NotAttested`] with every limit that is not what was decided.
pub fn attest_limits(found: &[LimitDifference]) -> Result<(), NotAttested> {
    let mismatch = |one: &LimitDifference| {
        Mismatch::new("limits", format!("{} {}", one.file, one.decided), one.found.replace('\n', "; "))
    };
    if found.is_empty() { Ok(()) } else { Err(NotAttested(found.iter().map(mismatch).collect())) }
}

/// The proof that a process was looked at and is what was decided. Only [`attest`] makes one.
#[derive(Debug)]
pub struct Attested(());

/// Compares. Of a process that has ended its credentials are left, and looked at.
///
/// # Errors
///
/// [`NotAttested`] with every mismatch.
pub fn attest(expected: &Expected, seen: &Seen, stage: Stage) -> Result<Attested, NotAttested> {
    let mut found = Vec::new();
    for check in CHECKS.iter().filter(|check| check.applies(stage, seen)) {
        check.run(expected, seen, stage, &mut found);
    }
    if found.is_empty() { Ok(Attested(())) } else { Err(NotAttested(found)) }
}
