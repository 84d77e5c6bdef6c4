//! What a container was refused.

use std::collections::BTreeMap;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use palisade_seccomp::{Answer, Call, architecture_of, syscall_name};
use serde::Serialize;

/// Different refusals of one container that are told apart by their arguments. A workload has a handful; one that tries more is to fill
/// neither memory nor the audit log, where older lines would have to go.
const MOST: usize = 64;

/// System calls that are told apart beyond that, without arguments: whoever has filled the table with one call is not to hide the others.
const MOST_CALLS: usize = 400;

/// Of those, how many are told of when they come. The others wait for the next summary, but for the first of a call that was not refused
/// before: whoever has made sixteen of one call is not to keep the others to himself for an hour.
const AT_ONCE: usize = 16;

/// How many calls are told of so.
const CALLS_AT_ONCE: usize = 64;

/// What makes two refusals different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Refusal {
    architecture: u32,
    number: u32,
    errno: u16,
    /// Those that the filter looked at.
    arguments: [Option<u64>; 6],
}

/// How often, and by whom first.
#[derive(Debug, Clone)]
struct Tale {
    count: u64,
    first: SystemTime,
    last: SystemTime,
    pid: u32,
    command: String,
    /// The count when it was last told of.
    told: u64,
}

/// All refusals of a container.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    tales: BTreeMap<Refusal, Tale>,
    /// Refusals beyond [`MOST`] and [`MOST_CALLS`] different ones.
    more: u64,
    more_told: u64,
    /// Of [`CALLS_AT_ONCE`].
    calls_told: usize,
}

/// One line's worth.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    /// Absent for a call that is newer than this program's table.
    #[serde(skip_serializing_if = "Option::is_none")]
    syscall: Option<&'static str>,
    number: u32,
    architecture: String,
    /// By their index, in hexadecimal, those that decided.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    arguments: BTreeMap<usize, String>,
    errno: u16,
    count: u64,
    first: String,
    last: String,
    /// Of who was refused it first, on the host.
    pid: u32,
    /// Its name, which it chose itself.
    command: String,
}

/// What has come since the last time.
#[derive(Debug, Serialize)]
pub(super) struct News {
    pub(super) refusals: Vec<Told>,
    /// Refusals that are not told apart any more.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) more: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Refusal {
    pub(super) fn new(call: &Call, answer: &Answer, errno: u16) -> Self {
        let mut looked_at = answer.looked_at.iter();
        let arguments =
            call.arguments.map(|argument| looked_at.next().is_some_and(|looked| *looked).then_some(argument));
        Self { architecture: call.architecture, number: call.number, errno, arguments }
    }
}

impl Refusals {
    /// As what it is counted: by its arguments, else by its call, else not apart from others.
    fn told_apart(&self, refusal: Refusal) -> Option<Refusal> {
        if self.tales.len() < MOST || self.tales.contains_key(&refusal) {
            return Some(refusal);
        }
        let call = Refusal { arguments: [None; 6], ..refusal };
        let has_room = self.tales.len() < MOST + MOST_CALLS && syscall_name(call.architecture, call.number).is_some();
        (has_room || self.tales.contains_key(&call)).then_some(call)
    }

    /// Whether one of a new kind does not wait for the summary.
    fn is_told_at_once(&mut self, refusal: &Refusal) -> bool {
        if self.tales.len() < AT_ONCE {
            return true;
        }
        let is_of_call = |other: &Refusal| (other.architecture, other.number) == (refusal.architecture, refusal.number);
        let at_once = self.calls_told < CALLS_AT_ONCE && !self.tales.keys().any(is_of_call);
        self.calls_told += usize::from(at_once);
        at_once
    }

    /// Counts a refusal; what to tell of it if it is the first of its kind and does not wait. `who` is asked of a kind that was not seen before.
    pub(super) fn count(
        &mut self,
        refusal: Refusal,
        now: SystemTime,
        who: impl FnOnce() -> (u32, String),
    ) -> Option<Told> {
        let Some(refusal) = self.told_apart(refusal) else {
            self.more = self.more.saturating_add(1);
            return None;
        };
        if let Some(tale) = self.tales.get_mut(&refusal) {
            tale.count = tale.count.saturating_add(1);
            tale.last = now;
            return None;
        }
        let (pid, command) = who();
        let at_once = self.is_told_at_once(&refusal);
        let tale = Tale { count: 1, first: now, last: now, pid, command, told: u64::from(at_once) };
        let told = at_once.then(|| told(&refusal, &tale));
        self.tales.insert(refusal, tale);
        told
    }

    /// What has come since the last call of this; `None` if nothing has.
    pub(super) fn news(&mut self) -> Option<News> {
        let fresh = self.tales.iter_mut().filter(|(_, tale)| tale.count > tale.told);
        let refusals: Vec<Told> = fresh
            .map(|(refusal, tale)| {
                tale.told = tale.count;
                told(refusal, tale)
            })
            .collect();
        if refusals.is_empty() && self.more == self.more_told {
            return None;
        }
        self.more_told = self.more;
        Some(News { refusals, more: self.more })
    }
}

