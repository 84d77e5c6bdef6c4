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

#[path = "fuzz/spec.rs"]
mod spec;

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

#[test]
fn mutated_specs_are_refused_or_hardened_for_good() {
    let corpus = corpus();
    assert!(corpus.len() > 3, "the golden specs are the corpus");
    corpus.iter().for_each(|bytes| spec::judge_twice(bytes));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..MUTATIONS {
        let mut mutant = corpus[dice.roll(corpus.len())].clone();
        let other = &corpus[dice.roll(corpus.len())];
        for _ in 0..=dice.roll(3) {
            if !mutant.is_empty() {
                mutate(&mut mutant, other, &mut dice);
            }
        }
        spec::judge_twice(&mutant);
    }
}
