//! The audit log: one JSON object for each decision, allowed ones too, and for what happens to a container beside.
//!
//! Records go to a file that every shim of the node appends to, to systemd's journal, or to both. A record that can't be written is an
//! error: the gate then creates nothing, since a decision that nobody can look up later is not one that an admin has made.

mod chain;
mod chronicle;
mod destination;
mod error;
mod file;
mod journal;
mod later;
mod line;
#[cfg(test)]
mod scratch;
mod verify;

use std::path::Path;
use std::time::Duration;

use later::Later;
use palisade_policy::{AuditSettings, Identity, Patch, Record};
use serde::Serialize;

pub use chronicle::{AttestationTold, Chronicle};
pub use destination::{Destination, InForce};
pub use error::AuditError;
pub use file::files_of;
pub use verify::{Problem, Reading, verify};

/// What a decision was about and how long it took, beside the record of the decision itself.
#[derive(Debug)]
pub struct Subject<'a> {
    /// containerd's namespace.
    pub namespace: &'a str,
    /// The container.
    pub id: &'a str,
    /// The exec id, empty otherwise.
    pub exec_id: &'a str,
    /// What CRI says of pod and container.
    pub identity: &'a Identity,
    /// SHA-256 of the policy file, or `builtin`.
    pub policy: &'a str,
    /// What a further process was to run.
    pub asked: Option<&'a Asked>,
    /// What was changed in the specification of a new container.
    pub patch: Option<&'a Patch>,
    /// Time that judging and hardening took.
    pub duration: Duration,
}

/// What a further process was to run, without what looks like a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// Its arguments, the first ones of many, each cut.
    pub args: Vec<String>,
    /// Whether a person is to drive it.
    pub terminal: bool,
}

/// A container that something is recorded of beside decisions.
#[derive(Debug)]
pub struct ContainerSubject<'a> {
    /// containerd's namespace.
    pub namespace: &'a str,
    /// The container.
    pub id: &'a str,
    /// What CRI says of pod and container.
    pub identity: &'a Identity,
    /// SHA-256 of the policy file, or `builtin`.
    pub policy: &'a str,
    /// The profile in force.
    pub profile: &'a str,
}

/// Records a decision.
///
/// # Errors
///
/// [`AuditError`]; nothing of the record is in the log then, or it is there as a whole.
pub fn append(
    settings: &AuditSettings,
    subject: &Subject<'_>,
    record: &Record,
    decision: &'static str,
) -> Result<(), AuditError> {
    put(settings, "decision", line::of_decision(subject, record, decision)?)
}

/// Records something that happened to a container, whose fields stand beside those of the container.
///
/// # Errors
///
/// As [`append`].
pub fn append_event(
    settings: &AuditSettings,
    subject: &ContainerSubject<'_>,
    event: &'static str,
    told: &impl Serialize,
) -> Result<(), AuditError> {
    put(settings, event, line::of_container(subject, event, told)?)
}

/// Records something that happened to the shim itself.
///
/// # Errors
///
/// As [`append`].
pub fn append_own(settings: &AuditSettings, event: &'static str, told: &impl Serialize) -> Result<(), AuditError> {
    put(settings, event, line::of_shim(event, told)?)
}

/// What has happened and could not be put on record yet.
static LATER: Later = Later::new(put);

/// Records something that has already happened to a container. While the log can't be written it waits, up to a bound.
///
/// # Errors
///
/// [`AuditError::Encode`].
pub fn tell(
    settings: &AuditSettings,
    subject: &ContainerSubject<'_>,
    event: &'static str,
    told: &impl Serialize,
) -> Result<(), AuditError> {
    LATER.tell(settings.clone(), event, line::of_container(subject, event, told)?);
    Ok(())
}

/// The same of something that happened to the shim itself.
///
/// # Errors
///
/// [`AuditError::Encode`].
pub fn tell_own(settings: &AuditSettings, event: &'static str, told: &impl Serialize) -> Result<(), AuditError> {
    LATER.tell(settings.clone(), event, line::of_shim(event, told)?);
    Ok(())
}

/// Writes what waits, for the last time.
pub fn write_rest() {
    if !LATER.write() {
        crate::warn!("{} records of what has happened are lost: the audit log can't be written", LATER.untold());
    }
}

fn put(settings: &AuditSettings, event: &'static str, line: Vec<u8>) -> Result<(), AuditError> {
    let sink = settings.sink();
    // The journal gets the line with its place in the chain.
    let line = if sink.has_file() { file::LogFile::of(settings).append(line)? } else { line };
    if sink.has_journal() { journal::send(Path::new(journal::SOCKET), event, &line) } else { Ok(()) }
}
