//! The result of a check as text, JSON and SARIF.

use std::io::Write as _;
use std::path::Path;

use palisade_policy::{Finding, RULES, Taken};
use serde_json::{Value, json};

use crate::check::Checked;
use crate::error::CliError;

/// What a finding comes to.
pub(crate) fn word(taken: Taken) -> &'static str {
    match taken {
        Taken::Denied => "denied",
        Taken::Mutated => "changed",
        Taken::Audited => "noted",
        Taken::Exempted => "exempted",
    }
}

pub(crate) fn text(checked: &[Checked], out: &mut Vec<u8>) -> Result<(), CliError> {
    for one in checked {
        let path = one.path.display();
        for finding in &one.record.findings {
            let Finding { rule, action, pointer, reason, allowed, .. } = finding;
            // What stands in a specification is the author's: no control characters to the admin's terminal.
            let line = format!("{path}: {}: {rule}: {pointer}: {reason}; allowed: {allowed}", word(*action));
            writeln!(out, "{}", plain(&line))?;
        }
        let verdict = if one.denial.is_some() { "REFUSED" } else { "admitted" };
        let (profile, by) = (&one.record.profile, &one.record.selected_by);
        writeln!(out, "{path}: {verdict} under profile {profile} ({by}), {} findings", one.record.findings.len())?;
    }
    Ok(())
}

/// What stands at a JSON pointer of a record; null where nothing does.
pub(crate) fn at<'a>(record: &'a Value, pointer: &str) -> &'a Value {
    record.pointer(pointer).unwrap_or(&Value::Null)
}

/// The text at a JSON pointer, fit for a terminal.
pub(crate) fn text_at(record: &Value, pointer: &str) -> String {
    plain(at(record, pointer).as_str().unwrap_or_default())
}

/// A text without characters that steer a terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// Control characters, ESC and the one-byte CSI among them, and those that turn or hide what is beside them (Unicode's separators of
/// lines and paragraphs, and the format characters that are no part of a word: UAX #9, UTS #39).
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Writes a JSON text, and a newline. What [`plain`] takes out is escaped: the value is as it was, and a terminal sees none of it.
pub(crate) fn write_json(text: &str, out: &mut Vec<u8>) -> Result<(), CliError> {
    for c in text.chars() {
        // Outside of strings there are only line feeds, and inside none.
        if c != '\n' && steers(c) {
            write!(out, "\\u{:04x}", u32::from(c))?;
        } else {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Ok(writeln!(out)?)
}

pub(crate) fn json(checked: &[Checked], out: &mut Vec<u8>) -> Result<(), CliError> {
    let all: Vec<Value> = checked
        .iter()
        .map(|one| {
            json!({
                "path": one.path,
                "decision": if one.denial.is_some() { "deny" } else { "admit" },
                "message": one.denial.as_ref().map(ToString::to_string),
                "record": one.record,
            })
        })
        .collect();
    write_json(&serde_json::to_string_pretty(&all)?, out)
}

/// SARIF 2.1.0 (OASIS), as code scanning services take it.
pub(crate) fn sarif(checked: &[Checked], out: &mut Vec<u8>) -> Result<(), CliError> {
    let rules: Vec<Value> =
        RULES.iter().map(|rule| json!({ "id": rule.id, "shortDescription": { "text": rule.source } })).collect();
    let results: Vec<Value> =
        checked.iter().flat_map(|one| one.record.findings.iter().map(move |finding| result(one, finding))).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "palisade",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "results": results,
        }],
    });
    write_json(&serde_json::to_string_pretty(&log)?, out)
}

fn result(one: &Checked, finding: &Finding) -> Value {
    let level = match finding.action {
        Taken::Denied => "error",
        Taken::Mutated => "warning",
        Taken::Audited | Taken::Exempted => "note",
    };
    json!({
        "ruleId": finding.rule,
        "level": level,
        "message": { "text": format!("{}; allowed: {}", finding.reason, finding.allowed) },
        "locations": [{
            "physicalLocation": { "artifactLocation": { "uri": one.path } },
            "logicalLocations": [{ "fullyQualifiedName": finding.pointer, "kind": "member" }],
        }],
    })
}

/// A path as a URI, RFC 3986: what has a meaning there is escaped.
pub(crate) fn uri(path: &Path) -> String {
    let escaped = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    let path: String = path.as_os_str().as_encoded_bytes().iter().copied().map(escaped).collect();
    if path.starts_with('/') { format!("file://{path}") } else { path }
}
