//! Which profile a container is judged by.

use std::borrow::Cow;

use serde_json::Value;

use crate::policy::Policy;
use crate::profile::Profile;
use crate::scope::{Candidate, Scope};
use crate::sheet::Found;
use crate::strictness::looser_calls;

/// A `[[select]]` entry: the first one that covers a container decides.
#[derive(Debug, Clone)]
pub(crate) struct Selector {
    pub(crate) scope: Scope,
    pub(crate) profile: String,
    /// How records call it.
    pub(crate) name: String,
}

/// A profile and what chose it.
#[derive(Debug, Clone)]
pub(crate) struct Selection<'a> {
    pub(crate) profile: Cow<'a, Profile>,
    pub(crate) by: String,
}

/// Annotation by which a pod asks for a stricter profile. containerd hands it on only where the runtime handler
/// lists it in `pod_annotations`.
const PROFILE: &str = "palisade.io/profile";
/// Annotation by which a pod asks for a stricter system call profile.
const SECCOMP: &str = "palisade.io/seccomp";

/// How records call the choice where no entry covers a container.
const DEFAULT: &str = "profile";

impl Policy {
    /// The profile for a container, by what its pod's author cannot forge.
    pub(crate) fn select(&self, candidate: Candidate<'_>) -> Selection<'_> {
        match self.selectors.iter().find(|selector| selector.scope.covers(candidate)) {
            Some(selector) => {
                Selection { profile: Cow::Borrowed(self.find(&selector.profile)), by: selector.name.clone() }
            }
            None => Selection { profile: Cow::Borrowed(self.selected()), by: DEFAULT.to_owned() },
        }
    }

    /// The same, and then what the pod's annotations ask for. They can only tighten, for the author writes them;
    /// whether they do is computed from the two profiles. Beside it what is wrong with an annotation, each with what
    /// would be allowed.
    pub(crate) fn select_with<'a>(
        &'a self,
        candidate: Candidate<'_>,
        annotation: impl Fn(&str) -> Option<String>,
    ) -> (Selection<'a>, Vec<(Found, String)>) {
        let mut selection = self.select(candidate);
        let mut wrong = Vec::new();
        if let Some(name) = annotation(PROFILE) {
            match self.named(&name) {
                None => wrong.push(refusal(PROFILE, &name, "names no profile", self.names())),
                Some(asked) => match asked.looser_than(&selection.profile) {
                    None => {
                        selection = Selection { profile: Cow::Borrowed(asked), by: format!("annotation {PROFILE}") }
                    }
                    Some(why) => {
                        let reason = format!("is not as strict as {}: {why}", selection.profile.name());
                        wrong.push(refusal(PROFILE, &name, &reason, "a profile that is at least as strict".to_owned()));
                    }
                },
            }
        }
        if let Some(name) = annotation(SECCOMP) {
            let base = &selection.profile.settings.seccomp;
            match self.library.profile(&name).map(|asked| asked.mitigated(&self.mitigations)) {
                Ok(asked) => match looser_calls(&asked, base) {
                    None => {
                        selection.profile.to_mut().settings.seccomp = asked;
                        selection.by.push_str(&format!(", annotation {SECCOMP}"));
                    }
                    Some(call) => {
                        let reason = format!("is looser than the profile's {}: {call}", base.name());
                        let allowed = "a system call profile that is at least as strict".to_owned();
                        wrong.push(refusal(SECCOMP, &name, &reason, allowed));
                    }
                },
                Err(error) => {
                    wrong.push(refusal(SECCOMP, &name, "names no system call profile", error.known.join(", ")));
                }
            }
        }
        (selection, wrong)
    }

    fn names(&self) -> String {
        self.profiles.iter().map(Profile::name).collect::<Vec<_>>().join(", ")
    }
}

fn refusal(annotation: &str, value: &str, reason: &str, allowed: String) -> (Found, String) {
    let place = crate::pointer::join("/annotations", annotation);
    (Found::new(place, Value::from(value), format!("{value:?} {reason}")), allowed)
}
