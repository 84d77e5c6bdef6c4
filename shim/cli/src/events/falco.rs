//! A record as Falco prints an alert in JSON, which falcosidekick and others take.
//!
//! Source: Falco `userspace/engine/formats.cpp`: hostname, output, output_fields, priority, rule, source, tags, time. The fields are flat,
//! and named as Falco's where it has one.

use serde_json::{Map, Value, json};

use super::text::{detail, whose};
use crate::report::{at, plain};

pub(super) fn alert(record: &Value) -> Value {
    let (rule, priority) = kind(record);
    let time = at(record, "/time");
    let hostname = at(record, "/node");
    let text = format!("{} {} ({})", whose(record), detail(record), plain(rule));
    json!({
        "hostname": hostname,
        "output": format!("{}: {priority} {}", time.as_str().unwrap_or_default(), text.trim()),
        "output_fields": fields(record),
        "priority": priority,
        "rule": rule,
        "source": "palisade",
        "tags": ["container", "palisade"],
        "time": time,
    })
}

/// Rule and priority.
fn kind(record: &Value) -> (&'static str, &'static str) {
    let decision = at(record, "/decision").as_str().unwrap_or_default();
    match (at(record, "/event").as_str().unwrap_or_default(), decision) {
        ("decision", "deny") => ("Request refused by palisade", "Warning"),
        ("decision", "allow") => ("Request allowed by palisade", "Informational"),
        ("decision", "audit") => ("Request would be changed by palisade", "Notice"),
        ("decision", _) => ("Request changed by palisade", "Informational"),
        ("attestation", _) if at(record, "/mismatches").as_array().is_some_and(Vec::is_empty) => {
            ("Process is what palisade decided", "Informational")
        }
        ("attestation", _) => ("Process is not what palisade decided", "Critical"),
        ("seccomp", _) => ("System call refused by palisade", "Warning"),
        ("limits", _) => ("Container met its limits", "Notice"),
        ("oom", _) => ("Process killed for want of memory", "Warning"),
        ("policy_load", _) if at(record, "/error").is_string() => ("Policy of palisade can't be read", "Error"),
        ("policy_load", _) => ("Policy of palisade loaded", "Notice"),
        _ => ("Event of palisade", "Notice"),
    }
}

/// Only what is there.
fn fields(record: &Value) -> Value {
    let mut fields = Map::new();
    for (name, pointer) in [
        ("container.id", "/container"),
        ("container.name", "/identity/container_name"),
        ("container.image", "/identity/image_name"),
        ("k8s.ns.name", "/identity/pod_namespace"),
        ("k8s.pod.name", "/identity/pod_name"),
        ("k8s.pod.uid", "/identity/pod_uid"),
        ("palisade.event", "/event"),
        ("palisade.decision", "/decision"),
        ("palisade.operation", "/record/operation"),
        ("palisade.policy_sha256", "/policy_sha256"),
        ("palisade.exec", "/exec"),
        ("proc.name", "/refusals/0/command"),
        ("proc.pid", "/refusals/0/pid"),
        ("evt.type", "/refusals/0/syscall"),
        ("palisade.oom_kills", "/kills"),
    ] {
        let value = at(record, pointer);
        if !value.is_null() && *value != "" {
            fields.insert(name.to_owned(), value.clone());
        }
    }
    for pointer in ["/record/profile", "/profile"] {
        if at(record, pointer).is_string() {
            fields.insert("palisade.profile".to_owned(), at(record, pointer).clone());
        }
    }
    let findings = at(record, "/record/findings").as_array().into_iter().flatten();
    let denied: Vec<&str> = findings
        .filter(|finding| *at(finding, "/action") == "denied")
        .filter_map(|finding| at(finding, "/rule").as_str())
        .collect();
    if !denied.is_empty() {
        fields.insert("palisade.rules".to_owned(), denied.join(",").into());
    }
    Value::Object(fields)
}
