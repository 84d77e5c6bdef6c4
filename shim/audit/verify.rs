//! Whether a log is what the shims wrote: the chain from its first line to the last one that was noted.

use std::fmt;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::chain::{BEGINNING, Head, LinkFields, digest, head_of};
use super::file::files_of;

/// The log is read again when it was rotated meanwhile.
const TRIES: u32 = 5;

/// What a reading of the whole log found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Files that were read.
    pub files: usize,
    /// Lines of the chain.
    pub lines: u64,
    /// Lines before it, of a time when there was none.
    pub unchained: u64,
    /// Numbers of its first and its last line.
    pub range: Option<(u64, u64)>,
    /// Digest of the last line, to be noted elsewhere.
    pub head: Option<String>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// Something that is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A line does not follow the one before it.
    Broken {
        /// Where it is.
        file: PathBuf,
        /// Its number in the file, from 1.
        line: u64,
        /// What it is not.
        why: String,
    },
    /// Lines at the end are not there, or other ones than were noted.
    Cut {
        /// The last line's number, as it was noted.
        noted: u64,
    },
    /// No line has the digest that was noted elsewhere.
    NotThere {
        /// The digest.
        sha256: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken { file, line, why } => write!(f, "{}:{line}: {why}", file.display()),
            Self::Cut { noted } => write!(f, "the end is missing, or another one: line {noted} was noted as the last"),
            Self::NotThere { sha256 } => write!(f, "no line has the digest {sha256}"),
        }
    }
}

