//! From lines of the audit log to counters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use palisade::cgroup::{LimitHits, Pressure};
use palisade_policy::RuleId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::families::{
    ATTESTATION_FAILURES, ATTESTED, DECISION_SECONDS, DECISIONS, EXECS, EXEMPTIONS, FINDINGS, NO_RECORDS, OOM_KILLS,
    POLICY_LOAD_ERRORS, POLICY_LOADS, RECORDS, REFUSED_CALLS,
};
use super::live::Seen;
use super::series::Series;
use crate::report::at;

/// Containers whose refused calls are remembered: a record has the count since the container's start.
const MOST: usize = 4096;

/// Refused calls of a container that were counted already.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Counted {
    /// Time of its last record, by which the oldest one is forgotten.
    time: String,
    calls: BTreeMap<String, u64>,
    /// It was not there at the last look. Its last record may still come.
    #[serde(default)]
    gone: bool,
}

/// What was counted of the log so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    /// What goes up and down is measured anew.
    #[serde(serialize_with = "Series::only_what_grows")]
    pub(super) series: Series,
    #[serde(default)]
    refused: BTreeMap<String, Counted>,
}

impl Tally {
    /// Counts one line. Of a container's cgroup that was `seen` before its end only the rest is added.
    pub(super) fn take(&mut self, line: &str, seen: &mut Seen) {
        let record = serde_json::from_str::<Value>(line).unwrap_or_default();
        let Some(event) = at(&record, "/event").as_str() else {
            return self.series.add(NO_RECORDS, &[], 1.0);
        };
        self.series.add(RECORDS, &[event], 1.0);
        match event {
            "decision" => self.decision(&record),
            "attestation" => self.attestation(&record, seen),
            "seccomp" => self.refused(&record),
            "oom" => self.series.add(OOM_KILLS, &[text(&record, "/profile")], number(&record, "/kills")),
            "limits" => self.limits(&record, seen),
            "policy_load" if at(&record, "/error").is_string() => self.series.add(POLICY_LOAD_ERRORS, &[], 1.0),
            "policy_load" => self.series.add(POLICY_LOADS, &[], 1.0),
            _ => {}
        }
    }

    /// Forgets the refused calls of containers that were not there twice: their last record has been read.
    pub(super) fn forget(&mut self, present: &BTreeSet<String>) {
        self.refused.retain(|id, of| {
            let was_gone = std::mem::replace(&mut of.gone, !present.contains(id));
            !(was_gone && of.gone)
        });
    }

    fn decision(&mut self, record: &Value) {
        let of = |key: &'static str| text(record, key);
        let (operation, profile) = (of("/record/operation"), of("/record/profile"));
        self.series.add(DECISIONS, &[operation, of("/decision"), of("/record/mode"), profile], 1.0);
        self.series.observe(DECISION_SECONDS, &[operation], number(record, "/duration_us") / 1e6);
        if operation == "exec" {
            let terminal = at(record, "/process/terminal").as_bool().unwrap_or_default();
            self.series.add(EXECS, &[if terminal { "true" } else { "false" }], 1.0);
        }
        for finding in list(record, "/record/findings") {
            // Of another version, or of a log that somebody has written to.
            let rule = RuleId::named(text(finding, "/rule")).map_or("other", |rule| rule.id.as_str());
            self.series.add(FINDINGS, &[rule, text(finding, "/action"), profile], 1.0);
        }
        for exemption in list(record, "/record/exemptions") {
            self.series.add(EXEMPTIONS, &[text(exemption, "/rule"), text(exemption, "/entry")], 1.0);
        }
    }

    fn attestation(&mut self, record: &Value, seen: &mut Seen) {
        let mismatches = list(record, "/mismatches");
        if mismatches.is_empty() {
            self.series.add(ATTESTED, &[text(record, "/stage")], 1.0);
            // To the microsecond, where the files have it by the kernel's tick.
            if let Some(micros) = at(record, "/since_decision_us").as_u64() {
                seen.made(&id_of(record), text(record, "/profile"), Duration::from_micros(micros), &mut self.series);
            }
        }
        for mismatch in mismatches {
            self.series.add(ATTESTATION_FAILURES, &[text(mismatch, "/check")], 1.0);
        }
    }

