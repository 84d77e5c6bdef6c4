//! `palisade replay`.
//!
//! A record holds what the rules found and not the specification, so a replay asks of each finding what its rule does
//! under the other policy. A rule that was off then has no findings, and a list or limit that differs may find more
//! or less: `palisade check` on bundles that are still there answers those in full.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};

use palisade::gate::today;
use palisade_policy::{Identity, PastFinding, Policy, RuleId, Taken};
use serde_json::Value;

use crate::Verdict;
use crate::arguments::ReplayArguments;
use crate::error::CliError;
use crate::policy;
use crate::report::{at, plain, text_at};

pub(crate) fn run(arguments: &ReplayArguments, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let loaded = policy::load(&arguments.policy)?;
    let failed = |source| CliError::Read { path: arguments.log.clone(), source };
    let file = File::open(&arguments.log).map_err(failed)?;
    let (mut records, mut differ) = (0_usize, 0_usize);
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(failed)?;
        let wrong = |source| CliError::Record { path: arguments.log.clone(), line: number + 1, source };
        let record: Value = serde_json::from_str(&line).map_err(wrong)?;
        // What is on record beside decisions.
        if record.get("event").is_some_and(|event| event != "decision") {
            continue;
        }
        let identity: Identity = serde_json::from_value(at(&record, "/identity").clone()).map_err(wrong)?;
        records += 1;
        let changes = changes(&record, &identity, loaded.policy());
        if changes.is_empty() {
            continue;
        }
        differ += 1;
        let text = |pointer| text_at(&record, pointer);
        let pod = plain(&format!("{}/{}/{}", identity.pod_namespace, identity.pod_name, identity.container_name));
        writeln!(out, "{} {} {} {pod}", text("/time"), text("/container"), text("/decision"))?;
        for change in changes {
            writeln!(out, "  {change}")?;
        }
    }
    writeln!(out, "{records} decisions, {differ} would differ")?;
    Ok(if differ > 0 { Verdict::Objections } else { Verdict::Fine })
}

/// What would become of each finding, where that is something else.
fn changes(line: &Value, identity: &Identity, policy: &Policy) -> Vec<String> {
    let findings = at(line, "/record/findings").as_array().into_iter().flatten();
    findings.filter_map(|finding| change(line, finding, identity, policy)).collect()
}

fn change(line: &Value, finding: &Value, identity: &Identity, policy: &Policy) -> Option<String> {
    let name = at(finding, "/rule").as_str()?;
    let Some(rule) = RuleId::named(name) else { return Some(format!("{}: no longer a rule", plain(name))) };
    let was_audit = *at(line, "/record/mode") == "audit";
    let was = if was_audit { "audited" } else { at(finding, "/action").as_str()? };
    let by_annotation = at(line, "/record/selected_by").as_str().is_some_and(|by| by.starts_with("annotation "));
    let past = PastFinding {
        identity,
        id: at(line, "/container").as_str().unwrap_or_default(),
        rule: rule.id,
        // Older records do not say; then it is as for most findings of the rule.
        mendable: at(finding, "/mendable").as_bool().unwrap_or(rule.mutable),
        asked: at(line, "/record/profile").as_str().filter(|_| by_annotation),
    };
    let (profile, taken) = policy.would_take(&past, today());
    let now = taken.map_or("not looked at", word);
    let pointer = text_at(finding, "/pointer");
    (was != now).then(|| format!("{name} {pointer}: {} -> {now} (profile {})", plain(was), plain(&profile)))
}

/// As records write it.
fn word(taken: Taken) -> &'static str {
    match taken {
        Taken::Denied => "denied",
        Taken::Mutated => "mutated",
        Taken::Audited => "audited",
        Taken::Exempted => "exempted",
    }
}