/// Reads a log and the files rotated before it. `anchor` is the digest of a line that was noted elsewhere.
///
/// # Errors
///
/// The kernel's.
pub fn verify(log: &Path, anchor: Option<&str>) -> io::Result<Reading> {
    for _ in 0..TRIES {
        // First: what is written from now on is not missing.
        let noted = head_of(log)?;
        let before = inodes(log)?;
        let mut walk = Walk { noted, anchor, ..Walk::default() };
        for file in files_of(log)? {
            walk.read(&file)?;
        }
        if inodes(log)? == before {
            return Ok(walk.conclude());
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

fn inodes(log: &Path) -> io::Result<Vec<u64>> {
    let inode = |file: PathBuf| std::fs::metadata(file).map(|found| found.ino()).ok();
    Ok(files_of(log)?.into_iter().filter_map(inode).collect())
}

#[derive(Debug, Default)]
struct Walk<'a> {
    noted: Option<Head>,
    anchor: Option<&'a str>,
    last: Option<Head>,
    found_noted: bool,
    found_anchor: bool,
    reading: Reading,
}

impl Walk<'_> {
    fn read(&mut self, file: &Path) -> io::Result<()> {
        self.reading.files += 1;
        let mut reader = BufReader::new(std::fs::File::open(file)?);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            reader.read_until(b'\n', &mut line)?;
            // One without an end is being written, or was left by a shim that was killed; then the next one tells.
            let Some(whole) = line.strip_suffix(b"\n") else { break };
            if let Some(why) = self.take(whole) {
                self.reading.problems.push(Problem::Broken { file: file.to_owned(), line: number, why });
            }
        }
        Ok(())
    }

    /// Why the line does not follow.
    fn take(&mut self, line: &[u8]) -> Option<String> {
        let fields = match serde_json::from_slice::<LinkFields>(line) {
            Ok(fields) => fields,
            Err(error) => return Some(format!("is no record: {error}")),
        };
        let (Some(seq), Some(prev)) = (fields.seq, fields.prev) else {
            if let Some(last) = &self.last {
                return Some(format!("has no place in the chain, after line {}", last.seq));
            }
            self.reading.unchained += 1;
            return None;
        };
        let sha256 = digest(line);
        let wrong = self.wrong(seq, &prev);
        self.reading.lines += 1;
        let first = self.reading.range.map_or(seq, |(first, _)| first);
        self.reading.range = Some((first, seq));
        self.found_noted |= self.noted.as_ref().is_some_and(|noted| noted.seq == seq && noted.sha256 == sha256);
        self.found_anchor |= self.anchor == Some(sha256.as_str());
        self.last = Some(Head { seq, sha256 });
        wrong
    }

    fn wrong(&self, seq: u64, prev: &str) -> Option<String> {
        match &self.last {
            Some(last) if seq != last.seq + 1 => Some(format!("is line {seq} of the chain, after line {}", last.seq)),
            Some(last) if prev != last.sha256 => Some(format!("does not hold the digest of line {}", last.seq)),
            None if seq == 1 && prev != BEGINNING => {
                Some("is the first line, and holds the digest of another".to_owned())
            }
            _ => None,
        }
    }

    fn conclude(self) -> Reading {
        let Self { noted, anchor, last, found_noted, found_anchor, mut reading } = self;
        if let Some(noted) = noted.filter(|_| !found_noted) {
            reading.problems.push(Problem::Cut { noted: noted.seq });
        }
        if let Some(sha256) = anchor.filter(|_| !found_anchor) {
            reading.problems.push(Problem::NotThere { sha256: sha256.to_owned() });
        }
        reading.head = last.map(|last| last.sha256);
        reading
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::LogFile;
    use super::super::scratch::Scratch;
    use super::*;
    use std::fs;

    /// A log of five lines in a chain, in two files.
    fn chained(scratch: &Scratch) -> PathBuf {
        let path = scratch.path("audit.jsonl");
        let text = format!("[audit]\npath = {path:?}\nchain = true\nmax_bytes = 300\n");
        let policy = palisade_policy::Policy::from_toml(&text).unwrap();
        for number in 0..5 {
            LogFile::of(policy.audit()).append(format!("{{\"v\":1,\"n\":{number}}}\n").into_bytes()).unwrap();
        }
        assert_eq!(files_of(&path).unwrap().len(), 2);
        path
    }

    fn edit(path: &Path, edit: impl Fn(&str) -> String) {
        let text = fs::read_to_string(path).unwrap();
        let edited = edit(&text);
        assert_ne!(text, edited);
        fs::write(path, edited).unwrap();
    }

    fn problems(path: &Path) -> String {
        let problems = verify(path, None).unwrap().problems;
        problems.iter().map(|problem| format!("{problem}\n")).collect()
    }

    #[test]
    fn a_whole_chain_has_no_problem_and_tells_its_head() {
        let scratch = Scratch::new("whole");
        let path = chained(&scratch);
        let reading = verify(&path, None).unwrap();
        assert_eq!((reading.lines, reading.range, reading.problems.as_slice()), (5, Some((1, 5)), [].as_slice()));
        let head = reading.head.unwrap();
        assert_eq!(verify(&path, Some(&head)).unwrap().problems, []);
        let other = verify(&path, Some(BEGINNING)).unwrap().problems;
        assert_eq!(other, [Problem::NotThere { sha256: BEGINNING.to_owned() }]);
        fs::remove_file(scratch.path("audit.jsonl.1")).unwrap();
        let later = verify(&path, None).unwrap();
        assert_eq!((later.range, later.problems), (Some((4, 5)), Vec::new()), "what was rotated away is not missed");
    }

    #[test]
    fn a_line_that_was_changed_taken_out_or_put_in_is_seen() {
        let scratch = Scratch::new("edits");
        let path = chained(&scratch);
        let first = scratch.path("audit.jsonl.1");
        let whole = fs::read_to_string(&first).unwrap();
        edit(&first, |text| text.replace("\"n\":1", "\"n\":7"));
        assert!(problems(&path).contains("audit.jsonl.1:3: does not hold the digest of line 2"), "{}", problems(&path));
        edit(&first, |_| {
            whole.lines().filter(|line| !line.contains("\"n\":1")).map(|line| format!("{line}\n")).collect()
        });
        assert!(problems(&path).contains("audit.jsonl.1:2: is line 3 of the chain, after line 1"));
        edit(&first, |_| whole.replacen('\n', "\n{\"v\":1,\"event\":\"decision\"}\n", 1));
        assert!(problems(&path).contains("audit.jsonl.1:2: has no place in the chain, after line 1"));
        edit(&first, |_| whole.replacen('{', "", 1));
        assert!(problems(&path).contains("audit.jsonl.1:1: is no record"));
    }

    #[test]
    fn an_end_that_was_cut_off_is_seen() {
        let scratch = Scratch::new("cut");
        let path = chained(&scratch);
        edit(&path, |text| text.lines().next().map(|line| format!("{line}\n")).unwrap());
        assert_eq!(verify(&path, None).unwrap().problems, [Problem::Cut { noted: 5 }]);
        // Another shim goes on, and the gap stays.
        let text = format!("[audit]\npath = {path:?}\nchain = true\n");
        let policy = palisade_policy::Policy::from_toml(&text).unwrap();
        LogFile::of(policy.audit()).append(b"{\"v\":1}\n".to_vec()).unwrap();
        assert!(problems(&path).contains("is line 6 of the chain, after line 4"), "{}", problems(&path));
    }

    #[test]
    fn a_shim_that_was_killed_before_its_note_breaks_no_chain() {
        let scratch = Scratch::new("killed");
        let path = chained(&scratch);
        let chain = scratch.path("audit.jsonl.chain");
        let noted = fs::read(&chain).unwrap();
        let text = format!("[audit]\npath = {path:?}\nchain = true\n");
        let policy = palisade_policy::Policy::from_toml(&text).unwrap();
        let append = || drop(LogFile::of(policy.audit()).append(b"{\"v\":1}\n".to_vec()).unwrap());
        append();
        fs::write(&chain, &noted).unwrap();
        append();
        // Nor does a machine that lost several notes.
        fs::write(&chain, &noted).unwrap();
        append();
        let reading = verify(&path, None).unwrap();
        assert_eq!((reading.lines, reading.problems), (8, Vec::new()));
    }
}
