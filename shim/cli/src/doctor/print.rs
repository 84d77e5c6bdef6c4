//! What was found as text, JSON and SARIF.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use serde_json::{Value, json};

use super::{Outcome, Result, Severity, all};
use crate::error::CliError;
use crate::report::{plain, uri, write_json};

/// Of the JSON output. Goes up when a field changes its meaning or goes.
const FORMAT: u32 = 1;
const RED: &str = "\u{1b}[31m";
const YELLOW: &str = "\u{1b}[33m";
const PLAIN: &str = "\u{1b}[0m";

const OUTCOMES: [Outcome; 5] = [Outcome::Fail, Outcome::Unknown, Outcome::Warn, Outcome::Pass, Outcome::NotApplicable];

fn number(results: &[Result], outcome: Outcome) -> usize {
    results.iter().filter(|result| result.outcome() == outcome).count()
}

/// Faults first, the gravest one on top.
pub(super) fn text(results: &[Result], everything: bool, out: &mut Vec<u8>) -> std::result::Result<(), CliError> {
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    for outcome in OUTCOMES {
        let is_fine = matches!(outcome, Outcome::Pass | Outcome::NotApplicable);
        if is_fine && !everything {
            continue;
        }
        let mut of_outcome: Vec<&Result> = results.iter().filter(|result| result.outcome() == outcome).collect();
        of_outcome.sort_by_key(|result| std::cmp::Reverse(result.check.severity));
        for result in of_outcome {
            let (on, off) = match (colour, outcome) {
                (true, Outcome::Fail | Outcome::Unknown) => (RED, PLAIN),
                (true, Outcome::Warn) => (YELLOW, PLAIN),
                _ => ("", ""),
            };
            let (id, severity, seen) = (result.check.id, result.check.severity.word(), plain(&result.found.seen));
            writeln!(out, "{on}{:<14}{off} {severity:<8} {id}: {seen}", outcome.word())?;
            if !is_fine {
                let check = result.check;
                writeln!(out, "    {}. {} ({})", check.demand, check.why, check.reference)?;
                writeln!(out, "    mend: {}", plain(result.mend()))?;
            }
        }
    }
    let counts: Vec<String> =
        OUTCOMES.iter().map(|outcome| format!("{} {}", number(results, *outcome), outcome.word())).collect();
    writeln!(out, "{} checks: {}", results.len(), counts.join(", "))?;
    Ok(())
}

/// The faults that count, a line each, and how many there are of everything.
pub(super) fn in_short(results: &[Result], fail_on: Severity) -> Vec<String> {
    let faults = results.iter().filter(|result| result.counts(fail_on)).map(|result| {
        let (word, severity) = (result.outcome().word(), result.check.severity.word());
        format!("doctor: {word} {severity} {}: {}", result.check.id, result.found.seen)
    });
    let counts: Vec<String> =
        OUTCOMES.iter().map(|outcome| format!("{} {}", number(results, *outcome), outcome.word())).collect();
    faults.chain([format!("doctor: {} checks: {}", results.len(), counts.join(", "))]).collect()
}

pub(super) fn json(results: &[Result], root: &Path, out: &mut Vec<u8>) -> std::result::Result<(), CliError> {
    let checks: Vec<Value> = results
        .iter()
        .map(|result| {
            json!({
                "id": result.check.id,
                "severity": result.check.severity,
                "outcome": result.outcome(),
                "seen": result.found.seen,
                "demand": result.check.demand,
                "why": result.check.why,
                "reference": result.check.reference,
                "mend": result.mend(),
            })
        })
        .collect();
    let summary: serde_json::Map<String, Value> =
        OUTCOMES.iter().map(|outcome| (outcome.word().to_owned(), number(results, *outcome).into())).collect();
    let report = json!({
        "format": FORMAT,
        "palisade": env!("CARGO_PKG_VERSION"),
        "root": root,
        "summary": summary,
        "checks": checks,
    });
    write_json(&serde_json::to_string_pretty(&report)?, out)
}

/// SARIF 2.1.0 (OASIS), §3.27.9: a result that is no fault has another kind, and no level.
pub(super) fn sarif(results: &[Result], root: &Path, out: &mut Vec<u8>) -> std::result::Result<(), CliError> {
    let rules: Vec<Value> = all()
        .map(|check| {
            json!({
                "id": check.id,
                "shortDescription": { "text": check.demand },
                "fullDescription": { "text": format!("{} ({})", check.why, check.reference) },
                "help": { "text": check.mend },
                "defaultConfiguration": { "level": level(check.severity) },
                "properties": { "severity": check.severity },
            })
        })
        .collect();
    let index = |id: &str| all().position(|check| check.id == id);
    let results: Vec<Value> = results
        .iter()
        .map(|result| {
            let (kind, level) = match result.outcome() {
                Outcome::Fail => ("fail", level(result.check.severity)),
                Outcome::Warn => ("review", "none"),
                Outcome::Unknown => ("open", "none"),
                Outcome::Pass => ("pass", "none"),
                Outcome::NotApplicable => ("notApplicable", "none"),
            };
            json!({
                "ruleId": result.check.id,
                "ruleIndex": index(result.check.id),
                "kind": kind,
                "level": level,
                "message": { "text": format!("{}. Mend: {}", result.found.seen, result.mend()) },
                "locations": [{
                    "physicalLocation": { "artifactLocation": { "uri": uri(root) } },
                    "logicalLocations": [{ "fullyQualifiedName": result.check.id, "kind": "member" }],
                }],
            })
        })
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "palisade", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "results": results,
        }],
    });
    write_json(&serde_json::to_string_pretty(&log)?, out)
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}
