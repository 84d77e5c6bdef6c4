//! What a rule does with what it finds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a rule does. Set per profile and rule in the policy file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Refuse the request.
    Deny,
    /// Change what is asked for to what is allowed; refuse where no change can help.
    Mutate,
    /// Let it pass and write it down.
    Audit,
    /// Do not look. The rule is named in every record.
    Off,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deny => "deny",
            Self::Mutate => "mutate",
            Self::Audit => "audit",
            Self::Off => "off",
        })
    }
}

/// Whether a profile's decisions are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Mode {
    /// They are.
    #[default]
    Enforce,
    /// Nothing is changed or refused; the record says what would have been. Only rules without which nothing can
    /// be handed on hold.
    Audit,
}
