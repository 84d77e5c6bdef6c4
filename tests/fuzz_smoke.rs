//! The fuzz body on seeded mutations of real specs, for machines without a fuzzer. `scripts/fuzz` runs the
//! coverage-guided one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::tests_outside_test_module,
    clippy::zombie_processes,
    reason = "how a test fails"
)]

#[path = "fuzz/create.rs"]
mod create;
#[path = "fuzz/exec.rs"]
mod exec;
#[path = "fuzz/grant.rs"]
mod grant;
#[path = "fuzz/policy.rs"]
mod policy;
#[path = "fuzz/spec.rs"]
mod spec;
#[path = "fuzz/update.rs"]
mod update;

use std::fs;
use std::path::Path;

/// Enough to reach every rule many times, in a few seconds of a debug build.
const MUTATIONS: u64 = 3000;

/// xorshift64: a sequence that is the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(below.max(1)).unwrap()).unwrap()
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut specs = Vec::new();
    let mut open = vec![golden];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                specs.push(fs::read(path).unwrap());
            }
        }
    }
    specs.sort();
    specs
}

/// Words that the rules look for, to be put where others were.
const WORDS: [&str; 14] = [
    "null",
    "0",
    "-1",
    "4294967295",
    "true",
    "\"\"",
    "[]",
    "{}",
    "\"CAP_SYS_ADMIN\"",
    "\"/\"",
    "\"/proc/1/ns/net\"",
    "\"rshared\"",
    "\"SCMP_ACT_ALLOW\"",
    "\"bind\"",
];

fn mutate(spec: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.roll(spec.len());
    match dice.roll(5) {
        0 => spec[at] = u8::try_from(dice.roll(256)).unwrap(),
        1 => drop(spec.drain(at..(at + dice.roll(40)).min(spec.len()))),
        2 => {
            let from = dice.roll(other.len());
            let part = other[from..(from + dice.roll(80)).min(other.len())].to_vec();
            drop(spec.splice(at..at, part));
        }
        // A whole value, so that the document often stays one.
        _ => {
            let word = WORDS[dice.roll(WORDS.len())].as_bytes();
            let begin = spec[at..].iter().position(|byte| *byte == b':').map_or(at, |colon| at + colon + 1);
            let end = spec[begin..].iter().position(|byte| b",]}\n".contains(byte)).map_or(begin, |end| begin + end);
            drop(spec.splice(begin..end, word.iter().copied()));
        }
    }
}

/// Mutants of `corpus`, the same on every machine.
fn mutants(corpus: &[Vec<u8>], mut take: impl FnMut(&[u8])) {
    corpus.iter().for_each(|bytes| take(bytes));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..MUTATIONS {
        let mut mutant = corpus[dice.roll(corpus.len())].clone();
        let other = &corpus[dice.roll(corpus.len())];
        for _ in 0..=dice.roll(3) {
            if !mutant.is_empty() {
                mutate(&mut mutant, other, &mut dice);
            }
        }
        take(&mutant);
    }
}

/// Tries the mutants; were all of them refused, nothing would have been shown of those that are not.
fn some_pass(corpus: &[Vec<u8>], take: impl Fn(&[u8]) -> bool) {
    let (mut passed, mut refused) = (0, 0);
    mutants(corpus, |bytes| if take(bytes) { passed += 1 } else { refused += 1 });
    assert!(passed > 30 && refused > 30, "{passed} passed, {refused} refused");
}

/// A part of every golden spec.
fn parts(pointer: &str) -> Vec<Vec<u8>> {
    let specs = corpus().into_iter().filter_map(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    specs.filter_map(|spec| Some(spec.pointer(pointer)?.to_string().into_bytes())).collect()
}

#[test]
fn mutated_processes_stay_within_their_container() {
    let corpus = parts("/process");
    assert!(corpus.len() > 3);
    some_pass(&corpus, |bytes| exec::exec_within(bytes, &grant::GRANT));
}

#[test]
fn mutated_limits_stay_within_the_policy() {
    let corpus = parts("/linux/resources");
    assert!(corpus.len() > 3);
    some_pass(&corpus, |bytes| update::update_within(bytes, &grant::GRANT));
}

#[test]
fn mutated_policy_files_are_refused_or_hold() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policy.md")).unwrap();
    let examples = page.split("```toml").skip(1).filter_map(|rest| rest.split("```").next());
    let corpus: Vec<Vec<u8>> = examples.map(|text| text.as_bytes().to_vec()).collect();
    assert!(corpus.len() >= 3);
    some_pass(&corpus, policy::policy_holds);
}

#[test]
fn mutated_specs_are_refused_or_hardened_for_good() {
    let corpus = corpus();
    assert!(corpus.len() > 3, "the golden specs are the corpus");
    mutants(&corpus, spec::judge_twice);
}
