//! What an audit log says, counted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use palisade_policy::ExemptionUse;
use serde_json::Value;

use crate::events::{detail, whose};
use crate::report::{at, plain, text_at};

/// Lines of a table of single events, the last ones.
const MOST: usize = 50;
/// Different names that are counted apart; a log has a few dozen.
const NAMES: usize = 1000;

/// How often, by name.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<String, u64>);

impl Counts {
    fn add(&mut self, name: String, more: u64) {
        if self.0.len() < NAMES || self.0.contains_key(&name) {
            *self.0.entry(name).or_default() += more;
        }
    }

    /// The largest ones first.
    pub(super) fn largest(&self, most: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> = self.0.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        all.sort_by(|(a, x), (b, y)| y.cmp(x).then(a.cmp(b)));
        all.truncate(most);
        all
    }

    pub(super) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(super) fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}

/// One line of a table.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) time: String,
    pub(super) whose: String,
    pub(super) what: String,
}

/// An exemption of the policy, or one that decisions made use of.
#[derive(Debug)]
pub(super) struct Exemption {
    pub(super) reason: String,
    pub(super) expires: String,
    pub(super) uses: u64,
}

/// Decisions within an hour.
#[derive(Debug, Default)]
pub(super) struct Hour {
    pub(super) allowed: u64,
    pub(super) changed: u64,
    pub(super) refused: u64,
}

#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) lines: u64,
    pub(super) nodes: BTreeSet<String>,
    /// Times of the first and the last line.
    pub(super) range: Option<(String, String)>,
    pub(super) decisions: Counts,
    /// By the hour, `2026-11-24T10`.
    pub(super) hours: BTreeMap<String, Hour>,
    pub(super) profiles: Counts,
    pub(super) refused_by: Counts,
    pub(super) changed_by: Counts,
    pub(super) calls: Counts,
    pub(super) oom_kills: u64,
    pub(super) mismatched: u64,
    pub(super) problems: VecDeque<Told>,
    /// By entry and rule.
    pub(super) exemptions: BTreeMap<(String, String), Exemption>,
    /// By digest: when it was read first, and the last time that it was told of.
    pub(super) policies: BTreeMap<String, (String, String)>,
    /// Refused calls that were counted already, by container and call.
    counted: BTreeMap<String, u64>,
}

impl Summary {
    /// An exemption of the policy, whether or not it was made use of.
    pub(super) fn know(&mut self, exemption: &ExemptionUse) {
        let key = (plain(&exemption.entry), exemption.rule.as_str().to_owned());
        let fresh = || Exemption { reason: String::new(), expires: String::new(), uses: 0 };
        let known = self.exemptions.entry(key).or_insert_with(fresh);
        (known.reason, known.expires) = (plain(&exemption.reason), exemption.expires.clone());
    }

    pub(super) fn take(&mut self, line: &str) {
        let record = serde_json::from_str::<Value>(line).unwrap_or_default();
        let Some(event) = at(&record, "/event").as_str() else { return };
        self.lines += 1;
        let time = text_at(&record, "/time");
        let first = self.range.take().map_or_else(|| time.clone(), |(first, _)| first);
        self.range = Some((first, time.clone()));
        self.note_policy(&record, &time);
        if self.nodes.len() < NAMES {
            self.nodes.insert(text_at(&record, "/node"));
        }
        match event {
            "decision" => self.decision(&record, &time),
            "attestation" if at(&record, "/mismatches").as_array().is_some_and(Vec::is_empty) => {}
            "attestation" => {
                self.mismatched += 1;
                self.problem(&record, &time);
            }
            "seccomp" => self.refused(&record),
            "oom" => {
                self.oom_kills += at(&record, "/kills").as_u64().unwrap_or_default();
                self.problem(&record, &time);
            }
            "policy_load" if at(&record, "/error").is_string() => self.problem(&record, &time),
            _ => {}
        }
    }

    fn note_policy(&mut self, record: &Value, time: &str) {
        let sha256 = text_at(record, "/policy_sha256");
        if self.policies.len() < NAMES || self.policies.contains_key(&sha256) {
            let seen = self.policies.entry(sha256).or_insert_with(|| (time.to_owned(), String::new()));
            time.clone_into(&mut seen.1);
        }
    }

    fn problem(&mut self, record: &Value, time: &str) {
        if self.problems.len() >= MOST {
            self.problems.pop_front();
        }
        self.problems.push_back(Told { time: time.to_owned(), whose: whose(record), what: detail(record) });
    }

    fn decision(&mut self, record: &Value, time: &str) {
        let decision = text_at(record, "/decision");
        if let Some(hour) = time.get(..13) {
            let hour = self.hours.entry(hour.to_owned()).or_default();
            match decision.as_str() {
                "deny" => hour.refused += 1,
                "allow" => hour.allowed += 1,
                _ => hour.changed += 1,
            }
        }
        if decision == "deny" {
            self.problem(record, time);
        }
        self.decisions.add(decision, 1);
        self.profiles.add(text_at(record, "/record/profile"), 1);
        for finding in list(record, "/record/findings") {
            let counts = match at(finding, "/action").as_str() {
                Some("denied") => &mut self.refused_by,
                Some("mutated") => &mut self.changed_by,
                _ => continue,
            };
            counts.add(text_at(finding, "/rule"), 1);
        }
        for used in list(record, "/record/exemptions") {
            let text = |pointer| text_at(used, pointer);
            let key = (text("/entry"), text("/rule"));
            if self.exemptions.len() < NAMES || self.exemptions.contains_key(&key) {
                let fresh = || Exemption { reason: String::new(), expires: String::new(), uses: 0 };
                let exemption = self.exemptions.entry(key).or_insert_with(fresh);
                (exemption.reason, exemption.expires) = (text("/reason"), text("/expires"));
                exemption.uses += 1;
            }
        }
    }

    fn refused(&mut self, record: &Value) {
        for refusal in list(record, "/refusals") {
            let call = ["/number", "/architecture", "/arguments", "/errno"].map(|key| at(refusal, key).to_string());
            let key = format!("{} {}", text_at(record, "/container"), call.join(" "));
            let count = at(refusal, "/count").as_u64().unwrap_or_default();
            let before = self.counted.insert(key, count).unwrap_or_default();
            let name = text_at(refusal, "/syscall");
            let name = if name.is_empty() { format!("call {}", at(refusal, "/number")) } else { name };
            // A container of the same name begins anew.
            self.calls.add(name, if count < before { count } else { count - before });
        }
    }
}

fn list<'a>(record: &'a Value, pointer: &str) -> &'a [Value] {
    at(record, pointer).as_array().map(Vec::as_slice).unwrap_or_default()
}
