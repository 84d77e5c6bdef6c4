//! What the last look came to, in a file for whoever asks: `--check`, which a readiness probe runs, and the monitor.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::Verdict;
use crate::error::CliError;
use crate::monitor::replace;

/// Seconds that a look may take on a busy node.
const SLACK: u64 = 30;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What one look came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outcome {
    /// Digest of the set that the cluster wants; none if it can't be told.
    pub(crate) wanted: Option<String>,
    /// Digest of the set that is in force.
    pub(crate) in_force: Option<String>,
    /// Digest of the whole policy, the node's own files included, as in records; none while nothing is created.
    pub(crate) policy: Option<String>,
    /// Why what is wanted is not in force.
    pub(crate) error: Option<String>,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Status {
    /// When this was found, in seconds since 1970.
    pub(crate) looked: u64,
    /// When what was wanted was last found in force.
    pub(crate) succeeded: u64,
    pub(crate) outcome: Outcome,
}

impl Status {
    /// As it was written, or nothing yet.
    pub(super) fn read(path: &Path) -> Self {
        Self::written(path).unwrap_or_default()
    }

    /// As it was written; none where nothing is synchronised, or the file is no status.
    pub(crate) fn written(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Whether this is what was found the last time.
    pub(super) fn has(&self, outcome: &Outcome) -> bool {
        self.outcome == *outcome
    }

    pub(super) fn has_error(&self) -> bool {
        self.outcome.error.is_some()
    }

    pub(super) fn take(&mut self, outcome: Outcome) {
        self.looked = now();
        if outcome.error.is_none() {
            self.succeeded = self.looked;
        }
        self.outcome = outcome;
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), CliError> {
        if let Some(directory) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
            made.map_err(|source| CliError::Replace { path: directory.to_owned(), source })?;
        }
        replace(path, &serde_json::to_vec_pretty(self)?, 0o644)
    }
}

/// Prints it. What is wanted has to be in force, and to have been looked at within three of those intervals: what hangs is not ready.
pub(super) fn print(path: &Path, interval: u64, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let none = || CliError::Read { path: path.to_owned(), source: io::ErrorKind::NotFound.into() };
    let status = Status::written(path).ok_or_else(none)?;
    writeln!(out, "{}", serde_json::to_string_pretty(&status)?)?;
    let is_late = now().saturating_sub(status.looked) > interval.saturating_mul(3).saturating_add(SLACK);
    if is_late {
        writeln!(out, "that was the last look; there should have been one every {interval} s")?;
    }
    Ok(if status.has_error() || is_late { Verdict::Objections } else { Verdict::Fine })
}