    fn limits(&mut self, record: &Value, seen: &mut Seen) {
        let count = |key| at(record, key).as_u64().unwrap_or_default();
        let hits = LimitHits {
            pids_refused: count("/pids_refused"),
            cpu_throttled_periods: count("/cpu_throttled_periods"),
            cpu_throttled_us: count("/cpu_throttled_us"),
            memory_high: count("/memory_high"),
            memory_max: count("/memory_max"),
            // Of which other records have told.
            oom_kills: 0,
        };
        let id = id_of(record);
        seen.count(&id, text(record, "/profile"), &hits, &Pressure::default(), &mut self.series);
    }

    fn refused(&mut self, record: &Value) {
        let id = id_of(record);
        if self.refused.len() >= MOST && !self.refused.contains_key(&id) {
            let oldest = self.refused.iter().min_by(|(_, a), (_, b)| a.time.cmp(&b.time)).map(|(id, _)| id.clone());
            oldest.and_then(|oldest| self.refused.remove(&oldest));
        }
        let counted = self.refused.entry(id).or_default();
        text(record, "/time").clone_into(&mut counted.time);
        let mut since = |key: String, count: u64| {
            let before = counted.calls.insert(key, count).unwrap_or_default();
            // A container of the same name begins anew.
            if count < before { count } else { count - before }
        };
        for refusal in list(record, "/refusals") {
            let key = ["/number", "/architecture", "/arguments", "/errno"].map(|key| at(refusal, key).to_string());
            let more = since(key.join(" "), at(refusal, "/count").as_u64().unwrap_or_default());
            let name = at(refusal, "/syscall").as_str().unwrap_or("other");
            self.series.add(REFUSED_CALLS, &[name], as_float(more));
        }
        if let Some(count) = at(record, "/more").as_u64() {
            let more = since("more".to_owned(), count);
            self.series.add(REFUSED_CALLS, &["other"], as_float(more));
        }
    }
}

/// As containers are told apart.
fn id_of(record: &Value) -> String {
    format!("{}/{}", text(record, "/namespace"), text(record, "/container"))
}

fn text<'a>(record: &'a Value, pointer: &str) -> &'a str {
    at(record, pointer).as_str().unwrap_or_default()
}

fn number(record: &Value, pointer: &str) -> f64 {
    at(record, pointer).as_f64().unwrap_or_default()
}

fn list<'a>(record: &'a Value, pointer: &str) -> &'a [Value] {
    at(record, pointer).as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Prometheus' values are of this type, which counts exactly up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "a counter that large is not reached")]
