//! The chain: each line holds its number and the digest of the line before it, so that none can be changed or taken out unseen.
//!
//! Shims come and go, so what the next line has to hold stands in a file of its own, `<log>.chain`: number and digest of the last line,
//! and where the log ended then. Its lock orders all writers. Whoever is root can write both files anew; what was noted of the chain
//! elsewhere (the journal, another machine) such a one cannot.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::file::{End, lock, open, with_suffix};

/// What the first line of a chain holds in place of a digest.
pub(super) const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// What is looked at of the log where the note does not fit it: a record of many findings has some 100 KiB.
const TAIL: u64 = 4 << 20;

/// Number and digest of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) sha256: String,
}

/// What a line says of the chain.
#[derive(Debug, Deserialize)]
pub(super) struct LinkFields {
    pub(super) seq: Option<u64>,
    pub(super) prev: Option<String>,
}

/// The chain, locked.
#[derive(Debug)]
pub(super) struct Chain {
    file: File,
    head: Head,
    end: Option<End>,
}

/// A line with its place in the chain.
#[derive(Debug)]
pub(super) struct Link {
    line: Vec<u8>,
    head: Head,
}

impl Link {
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }

    pub(super) fn into_line(self) -> Vec<u8> {
        self.line
    }
}

impl Chain {
    /// Where the head of a log's chain is kept.
    pub(super) fn path_of(log: &Path) -> PathBuf {
        with_suffix(log, ".chain")
    }

    pub(super) fn lock(log: &Path) -> io::Result<Self> {
        let mut file = open(&Self::path_of(log), false)?;
        lock(&file)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // A note that was lost with the machine, wholly or in part, must not stop the node: the lines tell where the chain stands.
        let (head, end) = parse(&text).unwrap_or_else(|| (Head { seq: 0, sha256: BEGINNING.to_owned() }, None));
        Ok(Self { file, head, end })
    }

    /// A shim that was killed between its line and its note, or a machine that lost the note, has left lines more than the note says.
    pub(super) fn catch_up(&mut self, log: &Path) -> io::Result<()> {
        let mut file = match File::open(log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let found = file.metadata()?;
        if self.end == Some(End { inode: found.ino(), size: found.len() }) {
            return Ok(());
        }
        for line in last_lines(&mut file, found.len())?.split(|byte| *byte == b'\n') {
            // Anything else somebody has done to the log, and the chain will not fit there.
            let Ok(LinkFields { seq: Some(seq), prev: Some(prev) }) = serde_json::from_slice(line) else { continue };
            let follows = seq == self.head.seq + 1 && prev == self.head.sha256;
            if self.end.is_none() || follows {
                self.head = Head { seq, sha256: digest(line) };
            }
        }
        Ok(())
    }

    /// A record's line as the next one.
    pub(super) fn link(&self, line: Vec<u8>) -> Link {
        let (seq, prev) = (self.head.seq + 1, &self.head.sha256);
        let mut linked = format!("{{\"seq\":{seq},\"prev\":\"{prev}\",").into_bytes();
        // Every record is an object with fields.
        linked.extend_from_slice(line.strip_prefix(b"{").unwrap_or(&line));
        let sha256 = digest(linked.strip_suffix(b"\n").unwrap_or(&linked));
        Link { line: linked, head: Head { seq, sha256 } }
    }

    /// Notes that it stands at the end of the log.
    pub(super) fn keep(&mut self, link: &Link, end: End) -> io::Result<()> {
        // Always as long, and so written over as a whole.
        let text = format!("{:020} {} {:020} {:020}\n", link.head.seq, link.head.sha256, end.inode, end.size);
        self.file.write_all_at(text.as_bytes(), 0)
    }
}

/// The head of a log's chain as it is now; `None` where there is none.
pub(super) fn head_of(log: &Path) -> io::Result<Option<Head>> {
    match std::fs::read_to_string(Chain::path_of(log)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(text) => Ok(parse(&text).map(|(head, _)| head)),
    }
}

fn parse(text: &str) -> Option<(Head, Option<End>)> {
    let mut words = text.split_whitespace();
    let seq = words.next()?.parse().ok()?;
    let sha256 = words.next().filter(|word| word.len() == BEGINNING.len())?.to_owned();
    let end = End { inode: words.next()?.parse().ok()?, size: words.next()?.parse().ok()? };
    Some((Head { seq, sha256 }, Some(end)))
}

/// Of a line, without its newline.
pub(super) fn digest(line: &[u8]) -> String {
    Sha256::digest(line).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Up to the last newline.
fn last_lines(file: &mut File, size: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    tail.truncate(tail.iter().rposition(|byte| *byte == b'\n').unwrap_or_default());
    Ok(tail)
}
