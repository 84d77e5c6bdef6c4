//! Where a rule writes what it finds, and learns whether to change it.

use serde_json::Value;

use crate::action::Action;
use crate::decision::{Finding, Taken, bounded};
use crate::exemption::{Exemption, ExemptionUse};
use crate::rules::RuleId;
use crate::secrets::{redact_text, redact_value};

/// All findings of one judgement; a rule sees it with its own id and action set.
#[derive(Debug)]
pub(crate) struct Sheet {
    rule: RuleId,
    action: Action,
    exempt: Option<ExemptionUse>,
    findings: Vec<Finding>,
    used: Vec<ExemptionUse>,
}

/// What a rule says about one place.
pub(crate) struct Found {
    pub(crate) pointer: String,
    pub(crate) before: Value,
    pub(crate) reason: String,
}

impl Found {
    pub(crate) fn new(pointer: impl Into<String>, before: impl Into<Value>, reason: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), before: before.into(), reason: reason.into() }
    }
}

impl Sheet {
    pub(crate) fn new(rule: RuleId) -> Self {
        Self { rule, action: Action::Deny, exempt: None, findings: Vec::new(), used: Vec::new() }
    }

    /// The sheet as `rule` is to use it.
    pub(crate) fn under(&mut self, rule: RuleId, action: Action) -> &mut Self {
        self.rule = rule;
        self.action = action;
        self.exempt = None;
        self
    }

    /// The same, where the policy lets this rule's findings pass.
    pub(crate) fn exempt_by(&mut self, exemption: Option<&Exemption>) -> &mut Self {
        self.exempt = exemption.map(Exemption::used);
        self
    }

    /// Whether the rule has its way here: it is neither only watched nor exempted from.
    pub(crate) fn enforces(&self) -> bool {
        matches!(self.action, Action::Deny | Action::Mutate) && self.exempt.is_none()
    }

    /// Writes down a finding that a change to `after` mends. True: the rule makes that change now.
    #[must_use]
    pub(crate) fn mends(&mut self, found: Found, after: impl Into<Value>) -> bool {
        let after = after.into();
        let taken = self.taken(Taken::of(self.action, true));
        let kept = if taken == Taken::Mutated { after.clone() } else { found.before.clone() };
        self.write(found, kept, taken, value_text(&after), true);
        taken == Taken::Mutated
    }

    /// Writes down a finding that no change mends; `allowed` says what would have passed.
    pub(crate) fn refuses(&mut self, found: Found, allowed: impl Into<String>) {
        let taken = self.taken(Taken::of(self.action, false));
        let kept = found.before.clone();
        self.write(found, kept, taken, allowed.into(), false);
    }

    /// Writes down a finding that is let pass whatever the rule does.
    pub(crate) fn watches(&mut self, found: Found, allowed: impl Into<String>) {
        let kept = found.before.clone();
        self.write(found, kept, Taken::Audited, allowed.into(), false);
    }

    pub(crate) fn has_denial(&self) -> bool {
        self.findings.iter().any(|finding| finding.action == Taken::Denied)
    }

    /// The findings, and the exemptions that let some of them pass.
    pub(crate) fn into_account(self) -> (Vec<Finding>, Vec<ExemptionUse>) {
        (self.findings, self.used)
    }

    /// What becomes of a finding: an exemption that is made use of is written down, once.
    fn taken(&mut self, unless_exempt: Taken) -> Taken {
        let Some(exemption) = self.exempt.as_ref().filter(|_| unless_exempt != Taken::Audited) else {
            return unless_exempt;
        };
        if !self.used.contains(exemption) {
            self.used.push(exemption.clone());
        }
        Taken::Exempted
    }

    fn write(&mut self, found: Found, after: Value, action: Taken, allowed: String, mendable: bool) {
        // Findings go to the audit log, the client and the admin's terminal: no secret is to be in any.
        let shown = |value| bounded(redact_value(&found.pointer, value));
        self.findings.push(Finding {
            rule: self.rule,
            action,
            before: shown(found.before),
            after: shown(after),
            reason: redact_text(&found.reason),
            allowed: redact_text(&allowed),
            mendable,
            pointer: found.pointer,
        });
    }
}

/// A value as a user would write it: a text without its quotes, nothing for null.
fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}
