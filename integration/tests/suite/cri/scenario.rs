//! A scenario and what is expected of it.

use palisade_integration::containerd::Runtime;

use super::seen::Seen;
use super::stage::{Fault, Stage};
use crate::support::{Check, World};

/// What a scenario does through a handler.
pub(super) type Act = fn(&Stage<'_>) -> Result<Seen, Fault>;

/// Names of observations and their values.
pub(super) type Shown = &'static [(&'static str, &'static str)];

/// One behaviour of a runtime.
pub(super) struct Scenario {
    /// The behaviour, as the page names it.
    pub(super) what: &'static str,
    /// Which case of the validation suite names it; empty where none does.
    pub(super) critest: &'static str,
    pub(super) act: Act,
    /// What plain runc shows: with it the scenario proves that it sees something.
    pub(super) shows: Shown,
    /// Observations that may differ from runc's where all is allowed, and why.
    pub(super) differs: Shown,
    pub(super) restricted: Restricted,
    pub(super) needs: Needs,
    /// The handler that shows what is right.
    pub(super) control: Runtime,
    /// Why `Palisade`, the handler by type, is not asked.
    pub(super) by_path: Option<&'static str>,
}

/// What becomes of it under the profile `restricted`.
pub(super) enum Restricted {
    /// What plain runc shows.
    Same,
    /// It runs, and shows this.
    Shows(Shown),
    /// It is refused by this rule.
    Refused(&'static str),
}

/// Which containerd can be asked.
pub(super) enum Needs {
    Any,
    /// 2.0 or later, for this reason.
    Two(&'static str),
}

/// A behaviour that the policy leaves as it is.
pub(super) const fn scenario(what: &'static str, critest: &'static str, act: Act, shows: Shown) -> Scenario {
    Scenario {
        what,
        critest,
        act,
        shows,
        differs: &[],
        restricted: Restricted::Same,
        needs: Needs::Any,
        control: Runtime::Runc,
        by_path: None,
    }
}

impl Scenario {
    /// Under `restricted` it is refused by this rule.
    pub(super) const fn refused(self, rule: &'static str) -> Self {
        Self { restricted: Restricted::Refused(rule), ..self }
    }

    /// Under `restricted` it shows this instead.
    pub(super) const fn restricted(self, shown: Shown) -> Self {
        Self { restricted: Restricted::Shows(shown), ..self }
    }

    /// What these observations are under palisade is another matter, for these reasons.
    pub(super) const fn differs(self, differs: Shown) -> Self {
        Self { differs, ..self }
    }

    /// containerd 1.7 has it not, for this reason.
    pub(super) const fn since_two(self, why: &'static str) -> Self {
        Self { needs: Needs::Two(why), ..self }
    }

    /// The runc at hand can't do it; a newer one shows what is right.
    pub(super) const fn beside_new_runc(self) -> Self {
        Self { control: Runtime::NewRunc, ..self }
    }

    /// Only the handler by path is asked, for this reason.
    pub(super) const fn by_path(self, why: &'static str) -> Self {
        Self { by_path: Some(why), ..self }
    }

    /// The handlers that are asked.
    pub(super) fn handlers(&self) -> &'static [Runtime] {
        match self.by_path {
            None => &[Runtime::Palisade, Runtime::PalisadeByPath],
            Some(_) => &[Runtime::PalisadeByPath],
        }
    }

    /// Fails unless both show the same, but for what is said to differ.
    pub(super) fn compare(&self, runc: &Seen, palisade: &Seen) -> Check {
        let mut differing = palisade.differing(runc);
        differing.retain(|difference| self.differs.iter().all(|(name, _)| difference.name != *name));
        let differing: Vec<_> = differing.iter().map(ToString::to_string).collect();
        expect!(differing.is_empty(), "not as under runc: {}", differing.join("; "));
        Ok(())
    }
}

impl Needs {
    /// Why this containerd can't be asked, where it can't.
    pub(super) fn lacking(&self, world: &World) -> Option<&'static str> {
        match self {
            Self::Two(why) if world.containerd.is_one_seven() => Some(why),
            Self::Any | Self::Two(_) => None,
        }
    }
}
