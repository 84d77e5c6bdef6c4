//! `image.scan`.

use std::collections::BTreeMap;

use serde_json::json;

use super::image::ImageCase;
use crate::day::Day;
use crate::image::{ImageFacts, Severity, Verdict, VerdictOutcome, Vulnerable};
use crate::sheet::{Found, Sheet};

/// What a scanner may have found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScanSettings {
    /// The lowest severity that is refused.
    pub(crate) severity: Severity,
    /// Ids that are let pass.
    pub(crate) ignore: Vec<String>,
    /// Days for which a verdict counts that does not say until when; `None`: without an end.
    pub(crate) max_age: Option<u32>,
}

impl Default for ScanSettings {
    fn default() -> Self {
        Self { severity: Severity::High, ignore: Vec::new(), max_age: None }
    }
}

/// At least one verdict must be in force, and the newest of each scanner must let the image pass.
pub(super) fn judge(facts: &ImageFacts, case: &ImageCase<'_>, sheet: &mut Sheet) {
    let Some(verdicts) = case.seen(&facts.verdicts, "verdicts", sheet) else { return };
    let settings = &case.settings.image_scan;
    let about = |verdict: &&Verdict| verdict.digests.iter().any(|digest| facts.digests().contains(&digest.as_str()));
    let mut newest: BTreeMap<&str, &Verdict> = BTreeMap::new();
    for verdict in verdicts.iter().filter(about).filter(|verdict| in_force(verdict, settings, case.today)) {
        let known = newest.entry(&verdict.scanner).or_insert(verdict);
        // Of two from the same day, one that refuses counts.
        let (later, same) = (verdict.made > known.made, verdict.made == known.made);
        if later || same && objection(verdict, settings).is_some() {
            *known = verdict;
        }
    }
    let before = json!(facts.digest);
    if newest.is_empty() {
        let reason = if verdicts.is_empty() {
            "no verdict about the image is there"
        } else {
            "no verdict about the image is in force"
        };
        sheet.refuses(Found::new("/task/image/digest", before, reason), "images with a verdict in [images] verdicts");
        return;
    }
    for (scanner, verdict) in newest {
        if let Some(objection) = objection(verdict, settings) {
            let found = Found::new("/task/image/digest", before.clone(), format!("{scanner}: {objection}"));
            sheet.refuses(found, format!("nothing {} or worse", settings.severity.name()));
        }
    }
}

/// What says neither when it was made nor until when it counts, counts where no age is asked for. A date to come is no date.
fn in_force(verdict: &Verdict, settings: &ScanSettings, today: Day) -> bool {
    let day = |text: &Option<String>| text.as_deref().map(Day::from_iso);
    let (made, until) = (day(&verdict.made), day(&verdict.until));
    let counts_until = match until {
        Some(until) => until.is_some_and(|until| today <= until),
        None => true,
    };
    let is_fresh = match (made, settings.max_age, until) {
        (Some(Some(made)), _, _) if made > today => false,
        (Some(Some(made)), Some(most), _) => today.days_since(made) <= i64::from(most),
        (Some(Some(_)), None, _) => true,
        (Some(None), _, _) => false,
        (None, most, until) => most.is_none() || until.is_some(),
    };
    counts_until && is_fresh
}

fn objection(verdict: &Verdict, settings: &ScanSettings) -> Option<String> {
    match &verdict.outcome {
        VerdictOutcome::Pass => None,
        VerdictOutcome::Fail(reason) if reason.is_empty() => Some("fail".to_owned()),
        VerdictOutcome::Fail(reason) => Some(format!("fail, {reason}")),
        VerdictOutcome::Found(found) => found_too_much(found, settings),
    }
}

fn found_too_much(found: &Vulnerable, settings: &ScanSettings) -> Option<String> {
    let counts =
        found.worst.iter().filter(|one| one.severity >= settings.severity && !settings.ignore.contains(&one.id));
    let ids: Vec<&str> = counts.map(|one| one.id.as_str()).collect();
    match (ids.as_slice(), found.beyond) {
        ([first], _) => Some((*first).to_owned()),
        ([first, rest @ ..], _) => Some(format!("{first} and {} more", rest.len())),
        ([], Some(beyond)) if beyond >= settings.severity => Some("more findings than are told one by one".to_owned()),
        ([], _) => None,
    }
}
