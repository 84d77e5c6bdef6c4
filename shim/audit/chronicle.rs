//! Records about one container over its life.

use std::time::Instant;

use palisade_policy::{AuditSettings, Grant, Identity};
use serde::Serialize;

use super::{AuditError, ContainerSubject, append_event};
use crate::attest::{Mismatch, Stage};

/// What is told of a look at a process.
#[derive(Debug, Serialize)]
pub struct AttestationTold<'a> {
    /// The exec id, empty for init.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub exec: &'a str,
    /// When it was looked at.
    pub stage: Stage,
    /// What it should not be; nothing where it is what was decided.
    pub mismatches: &'a [Mismatch],
    /// Microseconds since it was decided, of one that has just been made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_decision_us: Option<u128>,
}

/// A container, as the log tells of it, and where its records go. The policy is the one that admitted it.
#[derive(Debug, Clone)]
pub struct Chronicle {
    namespace: String,
    id: String,
    identity: Identity,
    policy: String,
    profile: String,
    settings: AuditSettings,
    begun: Instant,
}

impl Chronicle {
    /// Of a container that has just been admitted with this grant by the policy of that digest.
    #[must_use]
    pub fn new(namespace: &str, id: &str, grant: &Grant, policy_sha256: &str, settings: &AuditSettings) -> Self {
        Self {
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            identity: grant.identity().clone(),
            policy: policy_sha256.to_owned(),
            profile: grant.profile().to_owned(),
            settings: settings.clone(),
            begun: Instant::now(),
        }
    }

    /// Records that a process is what was decided, where the policy wants that.
    ///
    /// # Errors
    ///
    /// As [`append_event`].
    pub fn attested(&self, exec: &str, stage: Stage) -> Result<(), AuditError> {
        if !self.settings.records_attested() {
            return Ok(());
        }
        // Right before its start it has waited for containerd as well.
        let is_made = matches!(stage, Stage::Created { before: None, .. });
        let since_decision_us = is_made.then(|| self.begun.elapsed().as_micros());
        self.put("attestation", &AttestationTold { exec, stage, mismatches: &[], since_decision_us })
    }

    /// Records something that happened to the container. One that can't be written is logged: it has happened in any case.
    pub fn tell(&self, event: &'static str, told: &impl Serialize) {
        if let Err(error) = self.put(event, told) {
            crate::warn!("{}", crate::log::chain(&error));
        }
    }

    fn put(&self, event: &'static str, told: &impl Serialize) -> Result<(), AuditError> {
        let subject = ContainerSubject {
            namespace: &self.namespace,
            id: &self.id,
            identity: &self.identity,
            policy: &self.policy,
            profile: &self.profile,
        };
        append_event(&self.settings, &subject, event, told)
    }
}
