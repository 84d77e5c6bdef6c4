//! One line of the log: version 1 of the format, which `docs/audit.schema.json` describes. Fields are only ever added to a version.

use std::sync::OnceLock;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use palisade_policy::{Identity, Patch, Record};
use serde::Serialize;

use super::{AuditError, ContainerSubject, Subject};

/// The version of the format.
const VERSION: u32 = 1;

/// A decision.
#[derive(Serialize)]
struct DecisionLine<'a> {
    v: u32,
    time: String,
    node: &'static str,
    event: &'static str,
    decision: &'static str,
    policy_sha256: &'a str,
    namespace: &'a str,
    container: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    exec: &'a str,
    identity: &'a Identity,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<&'a super::Asked>,
    record: &'a Record,
    #[serde(flatten)]
    patch: Option<&'a Patch>,
    duration_us: u128,
    shim_pid: u32,
}

/// Something that happened to a container.
#[derive(Serialize)]
struct ContainerLine<'a, T> {
    v: u32,
    time: String,
    node: &'static str,
    event: &'static str,
    policy_sha256: &'a str,
    namespace: &'a str,
    container: &'a str,
    identity: &'a Identity,
    profile: &'a str,
    #[serde(flatten)]
    told: &'a T,
    shim_pid: u32,
}

/// Something that happened to the shim.
#[derive(Serialize)]
struct OwnLine<'a, T> {
    v: u32,
    time: String,
    node: &'static str,
    event: &'static str,
    #[serde(flatten)]
    told: &'a T,
    shim_pid: u32,
}

pub(super) fn of_decision(
    subject: &Subject<'_>,
    record: &Record,
    decision: &'static str,
) -> Result<Vec<u8>, AuditError> {
    bytes(&DecisionLine {
        v: VERSION,
        time: now(),
        node: node(),
        event: "decision",
        decision,
        policy_sha256: subject.policy,
        namespace: subject.namespace,
        container: subject.id,
        exec: subject.exec_id,
        identity: subject.identity,
        process: subject.asked,
        record,
        patch: subject.patch,
        duration_us: subject.duration.as_micros(),
        shim_pid: std::process::id(),
    })
}

pub(super) fn of_container(
    subject: &ContainerSubject<'_>,
    event: &'static str,
    told: &impl Serialize,
) -> Result<Vec<u8>, AuditError> {
    bytes(&ContainerLine {
        v: VERSION,
        time: now(),
        node: node(),
        event,
        policy_sha256: subject.policy,
        namespace: subject.namespace,
        container: subject.id,
        identity: subject.identity,
        profile: subject.profile,
        told,
        shim_pid: std::process::id(),
    })
}

pub(super) fn of_shim(event: &'static str, told: &impl Serialize) -> Result<Vec<u8>, AuditError> {
    bytes(&OwnLine { v: VERSION, time: now(), node: node(), event, told, shim_pid: std::process::id() })
}

fn bytes(line: &impl Serialize) -> Result<Vec<u8>, AuditError> {
    let mut bytes = serde_json::to_vec(line).map_err(AuditError::Encode)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn now() -> String {
    DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The node's host name, which logs of several nodes are told apart by.
fn node() -> &'static str {
    static NODE: OnceLock<String> = OnceLock::new();
    NODE.get_or_init(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}
