//! Seeded mutations of real documents, the same on every machine.

use std::fs;
use std::path::Path;

/// xorshift64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(below.max(1)).unwrap()).unwrap()
    }
}

/// Every JSON file below `golden`.
pub(crate) fn corpus(golden: &Path) -> Vec<Vec<u8>> {
    let mut specs = Vec::new();
    let mut open = vec![golden.to_owned()];
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

/// A part of every document of `corpus` that has it.
pub(crate) fn parts(corpus: Vec<Vec<u8>>, pointer: &str) -> Vec<Vec<u8>> {
    let specs = corpus.into_iter().filter_map(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    specs.filter_map(|spec| Some(spec.pointer(pointer)?.to_string().into_bytes())).collect()
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

/// The documents of `corpus`, and `count` mutants of them.
pub(crate) fn mutants(corpus: &[Vec<u8>], count: u64, mut take: impl FnMut(&[u8])) {
    corpus.iter().for_each(|bytes| take(bytes));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..count {
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
