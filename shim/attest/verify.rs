//! Looking at a container at any time, by what its shim has kept: for admins.

use std::path::Path;

use palisade_policy::Grant;

use super::{ATTESTED, Expected, Mismatch, ProcDir, Seen, Stage, Unreadable, attest};
use crate::bundle::{PrivateDir, PrivateDirError};
use crate::runtime::{ContainerRecord, RECORD_NAME};

/// What a look says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is what was decided.
    Verified,
    /// It is not any more, or never was.
    Drift(Vec<Mismatch>),
    /// Its runtime is at work still, and nothing of it runs.
    Creating,
    /// Its init process has ended.
    Ended,
    /// Nothing was kept that it could be compared with: a version without attestation has made it.
    Unknown,
}

/// A container that was looked at.
#[derive(Debug)]
pub struct Verified {
    /// What it was given.
    pub grant: Grant,
    /// What its shim has written down.
    pub record: ContainerRecord,
    /// What is there; `None` without a process, or anything to compare it with.
    pub seen: Option<Seen>,
    /// The comparison.
    pub finding: Finding,
}

/// Looks at the container of a bundle.
///
/// # Errors
///
/// [`PrivateDirError`] when the shim's directory in it can't be read, so that nothing is known of the container.
pub fn verify(bundle: &Path) -> Result<Verified, PrivateDirError> {
    let dir = PrivateDir::open(bundle)?;
    let grant = dir.read_record("grant.json")?;
    let record: ContainerRecord = dir.read_record(RECORD_NAME)?;
    if record.pid() == 0 {
        return Ok(Verified { grant, record, seen: None, finding: Finding::Creating });
    }
    if !dir.path().join(ATTESTED).exists() {
        return Ok(Verified { grant, record, seen: None, finding: Finding::Unknown });
    }
    let expected: Expected = dir.read_record(ATTESTED)?;
    let process = match ProcDir::of_process(record.pid(), record.start_time()) {
        Ok(process) => process,
        Err(error) => {
            let finding = if error.is_gone() { Finding::Ended } else { unreadable(&error) };
            return Ok(Verified { grant, record, seen: None, finding });
        }
    };
    let (seen, stage) = look(&process, &expected);
    let finding = match attest(&expected, &seen, stage) {
        _ if seen.has_left_threads() => Finding::Drift(vec![Mismatch::new(
            "process",
            "a process that can be looked at",
            "threads whose first one has ended",
        )]),
        _ if seen.has_ended() => Finding::Ended,
        Ok(_) => Finding::Verified,
        Err(found) => Finding::Drift(found.mismatches().to_vec()),
    };
    Ok(Verified { grant, record, seen: Some(seen), finding })
}

/// A process that is there and can't be read is as good as wrong.
fn unreadable(error: &Unreadable) -> Finding {
    Finding::Drift(vec![Mismatch::new("process", "a process that can be looked at", error)])
}

/// One that waits for start may lack its filter still, which is no drift.
fn look(process: &ProcDir, expected: &Expected) -> (Seen, Stage) {
    const WAITING: Stage = Stage::Created { embedded: true, before: None };
    let seen = Seen::of(process, expected, Stage::Running);
    if seen.waits_for_start(expected) {
        return (Seen::of(process, expected, WAITING), WAITING);
    }
    (seen, Stage::Running)
}
