//! `palisade refusals`.

use std::collections::BTreeMap;
use std::io::Write as _;

use serde_json::Value;

use crate::Verdict;
use crate::arguments::{RefusalsArguments, RefusalsFormat};
use crate::error::CliError;
use crate::log::LogReader;
use crate::report::{at, plain, text_at, write_json};

/// Container and call; a later line about both has the larger count.
type Key = (String, String);

pub(crate) fn run(arguments: &RefusalsArguments, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let mut last: BTreeMap<Key, Value> = BTreeMap::new();
    LogReader::of(&arguments.log)?.read(|line| take(line, arguments.container.as_deref(), &mut last))?;
    match arguments.format {
        RefusalsFormat::Text => last.values().try_for_each(|refusal| writeln!(out, "{}", line(refusal)))?,
        RefusalsFormat::Json => {
            write_json(&serde_json::to_string_pretty(&last.into_values().collect::<Vec<_>>())?, out)?;
        }
    }
    Ok(Verdict::Fine)
}

fn take(line: &str, only: Option<&str>, last: &mut BTreeMap<Key, Value>) {
    // Most lines are decisions; those are not worth parsing.
    if !line.contains("\"event\":\"seccomp\"") {
        return;
    }
    let Ok(record) = serde_json::from_str::<Value>(line) else { return };
    if *at(&record, "/event") != "seccomp" || only.is_some_and(|only| !is_of(&record, only)) {
        return;
    }
    for refusal in at(&record, "/refusals").as_array().into_iter().flatten() {
        let call = ["/number", "/architecture", "/arguments", "/errno"].map(|key| at(refusal, key).to_string());
        let key = (text_at(&record, "/container"), call.join(" "));
        last.insert(key, with_container(refusal, &record));
    }
}

/// Whether a record is about that container: the beginning of an id, or a pod.
pub(crate) fn is_of(record: &Value, only: &str) -> bool {
    let text = |pointer| at(record, pointer).as_str().unwrap_or_default();
    text("/container").starts_with(only)
        || format!("{}/{}", text("/identity/pod_namespace"), text("/identity/pod_name")) == only
}

fn with_container(refusal: &Value, record: &Value) -> Value {
    let mut refusal = refusal.clone();
    if let Some(fields) = refusal.as_object_mut() {
        for key in ["container", "namespace", "identity"] {
            fields.insert(key.to_owned(), at(record, &format!("/{key}")).clone());
        }
    }
    refusal
}

fn line(refusal: &Value) -> String {
    let text = |pointer| text_at(refusal, pointer);
    let call = match at(refusal, "/syscall").as_str() {
        Some(name) => plain(name),
        None => format!("call {}", at(refusal, "/number")),
    };
    let arguments = at(refusal, "/arguments").as_object().into_iter().flatten();
    let arguments: Vec<String> =
        arguments.map(|(index, value)| format!("{index}={}", value.as_str().unwrap_or_default())).collect();
    let (count, errno, pid) = (at(refusal, "/count"), at(refusal, "/errno"), at(refusal, "/pid"));
    let pod = plain(&format!("{}/{}", text("/identity/pod_namespace"), text("/identity/pod_name")));
    format!(
        "{} {pod} {call}({}) {} errno {errno}, {count} times, {} to {}, first by {} ({pid})",
        text("/container"),
        plain(&arguments.join(" ")),
        text("/architecture"),
        text("/first"),
        text("/last"),
        text("/command"),
    )
}
