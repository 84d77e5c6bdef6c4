//! The policy of palisade: what a container may be, decided on values and nothing else.
//!
//! The shim hands in the bytes of a specification and what it saw on the host; this crate says no, or hands
//! back the specification that the runtime gets in its place, with an account of every change. It opens no
//! file, reads no clock and no environment, and has no `unsafe`.
//!
//! ```text
//! bytes ─▶ ParsedSpec ─▶ Draft ─▶ RULES, one after the other ─▶ Decision { outcome, record }
//!            every key      plain values,   each finding is            Admit(HardenedSpec) | Deny(Denial)
//!            understood     no absences     denied, mutated, audited
//! ```
//!
//! # Terminology
//! - *fact*: what the host said about a path in the specification ([`HostFacts`]).
//! - *rule*: one control, a small function with a stable id ([`RULES`]).
//! - *action*: what a rule does with what it finds: deny, mutate, audit, off ([`Action`]).
//! - *profile*: an action for each rule, and the values that the rules go by.
//! - *finding*: one place that a rule objects to ([`Finding`]).
//! - *grant*: what a container was given, which later requests cannot exceed ([`Grant`]).
//!
//! ```
//! use palisade_policy::Policy;
//!
//! let policy = Policy::from_toml("profile = \"baseline\"")?;
//! assert_eq!(policy.profile(), "baseline");
//! let error = Policy::from_toml("profle = \"baseline\"").unwrap_err();
//! assert_eq!(error.line(), 1);
//! # Ok::<(), palisade_policy::PolicyError>(())
//! ```
#![forbid(unsafe_code)]

mod action;
mod audit;
mod canonical;
mod capability;
mod day;
mod decision;
mod draft;
mod exemption;
mod grant;
mod hardened;
mod host;
mod id_map;
mod identity;
mod image;
mod json;
mod judge;
mod loosening;
mod moved;
mod node;
mod patch;
mod pointer;
mod policy;
mod policy_file;
mod profile;
mod rootfs;
mod rules;
mod scope;
mod secrets;
mod select;
mod sheet;
mod spec;
mod strictness;
mod task;
mod view;

pub use action::{Action, Mode};
pub use audit::{AuditSettings, AuditSink};
pub use capability::{CapabilityName, CapabilitySet, CapabilitySets};
pub use day::Day;
pub use decision::{Decision, Denial, Finding, MAX_VALUE_BYTES, Operation, Outcome, Record, Taken};
pub use exemption::ExemptionUse;
pub use grant::Grant;
pub use hardened::{HardenedProcess, HardenedResources, HardenedSpec, ProfilePlace};
pub use host::{
    HookFact, HostFacts, KubeletVolume, MountBelow, NamespaceFact, NamespaceSharing, SourceFact, SourceKind, TakenIds,
};
pub use id_map::{FIRST_REMAPPED_ID, IdMaps, IdRange, IdmappedMount, ambiguous, idmapped_mounts};
pub use identity::{ContainerKind, Identity};
pub use image::{
    ImageAnswer, ImageFacts, ImageKey, ImageMount, ImageRecord, ImageReference, ImageSettings, Looked, OnError,
    ReferenceError, Severity, Signed, Verdict, VerdictError, VerdictOutcome, Vulnerability, Vulnerable, is_digest,
};
pub use judge::{judge_create, judge_exec, judge_pull, judge_rootfs, judge_unreadable, judge_update};
pub use loosening::PolicyDifference;
pub use moved::{SECRETS_DIRECTORY, SecretFile};
pub use patch::Patch;
pub use policy::{CallWatch, Policy, RuntimeChoice};
pub use policy_file::{PolicyError, PolicyFilesError};
pub use rootfs::{Place, PlaceFact};
pub use rules::{RULES, Rule, RuleId, Setting};
pub use secrets::{
    REDACTED, is_service_account_token, redact_arguments, redact_document, redact_text, secret_in_variable,
    secrets_in_arguments,
};
pub use spec::{MAX_MOUNTS, MAX_SPEC_BYTES, ParsedSpec, SpecError};
pub use task::{CreateRequest, ExecRequest, RootfsMount, RuntimeOptions, TaskFacts, UpdateRequest};
pub use view::{PastFinding, ProfileView, RuleView};

/// Where the policy file is unless the admin says otherwise; denials name it.
pub const POLICY_PATH: &str = "/etc/palisade/policy.toml";
