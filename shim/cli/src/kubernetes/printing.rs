//! What would become of pods, as text, JSON and SARIF.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use palisade_policy::{Finding, RULES, Taken};
use serde_json::{Value, json};

use super::judging::{JudgedPart, JudgedPod};
use super::kubelet::NodeRefusal;
use super::place::Place;
use super::{Checked, Skipped};
use crate::error::CliError;
use crate::report::{plain, uri, word, write_json};

/// What stands in place of a rule where it is the node that refuses.
const NODE: &str = "node";

/// A line for each finding that a field of the manifest decides; the others in one line, by their rules.
pub(super) fn text(checked: &[Checked], skipped: &[Skipped], suggest: bool, out: &mut Vec<u8>) -> Result<(), CliError> {
    for one in skipped {
        writeln!(out, "{}", plain(&format!("{}:{}: skipped: {}", one.path.display(), one.line, one.what)))?;
    }
    for one in checked {
        let head =
            format!("{}:{}: {} {}", one.found.path.display(), one.found.line, one.workload.kind, one.workload.name);
        if let Some(elsewhere) = &one.elsewhere {
            let line = format!("{head}: NOT REACHED by palisade: it selects {elsewhere}; --assume judges it even so");
            writeln!(out, "{}", plain(&line))?;
        }
        let Some(pod) = &one.pod else { continue };
        for part in &pod.parts {
            of_part(one, part, out)?;
        }
        for assumption in &pod.assumptions {
            writeln!(out, "{}", plain(&format!("{head}: assumed: {assumption}")))?;
        }
        mends(one, &head, suggest, out)?;
    }
    summary(checked, out)
}

fn of_part(one: &Checked, part: &JudgedPart, out: &mut Vec<u8>) -> Result<(), CliError> {
    let path = one.found.path.display();
    let name = format!("{} {}, {}", one.workload.kind, one.workload.name, described(part));
    // A capability is in three sets, and told once.
    let mut told = BTreeSet::new();
    let mut by_node: BTreeMap<&'static str, Vec<&str>> = BTreeMap::new();
    for (finding, place) in part.findings() {
        let Finding { rule, action, reason, allowed, pointer, .. } = finding;
        let line = match place {
            Some(place) => one.found.line_of(&place.pointer()),
            // What is refused is told in full, whoever decides it.
            None if *action == Taken::Denied => one.found.line,
            None => {
                let rules = by_node.entry(word(*action)).or_default();
                if !rules.contains(&rule.as_str()) {
                    rules.push(rule.as_str());
                }
                continue;
            }
        };
        let place = place.map_or_else(|| format!("(specification) {pointer}"), ToString::to_string);
        let text = format!("{path}:{line}: {name}: {}: {rule}: {place}: {reason}; allowed: {allowed}", word(*action));
        if told.insert(text.clone()) {
            writeln!(out, "{}", plain(&text))?;
        }
    }
    for NodeRefusal { place, reason, .. } in &part.by_node {
        let line = one.found.line_of(&place.pointer());
        writeln!(out, "{}", plain(&format!("{path}:{line}: {name}: denied: {NODE}: {place}: {reason}")))?;
    }
    let verdict = if part.is_refused() { "REFUSED" } else { "admitted" };
    let others: Vec<String> = by_node.iter().map(|(word, rules)| format!("{word} {}", rules.join(", "))).collect();
    let others =
        if others.is_empty() { String::new() } else { format!("; of what no field says: {}", others.join("; ")) };
    let record = &part.record;
    let text = format!(
        "{path}:{}: {name}: {verdict} under profile {} ({}), {} findings{others}",
        one.found.line,
        record.profile,
        record.selected_by,
        record.findings.len()
    );
    Ok(writeln!(out, "{}", plain(&text))?)
}

fn described(part: &JudgedPart) -> String {
    match &part.container {
        Some(container) => format!("container {}", container.name),
        None => "sandbox".to_owned(),
    }
}

