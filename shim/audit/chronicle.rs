//! Records about one container over its life.

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
}

impl Chronicle {
    /// Of a container that was admitted with this grant by the policy of that digest.
    #[must_use]
    pub fn new(namespace: &str, id: &str, grant: &Grant, policy_sha256: &str, settings: &AuditSettings) -> Self {
        Self {
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            identity: grant.identity().clone(),
            policy: policy_sha256.to_owned(),
            profile: grant.profile().to_owned(),
            settings: settings.clone(),
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
        self.put("attestation", &AttestationTold { exec, stage, mismatches: &[] })
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
