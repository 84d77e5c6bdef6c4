//! `[[select]]` and `[[exempt]]`.

use std::ops::Range;

use toml::Spanned;

use super::closest;
use super::error::{Place, PolicyError};
use super::shape::{Date, ExemptTable, SelectTable};
use crate::day::Day;
use crate::exemption::{Exemption, is_exemptable};
use crate::policy::Policy;
use crate::rules::RuleId;
use crate::scope::{Pattern, Scope};
use crate::select::Selector;

/// The conditions of an entry as they stand in the file.
struct Conditions<'a> {
    texts: [(&'static str, &'a Option<Spanned<String>>); 4],
    sandbox: Option<bool>,
}

/// Reads one selector; `known` are the names of all profiles.
pub(super) fn selector(
    table: &Spanned<SelectTable>,
    name: String,
    known: &[&str],
    place: &Place,
) -> Result<Selector, PolicyError> {
    let entry = table.get_ref();
    let conditions = Conditions {
        texts: [
            ("namespace", &entry.namespace),
            ("pod", &entry.pod),
            ("container", &entry.container),
            ("image", &entry.image),
        ],
        sandbox: entry.sandbox,
    };
    let scope = conditions.read(table.span(), &name, place)?;
    if !known.contains(&entry.profile.get_ref().as_str()) {
        let mend = format!("choose one of {}", known.join(", "));
        return Err(place.wrong(entry.profile.span(), &format!("{name}.profile"), "names no profile", mend));
    }
    Ok(Selector { scope, profile: entry.profile.get_ref().clone(), name })
}

/// A selector that goes by nothing but names that a pod's author chooses must not loosen: whoever uses the name would
/// have the profile.
pub(super) fn check_author(
    selector: &Selector,
    policy: &Policy,
    span: Range<usize>,
    place: &Place,
) -> Result<(), PolicyError> {
    let looser = policy.find(&selector.profile).looser_than(policy.selected());
    match looser.filter(|_| !selector.scope.is_beyond_author()) {
        None => Ok(()),
        Some(_) => {
            let problem = "loosens by names that a pod's author chooses";
            let mend = "add namespace; \"*\" stands for all of them";
            Err(place.wrong(span, &selector.name, problem, mend))
        }
    }
}

/// Reads one exemption.
pub(super) fn exemption(table: &Spanned<ExemptTable>, name: String, place: &Place) -> Result<Exemption, PolicyError> {
    let entry = table.get_ref();
    let conditions = Conditions {
        texts: [
            ("namespace", &entry.namespace),
            ("pod", &entry.pod),
            ("container", &entry.container),
            ("image", &entry.image),
        ],
        sandbox: entry.sandbox,
    };
    let scope = conditions.read(table.span(), &name, place)?;
    let wrong = |at: Range<usize>, key: &str, problem: &str, mend: String| {
        Err(place.wrong(at, &format!("{name}.{key}"), problem, mend))
    };
    if !scope.is_beyond_author() {
        let mend = "add namespace; \"*\" stands for all of them";
        return Err(place.wrong(table.span(), &name, "goes by names that a pod's author chooses", mend));
    }
    let Some(rule) = RuleId::named(entry.rule.get_ref()) else {
        return wrong(entry.rule.span(), "rule", "is no rule", closest(entry.rule.get_ref()));
    };
    if !is_exemptable(rule) {
        let mend = "select a profile that says so openly".to_owned();
        return wrong(entry.rule.span(), "rule", "cannot be exempted from", mend);
    }
    let reason = entry.reason.get_ref().trim();
    if reason.is_empty() {
        return wrong(entry.reason.span(), "reason", "is empty", "say why, or name a ticket".to_owned());
    }
    let text = match entry.expires.get_ref() {
        Date::Text(text) => text.clone(),
        Date::Toml(date) => date.to_string(),
    };
    let Some(expires) = Day::from_iso(&text) else {
        return wrong(entry.expires.span(), "expires", "is no date", "write it as 2027-03-01".to_owned());
    };
    Ok(Exemption { rule: rule.id, scope, reason: reason.to_owned(), expires, name })
}

impl Conditions<'_> {
    fn read(&self, span: Range<usize>, name: &str, place: &Place) -> Result<Scope, PolicyError> {
        let pattern = |(key, text): &(&str, &Option<Spanned<String>>)| match text {
            None => Ok(None),
            Some(text) => match Pattern::of(text.get_ref()) {
                Some(pattern) => Ok(Some(pattern)),
                None => {
                    let mend = "write the whole name, or its beginning and *";
                    Err(place.wrong(text.span(), &format!("{name}.{key}"), "is no name", mend))
                }
            },
        };
        let [namespace, pod, container, image] = &self.texts;
        Scope::new(pattern(namespace)?, pattern(pod)?, pattern(container)?, pattern(image)?, self.sandbox).ok_or_else(
            || {
                let mend = "add namespace, pod, container, image or sandbox";
                place.wrong(span, name, "is about every container", mend)
            },
        )
    }
}