fn mends(one: &Checked, head: &str, suggest: bool, out: &mut Vec<u8>) -> Result<(), CliError> {
    let Some(suggestion) = &one.suggestion else { return Ok(()) };
    for edit in &suggestion.edits {
        writeln!(out, "{}", plain(&format!("{head}: mend: {}", edit.words())))?;
    }
    for left in &suggestion.left {
        let place = if left.place.is_empty() { left.finding.pointer.as_str() } else { &left.place };
        let who =
            if left.container.is_empty() { "sandbox".to_owned() } else { format!("container {}", left.container) };
        let Finding { rule, reason, .. } = &left.finding;
        let essential = RULES.iter().any(|known| known.id == *rule && known.essential);
        let end = if essential { "no policy lets it pass" } else { "only the policy could let it pass" };
        let line = format!("{head}, {who}: no mend: {rule}: {place}: {reason}; {end}");
        writeln!(out, "{}", plain(&line))?;
    }
    for (part, NodeRefusal { place, reason, .. }) in by_node(one) {
        let line = format!("{head}, {}: no mend: {NODE}: {place}: {reason}; no policy lets it pass", described(part));
        writeln!(out, "{}", plain(&line))?;
    }
    if suggest && !suggestion.edits.is_empty() {
        writeln!(out, "# {}", command(one))?;
        write_json(&serde_json::to_string(&suggestion.patch)?, out)?;
    }
    Ok(())
}

/// What the node refuses, and of which container.
fn by_node(one: &Checked) -> impl Iterator<Item = (&JudgedPart, &NodeRefusal)> {
    let parts = one.pod.iter().flat_map(|pod| &pod.parts);
    parts.flat_map(|part| part.by_node.iter().map(move |refusal| (part, refusal)))
}

/// How to apply a patch; names that are none of Kubernetes' stay out of what somebody might run.
fn command(one: &Checked) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let is_name = |name: &str| name.bytes().all(plain) && !name.starts_with('-');
    let namespace = one.workload.namespace.as_deref().filter(|name| is_name(name));
    let namespace = namespace.map(|name| format!(" -n {name}")).unwrap_or_default();
    let name = if is_name(&one.workload.name) { one.workload.name.as_str() } else { "NAME" };
    format!("kubectl patch {}{namespace} {name} --type=json", one.workload.kind.to_lowercase())
}

fn summary(checked: &[Checked], out: &mut Vec<u8>) -> Result<(), CliError> {
    let judged: Vec<&JudgedPod> = checked.iter().filter_map(|one| one.pod.as_ref()).collect();
    let refused = judged.iter().filter(|pod| pod.is_refused()).count();
    let elsewhere = checked.len() - judged.len();
    writeln!(out, "{} judged, {refused} refused, {elsewhere} not reached", judged.len())?;
    Ok(())
}

/// An array of objects, one for each object of the manifests.
pub(super) fn json(checked: &[Checked], skipped: &[Skipped], out: &mut Vec<u8>) -> Result<(), CliError> {
    let objects: Vec<Value> = checked.iter().map(object).collect();
    let skipped: Vec<Value> =
        skipped.iter().map(|one| json!({"path": one.path, "line": one.line, "reason": one.what})).collect();
    write_json(&serde_json::to_string_pretty(&json!({"objects": objects, "skipped": skipped}))?, out)
}

fn object(one: &Checked) -> Value {
    let parts = one.pod.iter().flat_map(|pod| &pod.parts);
    let containers: Vec<Value> = parts
        .map(|part| {
            json!({
                "container": part.container.as_ref().map(|container| &container.name),
                "decision": if part.is_refused() { "deny" } else { "admit" },
                "message": message(part),
                "node": part.by_node.iter().map(|refusal| json!({"place": shown(one, &refusal.place), "reason": refusal.reason})).collect::<Vec<_>>(),
                "record": part.record,
                "places": part.places.iter().map(|place| place.as_ref().map(|place| shown(one, place))).collect::<Vec<_>>(),
            })
        })
        .collect();
    let unmended = one.suggestion.iter().flat_map(|suggestion| &suggestion.left).map(|left| {
        json!({"container": left.container, "rule": left.finding.rule, "place": left.place, "reason": left.finding.reason})
    });
    let of_node = by_node(one).map(|(part, refusal)| {
        let container = part.container.as_ref().map(|container| container.name.as_str()).unwrap_or_default();
        json!({"container": container, "rule": NODE, "place": refusal.place.to_string(), "reason": refusal.reason})
    });
    json!({
        "path": one.found.path,
        "line": one.found.line,
        "kind": one.workload.kind,
        "namespace": one.workload.namespace,
        "name": one.workload.name,
        "pod": one.workload.pod_name,
        "not_reached": one.elsewhere,
        "containers": containers,
        "assumptions": one.pod.as_ref().map(|pod| &pod.assumptions),
        "patch": one.suggestion.as_ref().map(|suggestion| &suggestion.patch),
        "without_mend": unmended.chain(of_node).collect::<Vec<_>>(),
    })
}

