//! Records about one container over its life.

use std::time::Instant;

use palisade_policy::{Grant, Identity};
use serde::Serialize;

use super::{AuditError, ContainerSubject, Destination, append_event};
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

/// A container, as the log tells of it, and where its records go. The policy that is named is the one that admitted it.
#[derive(Debug, Clone)]
pub struct Chronicle {
    namespace: String,
    id: String,
    identity: Identity,
    policy: String,
    profile: String,
    destination: Destination,
    begun: Instant,
}

impl Chronicle {
    /// Of a container that has just been admitted with this grant by the policy of that digest.
    #[must_use]
    pub fn new(
        namespace: &str,
        id: &str,
        grant: &Grant,
        policy_sha256: &str,
        destination: impl Into<Destination>,
    ) -> Self {
        Self {
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            identity: grant.identity().clone(),
            policy: policy_sha256.to_owned(),
            profile: grant.profile().to_owned(),
            destination: destination.into(),
            begun: Instant::now(),
        }
    }

    /// Of a container that nobody has admitted.
    #[cfg(test)]
    pub(crate) fn of_nobody(id: &str, destination: impl Into<Destination>) -> Self {
        Self {
            namespace: String::new(),
            id: id.to_owned(),
            identity: Identity::default(),
            policy: String::new(),
            profile: String::new(),
            destination: destination.into(),
            begun: Instant::now(),
        }
    }

    /// The container's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Records that a process is what was decided, where the policy wants that.
    ///
    /// # Errors
    ///
    /// As [`append_event`].
    pub fn attested(&self, exec: &str, stage: Stage) -> Result<(), AuditError> {
        let settings = self.destination.settings();
        if !settings.records_attested() {
            return Ok(());
        }
        // Right before its start it has waited for containerd as well.
        let is_made = matches!(stage, Stage::Created { before: None, .. });
        let since_decision_us = is_made.then(|| self.begun.elapsed().as_micros());
        let told = AttestationTold { exec, stage, mismatches: &[], since_decision_us };
        append_event(&settings, &self.subject(), "attestation", &told)
    }

    /// Records something that happened to the container. It has happened in any case, so one that can't be written waits.
    pub fn tell(&self, event: &'static str, told: &impl Serialize) {
        if let Err(error) = super::tell(&self.destination.settings(), &self.subject(), event, told) {
            crate::warn!("{}", crate::log::chain(&error));
        }
    }

    fn subject(&self) -> ContainerSubject<'_> {
        ContainerSubject {
            namespace: &self.namespace,
            id: &self.id,
            identity: &self.identity,
            policy: &self.policy,
            profile: &self.profile,
        }
    }
}
