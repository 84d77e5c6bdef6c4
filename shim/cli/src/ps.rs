//! `palisade ps`.

use std::io::Write as _;

use palisade::cgroup::{LimitHits, Usage};
use serde_json::{Value, json};

use crate::Verdict;
use crate::arguments::{ListFormat, PsArguments};
use crate::containers::{self, Container};
use crate::error::CliError;
use crate::report::{plain, write_json};

const HEAD: [&str; 9] = ["CONTAINER", "POD", "PROFILE", "USER", "CAPABILITIES", "FILTERS", "MEMORY", "PIDS", "VERDICT"];
/// Of an id.
const SHORT: usize = 12;

pub(crate) fn run(arguments: &PsArguments, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let found = containers::look(&arguments.places, "")?;
    match arguments.places.format {
        ListFormat::Text => table(found.iter().map(row).collect(), out)?,
        ListFormat::Json => {
            let all: Vec<_> = found.iter().map(object).collect();
            write_json(&serde_json::to_string_pretty(&all)?, out)?;
        }
    }
    Ok(Verdict::Fine)
}

/// Memory and processes. A cgroup that is gone uses nothing.
fn usage(container: &Container) -> (Usage, Usage) {
    let cgroup = container.verified.as_ref().ok().and_then(|verified| verified.record.cgroup());
    let of = |usage: Option<Usage>| usage.unwrap_or_default();
    (
        of(cgroup.as_ref().and_then(|cgroup| cgroup.memory_usage().ok())),
        of(cgroup.as_ref().and_then(|cgroup| cgroup.pids_usage().ok())),
    )
}

/// How often it met its limits up to now.
fn hits(container: &Container) -> Option<LimitHits> {
    container.verified.as_ref().ok()?.record.cgroup()?.limit_hits().ok()
}

fn row(container: &Container) -> [String; HEAD.len()] {
    let grant = container.verified.as_ref().ok().map(|verified| &verified.grant);
    let pod = grant.map(|grant| format!("{}/{}", grant.identity().pod_namespace, grant.identity().pod_name));
    let summary = container.summary();
    let (memory, pids) = usage(container);
    let of = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    [
        container.id.get(..SHORT).unwrap_or(&container.id).to_owned(),
        plain(&of(pod)),
        plain(&of(grant.map(|grant| grant.profile().to_owned()))),
        of(summary.as_ref().map(|one| format!("{}:{}", one.uid, one.gid))),
        of(summary.as_ref().map(|one| one.effective.clone())),
        of(summary.as_ref().map(|one| one.filters.to_string())),
        format!("{}/{}", mebibytes(memory.used), mebibytes(memory.limit)),
        format!("{}/{}", number(pids.used), number(pids.limit)),
        container.verdict().to_owned(),
    ]
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

fn mebibytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".into(), |bytes| format!("{}Mi", bytes >> 20))
}

fn table(rows: Vec<[String; HEAD.len()]>, out: &mut Vec<u8>) -> Result<(), CliError> {
    let head = HEAD.map(str::to_owned);
    let all: Vec<_> = [head].into_iter().chain(rows).collect();
    let width = |column: usize| all.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    for row in &all {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn object(container: &Container) -> Value {
    let (memory, pids) = usage(container);
    let of = |usage: Usage| json!({ "used": usage.used, "limit": usage.limit });
    let mut object = container.json();
    let pid = container.verified.as_ref().ok().map(|verified| verified.record.pid());
    let process = container.summary().map(|one| {
        json!({
            "uid": one.uid,
            "gid": one.gid,
            "effective": one.effective,
            "bounding": one.bounding,
            "no_new_privs": one.no_new_privs,
            "seccomp_filters": one.filters,
        })
    });
    if let Some(fields) = object.as_object_mut() {
        fields.insert("pid".into(), pid.into());
        fields.insert("process".into(), process.into());
        fields.insert("memory_bytes".into(), of(memory));
        fields.insert("pids".into(), of(pids));
        fields.insert("limits_met".into(), json!(hits(container)));
    }
    object
}
