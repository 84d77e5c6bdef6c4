//! `palisade explain`.

use std::fs;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use palisade_policy::redact_document;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::arguments::{ExplainArguments, ExplainFormat};
use crate::error::CliError;
use crate::report::{at, plain, text_at, write_json};
use crate::{Verdict, policy};

/// containerd's runtime v2 plugin; bundles are below it as `<namespace>/<id>`.
const TASKS: &str = "io.containerd.runtime.v2.task";
/// The shim's own directory in a bundle.
const PRIVATE: &str = "palisade";

pub(crate) fn run(arguments: &ExplainArguments, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let bundle = arguments.state.join(TASKS).join(&arguments.namespace).join(&arguments.id);
    let hardened = bundle.join(PRIVATE).join("config.json");
    if !hardened.is_file() {
        // A container that was refused, or has ended, is still on record.
        if arguments.format == ExplainFormat::Diff {
            reasons(&log_of(arguments)?, arguments, out)?;
        }
        if !out.is_empty() {
            return Ok(Verdict::Fine);
        }
        let (id, namespace) = (arguments.id.clone(), arguments.namespace.clone());
        return Err(CliError::NoContainer { id, namespace, path: hardened });
    }
    let (before, after) = (document(&bundle.join("config.json"))?, document(&hardened)?);
    match arguments.format {
        ExplainFormat::Patch => {
            write_json(&serde_json::to_string_pretty(&json_patch::diff(&before, &after))?, out)?;
        }
        ExplainFormat::Diff => {
            reasons(&log_of(arguments)?, arguments, out)?;
            diff(&before, &after, out)?;
        }
    }
    Ok(Verdict::Fine)
}

fn log_of(arguments: &ExplainArguments) -> Result<PathBuf, CliError> {
    Ok(policy::load(&arguments.policy)?.policy().audit().path().to_owned())
}

fn document(path: &Path) -> Result<Value, CliError> {
    let bytes = fs::read(path).map_err(|source| CliError::Read { path: path.into(), source })?;
    let document = serde_json::from_slice(&bytes);
    // What is printed here ends up in tickets and chats.
    document.map(redact_document).map_err(|source| CliError::Json { path: path.into(), source })
}

/// What the audit log and the one rotated before it say of the container, oldest first.
fn reasons(log: &Path, arguments: &ExplainArguments, out: &mut Vec<u8>) -> Result<(), CliError> {
    let mut rotated = log.as_os_str().to_owned();
    rotated.push(".1");
    for path in [Path::new(&rotated), log] {
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(CliError::Read { path: path.into(), source }),
        };
        for line in BufReader::new(file).lines() {
            let line = line.map_err(|source| CliError::Read { path: path.into(), source })?;
            // Most lines are about other containers; those are not worth parsing.
            if !line.contains(&arguments.id) {
                continue;
            }
            let Ok(record) = serde_json::from_str::<Value>(&line) else { continue };
            if *at(&record, "/container") == arguments.id.as_str()
                && *at(&record, "/namespace") == arguments.namespace.as_str()
            {
                reason(&record, out)?;
            }
        }
    }
    Ok(())
}

fn reason(line: &Value, out: &mut Vec<u8>) -> Result<(), CliError> {
    let text = |pointer| text_at(line, pointer);
    let (time, operation, decision) = (text("/time"), text("/record/operation"), text("/decision"));
    writeln!(
        out,
        "{time} {operation} {decision}, profile {} ({})",
        text("/record/profile"),
        text("/record/selected_by")
    )?;
    for finding in at(line, "/record/findings").as_array().into_iter().flatten() {
        let text = |pointer| text_at(finding, pointer);
        writeln!(out, "  {} {} {}: {}", text("/action"), text("/rule"), text("/pointer"), text("/reason"))?;
    }
    Ok(())
}

fn diff(before: &Value, after: &Value, out: &mut Vec<u8>) -> Result<(), CliError> {
    let (before, after) = (serde_json::to_string_pretty(before)?, serde_json::to_string_pretty(after)?);
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let diff = TextDiff::from_lines(&before, &after);
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        writeln!(out, "{}", hunk.header())?;
        for change in hunk.iter_changes() {
            let (sign, start) = match change.tag() {
                ChangeTag::Delete => ('-', "\x1b[31m"),
                ChangeTag::Insert => ('+', "\x1b[32m"),
                ChangeTag::Equal => (' ', ""),
            };
            let line = plain(change.value().trim_end_matches('\n'));
            if colour && !start.is_empty() {
                writeln!(out, "{start}{sign}{line}\x1b[0m")?;
            } else {
                writeln!(out, "{sign}{line}")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z/~0-1]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-c/~]{1,2}", inner, 0..5).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_patch_leads_from_one_document_to_the_other(before in document(), after in document()) {
            let mut patched = before.clone();
            json_patch::patch(&mut patched, &json_patch::diff(&before, &after)).unwrap();
            prop_assert_eq!(patched, after);
        }
    }
}
