//! What was decided, and why: data first, sentences last.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::action::{Action, Mode};
use crate::exemption::ExemptionUse;
use crate::image::ImageRecord;
use crate::rules::RuleId;

/// A decision and its full account.
#[derive(Debug)]
#[must_use]
pub struct Decision<T> {
    /// What to do.
    pub outcome: Outcome<T>,
    /// What was found, for the audit log; also for an admission.
    pub record: Record,
}

/// What to do with a request. There is no third way.
#[derive(Debug)]
pub enum Outcome<T> {
    /// Go on, with this in place of what was asked for.
    Admit(T),
    /// Refuse.
    Deny(Denial),
}

impl<T> Outcome<T> {
    /// The refusal, if it is one.
    #[must_use]
    pub fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Admit(_) => None,
            Self::Deny(denial) => Some(denial),
        }
    }
}

/// The account of one decision.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// What was asked for.
    pub operation: Operation,
    /// Name of the profile in force.
    pub profile: String,
    /// What chose it: `select[0]`, `grant` for a request about a container that exists, `profile` for the policy's
    /// default, and the pod's annotation where it tightened.
    pub selected_by: String,
    /// Whether the profile is enforced.
    pub mode: Mode,
    /// The rules that this profile has switched off, whether or not they would have found something.
    pub off: Vec<RuleId>,
    /// Everything that the rules found, in the order of the rules. Under [`Mode::Audit`] what would have become
    /// of it.
    pub findings: Vec<Finding>,
    /// The exemptions that let findings pass.
    pub exemptions: Vec<ExemptionUse>,
    /// What was taken from the system call profile of a new container, beyond what the profile says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mitigations: Vec<String>,
    /// The image of a new container, where it was looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageRecord>,
}

impl Record {
    /// Whether something was changed.
    #[must_use]
    pub fn has_mutations(&self) -> bool {
        self.mode == Mode::Enforce && self.findings.iter().any(|finding| finding.action == Taken::Mutated)
    }
}

/// Which request was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Operation {
    /// A new container.
    Create,
    /// A further process in a container.
    Exec,
    /// New resource limits.
    Update,
    /// An image that containerd is to fetch.
    Pull,
}

/// One thing that a rule found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The rule.
    pub rule: RuleId,
    /// What became of it.
    pub action: Taken,
    /// JSON pointer of the place; `/task/...` for the fields of the request itself.
    pub pointer: String,
    /// What stood there, cut to [`MAX_VALUE_BYTES`].
    pub before: Value,
    /// What stands there now; for a refusal the same as `before`.
    pub after: Value,
    /// What is wrong with it.
    pub reason: String,
    /// What the rule would let pass.
    pub allowed: String,
    /// Whether there is a change that mends it: under `mutate` a finding without one is refused.
    pub mendable: bool,
}

/// What became of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Taken {
    /// The request was refused for it.
    Denied,
    /// It was changed.
    Mutated,
    /// It was let pass and written down.
    Audited,
    /// An exemption let it pass.
    Exempted,
}

/// The longest value that a record holds, in bytes of its JSON text.
pub const MAX_VALUE_BYTES: usize = 512;

/// The longest denial, in bytes.
const MAX_LINE_BYTES: usize = 400;

/// A refusal; its display is one line for whoever runs the container.
#[derive(Debug, Clone, PartialEq)]
pub struct Denial {
    profile: String,
    first: Box<Finding>,
    others: Vec<RuleId>,
}

impl Denial {
    /// The refusal that `findings` make, if any of them was denied.
    pub(crate) fn of(profile: &str, findings: &[Finding]) -> Option<Self> {
        let mut denied = findings.iter().filter(|finding| finding.action == Taken::Denied);
        let first = Box::new(denied.next()?.clone());
        let mut others = Vec::new();
        for finding in denied {
            if finding.rule != first.rule && !others.contains(&finding.rule) {
                others.push(finding.rule);
            }
        }
        Some(Self { profile: profile.to_owned(), first, others })
    }

    /// A refusal for want of anything to hand on.
    pub(crate) fn unexplained(profile: &str) -> Self {
        let first = Box::new(Finding {
            rule: RuleId::STRICT,
            action: Taken::Denied,
            pointer: String::new(),
            before: Value::Null,
            after: Value::Null,
            reason: "nothing could be handed on".to_owned(),
            allowed: "a document that can be written".to_owned(),
            mendable: false,
        });
        Self { profile: profile.to_owned(), first, others: Vec::new() }
    }

    /// The first rule that refused.
    #[must_use]
    pub fn rule(&self) -> RuleId {
        self.first.rule
    }

    /// What it found.
    #[must_use]
    pub fn finding(&self) -> &Finding {
        &self.first
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { rule, pointer, reason, allowed, .. } = self.first.as_ref();
        let place = if pointer.is_empty() { "the whole document".to_owned() } else { crop(pointer, 80) };
        let mut line = format!(
            "palisade: refused by rule {rule} (profile {}) at {place}: {}; allowed: {}; change: {}",
            self.profile,
            crop(reason, 110),
            crop(allowed, 70),
            rule.change(&self.profile),
        );
        if !self.others.is_empty() {
            let names: Vec<&str> = self.others.iter().map(|rule| rule.as_str()).collect();
            line.push_str(&format!("; and {} more: {}", names.len(), names.join(", ")));
        }
        f.write_str(&crop(&line.replace(['\n', '\r'], " "), MAX_LINE_BYTES))
    }
}

/// `text`, cut at a character boundary to at most `limit` bytes.
pub(crate) fn crop(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit.saturating_sub(3)).rev().find(|end| text.is_char_boundary(*end));
    let kept = end.and_then(|end| text.get(..end)).unwrap_or_default();
    format!("{kept}...")
}

/// `value`, or a cropped text of it where it is long.
pub(crate) fn bounded(value: Value) -> Value {
    let text = value.to_string();
    if text.len() <= MAX_VALUE_BYTES { value } else { Value::String(crop(&text, MAX_VALUE_BYTES)) }
}

impl Taken {
    /// What an action makes of a finding, by whether there is a change that mends it.
    pub(crate) fn of(action: Action, mendable: bool) -> Self {
        match action {
            Action::Mutate if mendable => Self::Mutated,
            Action::Deny | Action::Mutate => Self::Denied,
            Action::Audit | Action::Off => Self::Audited,
        }
    }
}
