//! A profile: what each rule does, and the values that the rules go by.

mod limits;
pub(crate) mod settings;

use crate::action::{Action, Mode};
use crate::rules::{RULES, RuleId};

pub(crate) use limits::{Disk, DiskLimit, DiskLimits, High, NumberSet, Throttle};
pub(crate) use settings::{AllowedDevice, AllowedPath, Ceiling, Settings};

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

    /// The profile of that name in the version that follows an `@`; without one, the newest.
    pub(crate) fn versioned(name: &str) -> Option<Self> {
        let (name, version) = name.split_once('@').unwrap_or((name, Self::VERSION));
        Self::named(name).filter(|_| version == Self::VERSION)
    }

    /// The version of all built-in profiles. A rule that is added or made stricter makes a new one, and the older
    /// ones stay, so that a node does not change under a policy that pins them.
    pub(crate) const VERSION: &'static str = "1";
}

/// A named profile, complete.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    name: String,
    mode: Mode,
    /// Its containers' calls are recorded.
    learn: bool,
    /// One action for each of `RULES`, in their order.
    actions: Vec<Action>,
    pub(crate) settings: Settings,
}

impl Profile {
    pub(crate) fn builtin(builtin: Builtin) -> Self {
        Self {
            name: builtin.name().to_owned(),
            mode: Mode::Enforce,
            learn: false,
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

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    pub(crate) fn learns(&self) -> bool {
        self.learn
    }

    pub(crate) fn set_learn(&mut self, learn: bool) {
        self.learn = learn;
    }

    /// The profile without every rule that may be switched off: what holds also where nothing is enforced.
    pub(crate) fn essentials(&self) -> Self {
        let actions = RULES.iter().map(|rule| rule.action_in(Builtin::Privileged)).collect();
        Self {
            name: self.name.clone(),
            mode: Mode::Enforce,
            learn: self.learn,
            actions,
            settings: self.settings.clone(),
        }
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

    /// Whether a rule about images looks.
    pub(crate) fn judges_images(&self) -> bool {
        self.actions().any(|(rule, action)| rule.is_about_images() && action != Action::Off)
    }

    /// The mitigations that count in this profile: none where the rule that they belong to does not act.
    pub(crate) fn mitigations(&self) -> Vec<String> {
        let acts = |(rule, action): (&crate::rules::Rule, Action)| {
            rule.id.as_str() == "linux.seccomp" && matches!(action, Action::Mutate | Action::Deny)
        };
        let on = if self.actions().any(acts) { self.settings.seccomp.mitigations() } else { &[] };
        on.iter().map(|mitigation| mitigation.id().to_owned()).collect()
    }

    /// The rules that are switched off and would be on in `restricted`: an optional rule is no gap.
    pub(crate) fn off(&self) -> Vec<RuleId> {
        let off = self.actions().filter(|(rule, action)| *action == Action::Off && rule.restricted != Action::Off);
        off.map(|(rule, _)| rule.id).collect()
    }
}
