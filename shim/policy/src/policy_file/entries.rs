//! `[[select]]` and `[[exempt]]`.

use std::ops::Range;

use toml::Spanned;

use super::closest;
use super::error::{Place, PolicyError};
use super::shape::{Date, ExemptTable, SelectTable};
use crate::day::Day;
use crate::exemption::Exemption;
use crate::policy::Policy;
use crate::rules::RuleId;
use crate::scope::{Pattern, Scope};
use crate::select::Selector;

/// The keys of the conditions that are texts.
const KEYS: [&str; 4] = ["namespace", "pod", "container", "image"];

/// The conditions of an entry as they stand in the file, the texts in the order of [`KEYS`].
struct Conditions<'a> {
    texts: [&'a Option<Spanned<String>>; 4],
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
    let texts = [&entry.namespace, &entry.pod, &entry.container, &entry.image];
    let scope = Conditions { texts, sandbox: entry.sandbox }.read(table.span(), &name, place)?;
    if !known.contains(&entry.profile.get_ref().as_str()) {
        let mend = format!("choose one of {}", known.join(", "));
        return Err(place.wrong(entry.profile.span(), &format!("{name}.profile"), "names no profile", mend));
    }
    Ok(Selector { scope, profile: entry.profile.get_ref().clone(), name })
}

/// Whether `selector`, which stands before `later` ones, goes by nothing but names that a pod's author chooses and is
/// looser than what its containers would have without it: then whoever uses the name has the looser profile.
pub(super) fn loosens_by_name(selector: &Selector, later: &[Selector], policy: &Policy) -> bool {
    let own = policy.find(&selector.profile);
    let otherwise = later.iter().map(|selector| policy.find(&selector.profile)).chain([policy.selected()]);
    !selector.scope.is_beyond_author() && otherwise.into_iter().any(|other| own.looser_than(other).is_some())
}

/// Reads one exemption.
pub(super) fn exemption(table: &Spanned<ExemptTable>, name: String, place: &Place) -> Result<Exemption, PolicyError> {
    let entry = table.get_ref();
    let texts = [&entry.namespace, &entry.pod, &entry.container, &entry.image];
    let scope = Conditions { texts, sandbox: entry.sandbox }.read(table.span(), &name, place)?;
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
    if !rule.is_exemptable() {
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
        let mut patterns = [const { None }; 4];
        for ((slot, key), text) in patterns.iter_mut().zip(KEYS).zip(self.texts) {
            let Some(text) = text else { continue };
            let mend = "write the whole name, or its beginning and *";
            let wrong = || place.wrong(text.span(), &format!("{name}.{key}"), "is no name", mend);
            *slot = Some(Pattern::of(text.get_ref()).ok_or_else(wrong)?);
        }
        let [namespace, pod, container, image] = patterns;
        Scope::new(namespace, pod, container, image, self.sandbox).ok_or_else(|| {
            let mend = "add namespace, pod, container, image or sandbox";
            place.wrong(span, name, "is about every container", mend)
        })
    }
}
