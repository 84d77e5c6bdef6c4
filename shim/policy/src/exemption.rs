//! What the admin lets pass for some containers and for some time.

use serde::Serialize;

use crate::day::Day;
use crate::rules::{Rule, RuleId};
use crate::scope::{Candidate, Scope};

/// An `[[exempt]]` entry.
#[derive(Debug, Clone)]
pub(crate) struct Exemption {
    pub(crate) rule: RuleId,
    pub(crate) scope: Scope,
    pub(crate) reason: String,
    pub(crate) expires: Day,
    /// How records call it.
    pub(crate) name: String,
}

/// An exemption that a decision made use of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExemptionUse {
    /// The entry, such as `exempt[0]`.
    pub entry: String,
    /// The rule that it let a finding of pass.
    pub rule: RuleId,
    /// Why, as the admin wrote it.
    pub reason: String,
    /// The first day on which it no longer counts.
    pub expires: String,
}

/// Rules that guard the node itself. Who needs one of them off selects a profile that says so openly.
const NEVER: &[&str] = &["caps.never", "mount.deny-always", "priv.heuristic"];

impl Rule {
    /// Whether an `[[exempt]]` entry can name it.
    #[must_use]
    pub fn is_exemptable(&self) -> bool {
        !self.essential && !NEVER.contains(&self.id.as_str())
    }
}

impl Exemption {
    /// Whether it lets findings of `rule` pass for this container today. On the day that it names it has expired.
    pub(crate) fn counts(&self, rule: RuleId, candidate: Candidate<'_>, today: Day) -> bool {
        self.rule == rule && today < self.expires && self.scope.covers(candidate)
    }

    pub(crate) fn used(&self) -> ExemptionUse {
        ExemptionUse {
            entry: self.name.clone(),
            rule: self.rule,
            reason: self.reason.clone(),
            expires: self.expires.to_string(),
        }
    }
}