/// The policy's refusal, or the node's.
fn message(part: &JudgedPart) -> Option<String> {
    let of_node = part.by_node.first().map(|refusal| format!("{}: {}", refusal.place, refusal.reason));
    part.denial.as_ref().map(ToString::to_string).or(of_node)
}

fn shown(one: &Checked, place: &Place) -> Value {
    json!({"field": place.to_string(), "pointer": place.pointer(), "line": one.found.line_of(&place.pointer())})
}

/// SARIF 2.1.0: what a field of a manifest decides, and every refusal, at its line.
pub(super) fn sarif(checked: &[Checked], out: &mut Vec<u8>) -> Result<(), CliError> {
    let described = |id: &str, text: &str| json!({ "id": id, "shortDescription": { "text": text } });
    let rules = RULES.iter().map(|rule| described(rule.id.as_str(), rule.source));
    let rules: Vec<Value> = rules.chain([described(NODE, "What a node can't do, whatever the policy says")]).collect();
    let parts = checked
        .iter()
        .flat_map(|one| one.pod.iter().flat_map(move |pod| pod.parts.iter().map(move |part| (one, part))));
    let results = parts
        .flat_map(|(one, part)| part.findings().map(move |(finding, place)| (one, part, finding, place)))
        .filter(|(.., finding, place)| place.is_some() || finding.action == Taken::Denied)
        .map(|(one, part, finding, place)| of_finding(one, part, finding, place));
    let of_node =
        checked.iter().flat_map(|one| by_node(one).map(move |(part, refusal)| of_refusal(one, part, refusal)));
    let results: Vec<Value> = results.chain(of_node).collect();
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

fn of_finding(one: &Checked, part: &JudgedPart, finding: &Finding, place: Option<&Place>) -> Value {
    let level = match finding.action {
        Taken::Denied => "error",
        Taken::Mutated => "warning",
        Taken::Audited | Taken::Exempted => "note",
    };
    let text = format!("{}; allowed: {}", finding.reason, finding.allowed);
    let line = place.map_or(one.found.line, |place| one.found.line_of(&place.pointer()));
    let name = place.map_or_else(|| finding.pointer.clone(), ToString::to_string);
    result(one, part, &Told { rule: finding.rule.as_str(), level, text, line, name })
}

fn of_refusal(one: &Checked, part: &JudgedPart, refusal: &NodeRefusal) -> Value {
    let line = one.found.line_of(&refusal.place.pointer());
    let (text, name) = (refusal.reason.clone(), refusal.place.to_string());
    result(one, part, &Told { rule: NODE, level: "error", text, line, name })
}

/// What a result of SARIF says.
struct Told<'a> {
    rule: &'a str,
    level: &'a str,
    text: String,
    line: usize,
    /// The field.
    name: String,
}

fn result(one: &Checked, part: &JudgedPart, told: &Told<'_>) -> Value {
    let text = format!("{} {}, {}: {}", one.workload.kind, one.workload.name, described(part), told.text);
    json!({
        "ruleId": told.rule,
        "level": told.level,
        "message": { "text": plain(&text) },
        "locations": [{
            "physicalLocation": { "artifactLocation": { "uri": uri(&one.found.path) }, "region": { "startLine": told.line } },
            "logicalLocations": [{ "fullyQualifiedName": told.name, "kind": "member" }],
        }],
    })
}

/// The specifications that containerd would hand to the shim, by the names of containers; the sandbox's under the empty name.
pub(super) fn specifications(checked: &[Checked], out: &mut Vec<u8>) -> Result<(), CliError> {
    let all: Vec<Value> = checked
        .iter()
        .filter_map(|one| Some((one, one.pod.as_ref()?)))
        .map(|(one, pod)| {
            let of = |part: &JudgedPart| {
                (part.container.as_ref().map(|container| container.name.clone()).unwrap_or_default(), part.made.spec.clone())
            };
            let specs: BTreeMap<String, Value> = pod.parts.iter().map(of).collect();
            json!({"kind": one.workload.kind, "name": one.workload.name, "pod": one.workload.pod_name, "specifications": specs})
        })
        .collect();
    write_json(&serde_json::to_string_pretty(&all)?, out)
}
