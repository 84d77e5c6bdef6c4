//! Reading the audit log with the files rotated before it, at once or as it grows.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use palisade::audit::files_of;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::arguments::LogFile;
use crate::error::CliError;
use crate::policy;

/// A listing is made again when the log was rotated meanwhile.
const TRIES: u32 = 5;
/// The beginning of a file, by which it is known again: inodes are used again, and the first line holds the time to the microsecond.
const BEGINNING: u64 = 128;

/// How far a reader has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    inode: u64,
    offset: u64,
    beginning: String,
}

/// A reader of one log, which goes on where it was.
#[derive(Debug)]
pub(crate) struct LogReader {
    log: PathBuf,
    position: Option<Position>,
    /// Times that the place where it was had been rotated away: lines were missed.
    missed: u64,
}

impl LogReader {
    /// From the beginning of what is there.
    pub(crate) fn of(file: &LogFile) -> Result<Self, CliError> {
        Ok(Self::new(path_of(file)?, None))
    }

    pub(crate) fn new(log: PathBuf, position: Option<Position>) -> Self {
        Self { log, position, missed: 0 }
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    pub(crate) fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    /// Hands over each whole line that has come since the last time. A log that is not there has none.
    pub(crate) fn read(&mut self, mut each: impl FnMut(&str)) -> Result<(), CliError> {
        let failed = |source| CliError::Read { path: self.log.clone(), source };
        let files = open_all(&self.log).map_err(failed)?;
        let known = self.position.as_ref().map(|position| files.iter().position(|file| is_at(file, position)));
        let first = match known {
            None => 0,
            Some(Some(at)) => at,
            Some(None) => {
                self.missed += 1;
                0
            }
        };
        for (at, mut file) in files.into_iter().enumerate().skip(first) {
            let offset =
                self.position.as_ref().filter(|_| known == Some(Some(at))).map_or(0, |position| position.offset);
            let end = read_from(&mut file, offset, &mut each);
            let end = end.map_err(|source| CliError::Read { path: self.log.clone(), source })?;
            let found = file.metadata().and_then(|found| Ok((found.ino(), beginning(&mut file, end)?)));
            let (inode, beginning) = found.map_err(|source| CliError::Read { path: self.log.clone(), source })?;
            self.position = Some(Position { inode, offset: end, beginning });
        }
        Ok(())
    }
}

/// The log that a command is about.
pub(crate) fn path_of(file: &LogFile) -> Result<PathBuf, CliError> {
    match &file.log {
        Some(log) => Ok(log.clone()),
        None => Ok(policy::load(&file.policy)?.policy().audit().path().to_owned()),
    }
}

/// All files, the oldest one first, without one missing or twice because of a rotation meanwhile.
fn open_all(log: &Path) -> io::Result<Vec<File>> {
    for _ in 0..TRIES {
        let files = match files_of(log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files?.into_iter().map(File::open).collect::<io::Result<Vec<File>>>(),
        };
        let Ok(files) = files else { continue };
        let opened: Vec<u64> = files.iter().filter_map(|file| Some(file.metadata().ok()?.ino())).collect();
        let listed: Vec<u64> = files_of(log)?.iter().filter_map(|path| Some(path.metadata().ok()?.ino())).collect();
        if opened == listed {
            return Ok(files);
        }
    }
    // Also what may not be read.
    files_of(log)?.into_iter().map(File::open).collect()
}

fn is_at(file: &File, position: &Position) -> bool {
    let is_it = |found: std::fs::Metadata| found.ino() == position.inode && found.len() >= position.offset;
    let same = || Ok::<_, io::Error>(beginning(&mut file.try_clone()?, position.offset)? == position.beginning);
    file.metadata().is_ok_and(is_it) && same().unwrap_or(false)
}

/// Digest of the first bytes before `end`.
fn beginning(file: &mut File, end: u64) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(end.min(BEGINNING)).read_to_end(&mut bytes)?;
    Ok(Sha256::digest(&bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// Where the last whole line ends.
fn read_from(file: &mut File, offset: u64, each: &mut impl FnMut(&str)) -> io::Result<u64> {
    file.seek(SeekFrom::Start(offset))?;
    let (mut reader, mut line, mut end) = (BufReader::new(file), Vec::new(), offset);
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)? as u64;
        let Some(whole) = line.strip_suffix(b"\n") else { return Ok(end) };
        end += read;
        each(&String::from_utf8_lossy(whole));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn scratch(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("palisade-log-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }

    fn read(reader: &mut LogReader) -> Vec<String> {
        let mut lines = Vec::new();
        reader.read(|line| lines.push(line.to_owned())).unwrap();
        lines
    }

    fn add(path: &Path, text: &str) {
        use std::io::Write as _;
        fs::OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn each_line_once_over_rotations_and_from_a_kept_position() {
        let dir = scratch("once");
        let path = dir.0.join("audit.jsonl");
        let mut reader = LogReader::new(path.clone(), None);
        assert!(read(&mut reader).is_empty(), "there is no log yet");
        add(&path, "1\n2\nhal");
        assert_eq!(read(&mut reader), ["1", "2"]);
        add(&path, "f\n3\n");
        fs::rename(&path, dir.0.join("audit.jsonl.1")).unwrap();
        add(&path, "4\n");
        let kept = serde_json::to_string(reader.position().unwrap()).unwrap();
        let mut reader = LogReader::new(path.clone(), Some(serde_json::from_str(&kept).unwrap()));
        assert_eq!(read(&mut reader), ["half", "3", "4"]);
        assert!(read(&mut reader).is_empty());
        assert_eq!(reader.missed(), 0);
    }

    #[test]
    fn what_was_rotated_away_is_known_to_be_missed() {
        let dir = scratch("missed");
        let path = dir.0.join("audit.jsonl");
        let mut reader = LogReader::new(path.clone(), None);
        add(&path, "1\n");
        assert_eq!(read(&mut reader), ["1"]);
        // In place, so that the inode is the same.
        fs::write(&path, "2\n3\n").unwrap();
        assert_eq!((read(&mut reader), reader.missed()), (vec!["2".to_owned(), "3".to_owned()], 1));
    }
}