pub(super) fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::families::{CREATE_SECONDS, MEMORY_MAX, PIDS_REFUSED, THROTTLED_SECONDS};
    use super::*;

    fn value(tally: &Tally, family: &str, labels: &[&str]) -> Option<f64> {
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        tally.series.0.get(family)?.values.get(&labels).copied()
    }

    #[test]
    fn decisions_findings_and_exemptions_are_counted() {
        let mut tally = Tally::default();
        let line = json!({
            "event": "decision", "decision": "mutate", "duration_us": 700, "process": {"args": [], "terminal": true},
            "record": {"operation": "exec", "profile": "restricted", "mode": "enforce",
                "findings": [
                    {"rule": "user.non-root", "action": "mutated"}, {"rule": "user.non-root", "action": "mutated"},
                    {"rule": "no.such", "action": "denied"}
                ],
                "exemptions": [{"rule": "linux.sysctl", "entry": "exempt[0]"}]},
        });
        (0..2).for_each(|_| tally.take(&line.to_string(), &mut Seen::default()));
        assert_eq!(value(&tally, DECISIONS, &["exec", "mutate", "enforce", "restricted"]), Some(2.0));
        assert_eq!(value(&tally, FINDINGS, &["user.non-root", "mutated", "restricted"]), Some(4.0));
        assert_eq!(value(&tally, FINDINGS, &["other", "denied", "restricted"]), Some(2.0));
        assert_eq!(value(&tally, EXEMPTIONS, &["linux.sysctl", "exempt[0]"]), Some(2.0));
        assert_eq!(value(&tally, EXECS, &["true"]), Some(2.0));
        assert_eq!(value(&tally, RECORDS, &["decision"]), Some(2.0));
        tally.take("half a li", &mut Seen::default());
        assert_eq!(value(&tally, NO_RECORDS, &[]), Some(1.0));
    }

    #[test]
    fn the_time_of_a_create_is_counted_once() {
        let mut tally = Tally::default();
        for since in [json!(42_000), json!(null)] {
            let record = json!({"event": "attestation", "stage": "created", "mismatches": [], "profile": "p", "since_decision_us": since});
            tally.take(&record.to_string(), &mut Seen::default());
        }
        assert_eq!(value(&tally, ATTESTED, &["created"]), Some(2.0));
        let made = &tally.series.0[CREATE_SECONDS].histograms[&vec!["p".to_owned()]];
        assert_eq!((made.counts.iter().sum::<u64>(), made.sum), (1, 0.042));
    }

    #[test]
    fn counts_since_a_containers_start_are_counted_once() {
        let mut tally = Tally::default();
        let mut refused = |container: &str, count: u64, more: u64| {
            let record = json!({
                "event": "seccomp", "namespace": "n", "container": container, "time": "t", "more": more,
                "refusals": [{"syscall": "socket", "number": 41, "errno": 1, "count": count}],
            });
            tally.take(&record.to_string(), &mut Seen::default());
        };
        refused("a", 1, 0);
        refused("a", 5, 2);
        refused("b", 1, 0);
        refused("a", 5, 7);
        refused("a", 3, 7);
        assert_eq!(value(&tally, REFUSED_CALLS, &["socket"]), Some(9.0));
        assert_eq!(value(&tally, REFUSED_CALLS, &["other"]), Some(7.0));
    }

    #[test]
    fn of_what_a_container_met_only_what_was_not_seen_yet_is_added_at_its_end() {
        let (mut tally, mut seen) = (Tally::default(), Seen::default());
        let alive = LimitHits { pids_refused: 3, cpu_throttled_us: 2_000_000, ..LimitHits::default() };
        seen.count("n/c", "p", &alive, &Pressure::default(), &mut tally.series);
        let record = json!({
            "event": "limits", "namespace": "n", "container": "c", "profile": "p", "pids_refused": 5,
            "cpu_throttled_us": 2_500_000, "memory_max": 4,
        });
        tally.take(&record.to_string(), &mut seen);
        // It may still be there.
        let ended = LimitHits { pids_refused: 5, cpu_throttled_us: 2_500_000, memory_max: 4, ..alive };
        seen.count("n/c", "p", &ended, &Pressure::default(), &mut tally.series);
        assert_eq!(value(&tally, PIDS_REFUSED, &["p"]), Some(5.0));
        assert_eq!(value(&tally, THROTTLED_SECONDS, &["p"]), Some(2.5));
        assert_eq!(value(&tally, MEMORY_MAX, &["p"]), Some(4.0));
    }

    #[test]
    fn one_that_is_gone_is_forgotten_once_its_last_record_was_read() {
        let mut tally = Tally::default();
        let refusals = json!([{"syscall": "a", "number": 1, "count": 7}]);
        let record = json!({"event": "seccomp", "namespace": "n", "container": "c", "time": "t", "refusals": refusals});
        tally.take(&record.to_string(), &mut Seen::default());
        let (here, gone) = (BTreeSet::from(["n/c".to_owned()]), BTreeSet::new());
        for (present, left) in [(&here, 1), (&gone, 1), (&here, 1), (&gone, 1), (&gone, 0)] {
            tally.forget(present);
            assert_eq!(tally.refused.len(), left);
        }
        assert_eq!(value(&tally, REFUSED_CALLS, &["a"]), Some(7.0));
    }

    #[test]
    fn containers_that_are_remembered_have_a_bound() {
        let mut tally = Tally::default();
        for number in 0..MOST + 10 {
            let time = format!("{number:06}");
            let refusals = json!([{"syscall": "a", "number": 1, "count": 1}]);
            let record =
                json!({"event": "seccomp", "container": number.to_string(), "time": time, "refusals": refusals});
            tally.take(&record.to_string(), &mut Seen::default());
        }
        assert_eq!(tally.refused.len(), MOST);
        assert!(!tally.refused.contains_key("/0"), "the oldest one is forgotten");
    }
}
