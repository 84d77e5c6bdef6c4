//! Go's reader as a child process, and the comparison of what it read.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Spec,
    Process,
    Resources,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Process => "process",
            Self::Resources => "resources",
        }
    }

    /// Where such a document stands in a specification.
    fn base(self) -> &'static str {
        match self {
            Self::Spec => "",
            Self::Process => "/process",
            Self::Resources => "/linux/resources",
        }
    }
}

/// The built program.
pub(crate) struct Reader(PathBuf);

impl Reader {
    /// The one that the environment names.
    pub(crate) fn named() -> Option<Self> {
        std::env::var_os("PALISADE_GO_READER").map(|path| Self(path.into()))
    }

    /// The version of its types, and what it reads from each document.
    pub(crate) fn read(&self, kind: Kind, documents: &[Vec<u8>]) -> (String, Vec<Answer>) {
        let mut child = Command::new(&self.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be run: {error}", self.0.display()));
        let mut lines = Vec::new();
        for document in documents {
            lines.extend(format!("{}\t", kind.word()).into_bytes());
            lines.extend(document);
            lines.push(b'\n');
        }
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || input.write_all(&lines));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success(), "the reader fails: {}", output.status);
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines = text.lines();
        let version = lines.next().unwrap_or_default().to_owned();
        assert!(version.starts_with("1."), "{version:?} is no version of runtime-spec");
        let answers: Vec<Answer> = lines.map(Answer::of).collect();
        assert_eq!(answers.len(), documents.len(), "an answer for each document");
        (version, answers)
    }
}

/// What came back for a document.
#[derive(Debug)]
pub(crate) enum Answer {
    Read(Value),
    Refused(String),
}

impl Answer {
    fn of(line: &str) -> Self {
        match line.strip_prefix("error\t") {
            Some(why) => Self::Refused(why.to_owned()),
            None => Self::Read(serde_json::from_str(line).unwrap()),
        }
    }
}

/// Fields that Go's types of runtime-spec 1.2 do not have, so that runc runs the container as if they were absent, and
/// why that gives it no more. `/**` stands for a field and everything in it.
pub(crate) const IGNORED: &[(&str, &str)] = &[
    ("/linux/intelRdt/enableMonitoring", "a group that only measures"),
    ("/linux/intelRdt/schemata", "a share of the cache; refused but in the privileged profile"),
    ("/linux/memoryPolicy/**", "where memory is taken from; refused but in the privileged profile"),
    ("/linux/netDevices/**", "interfaces stay with the host; refused but in the privileged profile"),
];

/// Fields that Go reads under a key in another case.
const FOLDED: &[(&str, &str)] =
    &[("/linux/intelRdt/enableCmt", "enableCMT"), ("/linux/intelRdt/enableMbm", "enableMBM")];

/// Compares what was handed on with what Go read. The fields of [`IGNORED`] that it left out.
///
/// # Panics
///
/// When anything else differs: that is the finding.
pub(crate) fn compare(kind: Kind, handed_on: &Value, answer: &Answer) -> Vec<String> {
    let mut ignored = Vec::new();
    match answer {
        Answer::Read(read) => same(handed_on, read, kind.base(), &mut ignored),
        Answer::Refused(why) => panic!("Go refuses what libcontainer reads: {why}"),
    }
    ignored
}

fn same(handed_on: &Value, read: &Value, at: &str, ignored: &mut Vec<String>) {
    match (handed_on, read) {
        (Value::Object(left), Value::Object(right)) => {
            for (key, value) in left {
                let place = format!("{at}/{key}");
                let folded = FOLDED.iter().find(|(field, _)| *field == place).map(|(_, key)| *key);
                match right.get(folded.unwrap_or(key)) {
                    Some(other) => same(value, other, &place, ignored),
                    None if says_nothing(value) => {}
                    None => ignored.push(known(&place).unwrap_or_else(|| panic!("Go ignores {place}: {value}"))),
                }
            }
            for (key, value) in right {
                let known =
                    left.contains_key(key) || FOLDED.iter().any(|(place, other)| other == key && place.starts_with(at));
                assert!(known || says_nothing(value), "Go reads {at}/{key} as {value}, which is not there");
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            assert_eq!(left.len(), right.len(), "{at}");
            let pairs = left.iter().zip(right).enumerate();
            pairs.for_each(|(i, (left, right))| same(left, right, &format!("{at}/{i}"), ignored));
        }
        (left, right) => assert_eq!(left, right, "{at}"),
    }
}

/// The value that Go's field has where nothing is said.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        // A Go struct without its fields is one whose fields all say nothing.
        Value::Object(map) => map.values().all(says_nothing),
    }
}

/// The row of [`IGNORED`] for a place.
fn known(place: &str) -> Option<String> {
    let covers = |row: &str| match row.strip_suffix("/**") {
        Some(whole) => place == whole || place.starts_with(&format!("{whole}/")),
        None => place == row,
    };
    IGNORED.iter().find(|(row, _)| covers(row)).map(|(row, _)| (*row).to_owned())
}
