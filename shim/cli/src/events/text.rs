//! A record in one line, for people.

use serde_json::Value;

use crate::report::{at, plain, text_at};

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const DIM: &str = "\x1b[2m";
const NONE: &str = "\x1b[0m";

/// Rules that a line names at most.
const MOST: usize = 6;
/// Of an id.
const SHORT: usize = 12;

/// Time, what it is, whose, profile, and what there is to tell of it.
pub(super) fn line(record: &Value, colour: bool) -> String {
    let (word, paint) = word(record);
    let time = text_at(record, "/time");
    // To the millisecond; the date is the same for most lines, and still wanted for the others.
    let time = time.get(..23).unwrap_or(&time).replace('T', " ");
    let (dim, paint, none) = if colour { (DIM, paint, NONE) } else { ("", "", "") };
    let profile = profile(record);
    format!("{dim}{time}{none}  {paint}{word:<9}{none}  {:<32}  {profile:<12}  {}", whose(record), detail(record))
        .trim_end()
        .to_owned()
}

/// Its first column, and the colour of that.
fn word(record: &Value) -> (String, &'static str) {
    let event = text_at(record, "/event");
    match event.as_str() {
        "decision" => {
            let decision = text_at(record, "/decision");
            let paint = match decision.as_str() {
                "deny" => RED,
                "allow" => GREEN,
                _ => YELLOW,
            };
            (decision, paint)
        }
        "attestation" if at(record, "/mismatches").as_array().is_some_and(Vec::is_empty) => ("attested".into(), GREEN),
        "attestation" => ("MISMATCH".into(), RED),
        "seccomp" => ("refused".into(), YELLOW),
        "limits" => ("limits".into(), YELLOW),
        "policy_load" if at(record, "/error").is_string() => ("NO POLICY".into(), RED),
        "policy_load" => ("policy".into(), GREEN),
        _ => (event, RED),
    }
}

fn profile(record: &Value) -> String {
    let of_record = text_at(record, "/record/profile");
    if of_record.is_empty() { text_at(record, "/profile") } else { of_record }
}

/// Pod and container by their names, or the beginning of the id.
pub(crate) fn whose(record: &Value) -> String {
    let text = |key: &str| text_at(record, &format!("/identity/{key}"));
    let names = [text("pod_namespace"), text("pod_name"), text("container_name")];
    let id = text_at(record, "/container");
    let names: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
    if names.is_empty() { id.get(..SHORT).unwrap_or(&id).to_owned() } else { names.join("/") }
}

/// What there is to tell.
pub(crate) fn detail(record: &Value) -> String {
    match at(record, "/event").as_str().unwrap_or_default() {
        "decision" => decision(record),
        "attestation" => attestation(record),
        "seccomp" => seccomp(record),
        "oom" => format!("{} killed for want of memory", at(record, "/kills")),
        "limits" => limits(record),
        "policy_load" if at(record, "/error").is_string() => text_at(record, "/error"),
        "policy_load" => format!("sha256 {}", text_at(record, "/policy_sha256")),
        _ => String::new(),
    }
}

/// Each count that there is, as a reader of it would say.
fn limits(record: &Value) -> String {
    let counts = [
        ("/pids_refused", "tasks refused"),
        ("/cpu_throttled_periods", "CPU periods used up"),
        ("/memory_high", "times slowed down for memory"),
        ("/memory_max", "times at the memory limit"),
        ("/oom_kills", "killed for want of memory"),
    ];
    let told = counts.iter().filter_map(|(place, what)| Some(format!("{} {what}", at(record, place).as_u64()?)));
    let so_far = if *at(record, "/running") == true { " so far" } else { "" };
    format!("{}{so_far}", told.collect::<Vec<_>>().join(", "))
}

fn decision(record: &Value) -> String {
    let operation = text_at(record, "/record/operation");
    let findings = at(record, "/record/findings").as_array().map(Vec::as_slice).unwrap_or_default();
    let denied = findings.iter().find(|finding| *at(finding, "/action") == "denied");
    let what = match denied {
        Some(finding) => {
            let text = |pointer| text_at(finding, pointer);
            format!("{} at {}: {}; allowed: {}", text("/rule"), text("/pointer"), text("/reason"), text("/allowed"))
        }
        None => rules(findings),
    };
    let arguments = at(record, "/process/args").as_array().into_iter().flatten();
    let arguments: Vec<String> = arguments.filter_map(Value::as_str).map(plain).collect();
    let ran = if arguments.is_empty() { String::new() } else { format!(" [{}]", arguments.join(" ")) };
    format!("{operation}{ran} {what}").trim_end().to_owned()
}

/// The rules that found something, each once.
fn rules(findings: &[Value]) -> String {
    let mut names: Vec<String> = Vec::new();
    for finding in findings.iter().filter(|finding| *at(finding, "/action") != "audited") {
        let name = text_at(finding, "/rule");
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

fn attestation(record: &Value) -> String {
    let stage = text_at(record, "/stage");
    let mismatches = at(record, "/mismatches").as_array().into_iter().flatten();
    let told = mismatches.map(|one| {
        let text = |pointer| text_at(one, pointer);
        format!("{}: {} decided, {} seen", text("/check"), text("/decided"), text("/seen"))
    });
    [stage].into_iter().chain(told).collect::<Vec<_>>().join("; ")
}

fn seccomp(record: &Value) -> String {
    let refusals = at(record, "/refusals").as_array().into_iter().flatten();
    let told: Vec<String> = refusals.map(call).collect();
    let more = at(record, "/more").as_u64().map_or_else(String::new, |more| format!("; and {more} others"));
    format!("{}{more}", told.join(", "))
}

fn call(refusal: &Value) -> String {
    let name = match at(refusal, "/syscall").as_str() {
        Some(name) => plain(name),
        None => format!("call {}", at(refusal, "/number")),
    };
    let arguments = at(refusal, "/arguments").as_object().into_iter().flatten();
    let arguments: Vec<String> =
        arguments.map(|(index, value)| format!("a{index}={}", value.as_str().unwrap_or_default())).collect();
    let (count, command) = (at(refusal, "/count"), text_at(refusal, "/command"));
    format!("{name}({}) {count}x by {command}", plain(&arguments.join(" ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_that_were_met_are_counted_in_words() {
        let record = json!({"event": "limits", "pids_refused": 4, "cpu_throttled_periods": 2, "cpu_throttled_us": 9, "oom_kills": 1});
        assert_eq!(detail(&record), "4 tasks refused, 2 CPU periods used up, 1 killed for want of memory");
        assert_eq!(
            detail(&json!({"event": "limits", "memory_max": 3, "running": true})),
            "3 times at the memory limit so far"
        );
    }
}
