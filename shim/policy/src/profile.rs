//! A profile: what each rule does, and the values that the rules go by.

pub(crate) mod settings;

use crate::action::Action;
use crate::rules::{RULES, RuleId};

pub(crate) use settings::{AllowedPath, Ceiling, Settings};

/// The built-in profiles, named as the Kubernetes Pod Security Standards are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    /// Least privilege; the default.
    Restricted,
    /// No known way to the host; root allowed.
    Baseline,
    /// Every rule off, still recorded.
    Privileged,
}

impl Builtin {
    pub(crate) const ALL: [Self; 3] = [Self::Restricted, Self::Baseline, Self::Privileged];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Restricted => "restricted",
            Self::Baseline => "baseline",
            Self::Privileged => "privileged",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|builtin| builtin.name() == name)
    }
}

/// A named profile, complete.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    name: String,
    /// One action for each of `RULES`, in their order.
    actions: Vec<Action>,
    pub(crate) settings: Settings,
}

impl Profile {
    pub(crate) fn builtin(builtin: Builtin) -> Self {
        Self {
            name: builtin.name().to_owned(),
            actions: RULES.iter().map(|rule| rule.action_in(builtin)).collect(),
            settings: Settings::of(builtin),
        }
    }

    pub(crate) fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn set(&mut self, rule: RuleId, action: Action) {
        let all = RULES.iter().zip(&mut self.actions);
        for (_, slot) in all.filter(|(known, _)| known.id == rule) {
            *slot = action;
        }
    }

    /// Each rule with what it does here.
    pub(crate) fn actions(&self) -> impl Iterator<Item = (&'static crate::rules::Rule, Action)> + '_ {
        RULES.iter().zip(self.actions.iter().copied())
    }

    /// The rules that are switched off.
    pub(crate) fn off(&self) -> Vec<RuleId> {
        let off = self.actions().filter(|(_, action)| *action == Action::Off);
        off.map(|(rule, _)| rule.id).collect()
    }
}