fn told(refusal: &Refusal, tale: &Tale) -> Told {
    let arguments = refusal.arguments.iter().enumerate();
    Told {
        syscall: syscall_name(refusal.architecture, refusal.number),
        number: refusal.number,
        architecture: architecture_of(refusal.architecture, refusal.number)
            .map_or_else(|| format!("{:#x}", refusal.architecture), |architecture| architecture.name().to_owned()),
        arguments: arguments.filter_map(|(index, value)| Some((index, format!("{:#x}", (*value)?)))).collect(),
        errno: refusal.errno,
        count: tale.count,
        first: time(tale.first),
        last: time(tale.last),
        pid: tale.pid,
        command: tale.command.clone(),
    }
}

fn time(when: SystemTime) -> String {
    DateTime::<Utc>::from(when).to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use palisade_seccomp::Verdict;

    use super::*;

    fn refused(name: &str, arguments: [u64; 6], looked_at: [bool; 6]) -> Refusal {
        let call = Call::native(name, arguments).unwrap();
        Refusal::new(&call, &Answer { verdict: Verdict::Errno(1), looked_at }, 1)
    }

    fn who() -> (u32, String) {
        (7, "sh".to_owned())
    }

    const FIRST: [bool; 6] = [true, false, false, false, false, false];

    #[test]
    fn calls_that_differ_in_what_did_not_decide_are_one() {
        let mut refusals = Refusals::default();
        let now = SystemTime::UNIX_EPOCH;
        let told = refusals.count(refused("socket", [38, 1, 2, 3, 4, 5], FIRST), now, who).unwrap();
        let json = serde_json::to_value(&told).unwrap();
        assert_eq!(
            (json["syscall"].as_str(), json["arguments"]["0"].as_str(), json["pid"].as_u64()),
            (Some("socket"), Some("0x26"), Some(7))
        );
        assert!(json["arguments"].get("1").is_none());
        assert!(refusals.count(refused("socket", [38, 9, 9, 9, 9, 9], FIRST), now, who).is_none());
        assert!(refusals.count(refused("socket", [40, 1, 2, 3, 4, 5], FIRST), now, who).is_some());
        let news = refusals.news().unwrap();
        assert_eq!(
            (news.refusals.len(), news.refusals[0].count, news.more),
            (1, 2, 0),
            "the other was told of when it came"
        );
        assert!(refusals.news().is_none());
    }

    #[test]
    fn a_flood_of_different_ones_does_not_grow_the_table() {
        let mut refusals = Refusals::default();
        let all = 10 * MOST as u64;
        let told = (0..all).filter_map(|family| {
            refusals.count(refused("socket", [family, 0, 0, 0, 0, 0], FIRST), SystemTime::UNIX_EPOCH, who)
        });
        assert_eq!(told.count(), AT_ONCE);
        assert_eq!(refusals.tales.len(), MOST + 1, "and those of the call without arguments");
        let news = refusals.news().unwrap();
        assert_eq!((news.refusals.len(), news.more), (MOST - AT_ONCE + 1, 0));
        let without = news.refusals.iter().find(|told| told.arguments.is_empty()).unwrap();
        assert_eq!((without.syscall, without.count), (Some("socket"), all - MOST as u64));
        assert!(refusals.news().is_none());
        assert!(refusals.count(refused("socket", [0, 0, 0, 0, 0, 0], FIRST), SystemTime::UNIX_EPOCH, who).is_none());
        assert_eq!(refusals.news().unwrap().refusals.len(), 1);
    }

    #[test]
    fn whoever_fills_the_table_with_one_call_hides_no_other() {
        let mut refusals = Refusals::default();
        for family in 0..10 * MOST as u64 {
            refusals.count(refused("socket", [family, 0, 0, 0, 0, 0], FIRST), SystemTime::UNIX_EPOCH, who);
        }
        let mut told_at_once = Vec::new();
        for name in ["mount", "mount", "bpf", "bpf"] {
            let told = refusals.count(refused(name, [1, 2, 3, 4, 5, 6], FIRST), SystemTime::UNIX_EPOCH, who);
            told_at_once.extend(told.and_then(|told| told.syscall));
        }
        assert_eq!(told_at_once, ["mount", "bpf"]);
        let news = refusals.news().unwrap();
        let counted = |name| news.refusals.iter().find(|told| told.syscall == Some(name)).map(|told| told.count);
        assert_eq!((counted("mount"), counted("bpf"), news.more), (Some(2), Some(2), 0));
        // Numbers that no call has are as many as there are numbers.
        for number in 100_000..100_000 + 10 * MOST_CALLS {
            let call = Call { number: number.try_into().unwrap(), ..Call::native("bpf", [0; 6]).unwrap() };
            let refusal = Refusal::new(&call, &Answer { verdict: Verdict::Errno(1), looked_at: [false; 6] }, 1);
            refusals.count(refusal, SystemTime::UNIX_EPOCH, who);
        }
        assert_eq!(refusals.news().unwrap().more, 10 * MOST_CALLS as u64);
    }
}
