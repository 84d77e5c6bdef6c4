//! The file: every shim of the node appends to it, each record in one write under a lock, so lines never mix.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_policy::AuditSettings;
use rustix::fs::{FlockOperation, OFlags, flock};

use super::AuditError;
use super::chain::Chain;

/// Together a tenth of a second, in which a thousand other records fit.
const LOCK_TRIES: u32 = 100;
/// See [`LOCK_TRIES`].
const LOCK_PAUSE: Duration = Duration::from_millis(1);
/// The log is looked for again when another shim has rotated it meanwhile.
const OPEN_TRIES: u32 = 8;

/// What of the settings the file goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogFile<'a> {
    path: &'a Path,
    max_bytes: u64,
    keep: u32,
    chained: bool,
    synced: bool,
}

/// Where a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) inode: u64,
    pub(super) size: u64,
}

impl<'a> LogFile<'a> {
    pub(super) fn of(settings: &'a AuditSettings) -> Self {
        Self {
            path: settings.path(),
            max_bytes: settings.max_bytes(),
            keep: settings.keep(),
            chained: settings.is_chained(),
            synced: settings.is_synced(),
        }
    }

    /// Appends a line, which ends with a newline; the line as it stands in the file.
    pub(super) fn append(&self, line: Vec<u8>) -> Result<Vec<u8>, AuditError> {
        if !self.chained {
            let (file, _) = self.write(&line)?;
            self.sync(&file)?;
            return Ok(line);
        }
        // Its lock is held over a rotation, where the log's own is another file's.
        let mut chain = Chain::lock(self.path).map_err(self.failed("lock the chain of"))?;
        chain.catch_up(self.path).map_err(self.failed("read the end of"))?;
        let link = chain.link(line);
        let (file, end) = self.write(link.line())?;
        chain.keep(&link, end).map_err(self.failed("note the end of"))?;
        // If the note is lost with the machine, the next shim finds its way by the lines.
        drop(chain);
        self.sync(&file)?;
        Ok(link.into_line())
    }

    /// Waits for the disk, where that is wanted. Without the lock: a disk takes milliseconds, which add up over many shims, and one wait
    /// is for all lines before it.
    fn sync(&self, file: &File) -> Result<(), AuditError> {
        if !self.synced {
            return Ok(());
        }
        flock(file, FlockOperation::Unlock).map_err(|errno| self.failed("unlock")(errno.into()))?;
        file.sync_data().map_err(self.failed("sync"))
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> AuditError + use<> {
        let path = self.path.to_owned();
        move |source| AuditError::Io { action, path, source }
    }

    /// The file is locked as long as it is open.
    fn write(&self, line: &[u8]) -> Result<(File, End), AuditError> {
        let mut file = open_locked(self.path).map_err(self.failed("open"))?;
        let mut found = file.metadata().map_err(self.failed("stat"))?;
        if found.len() > 0 && found.len() + line.len() as u64 > self.max_bytes {
            self.rotate().map_err(self.failed("rotate"))?;
            file = open_locked(self.path).map_err(self.failed("open"))?;
            found = file.metadata().map_err(self.failed("stat"))?;
        }
        let size = found.len();
        let torn = is_torn(&file, size).map_err(self.failed("read"))?;
        let written = if torn { file.write_all(&[b"\n", line].concat()) } else { file.write_all(line) };
        if let Err(source) = written {
            // A full disk may have taken a part of the line; half a line would spoil the next one.
            file.set_len(size).map_err(self.failed("shorten"))?;
            return Err(self.failed("write")(source));
        }
        Ok((file, End { inode: found.ino(), size: size + u64::from(torn) + line.len() as u64 }))
    }

    /// The log becomes `.1`, `.1` becomes `.2`; the last one goes. Whoever holds the log's lock is the only one to do so.
    fn rotate(&self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            match std::fs::rename(rotated(self.path, number), rotated(self.path, number + 1)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed?,
            }
        }
        std::fs::rename(self.path, rotated(self.path, 1))
    }
}

/// A shim that was killed while it wrote has left a part of its line, to which nothing must be added.
fn is_torn(file: &File, size: u64) -> io::Result<bool> {
    let mut last = [b'\n'];
    if let Some(at) = size.checked_sub(1) {
        file.read_exact_at(&mut last, at)?;
    }
    Ok(last != *b"\n")
}

/// The name of the log that was rotated away so many rotations ago.
fn rotated(path: &Path, number: u32) -> PathBuf {
    with_suffix(path, &format!(".{number}"))
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The files of a log that are there, the oldest one first, the log itself last.
///
/// # Errors
///
/// The kernel's, where the log's directory can't be read.
pub fn files_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut found = Vec::new();
    let beginning = with_suffix(path, ".");
    let beginning = beginning.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(beginning.as_str())?.parse::<u32>().ok());
        found.extend(number.filter(|number| *number > 0).map(|number| (number, directory.join(name))));
    }
    found.sort_by(|(a, _), (b, _)| b.cmp(a));
    let mut files: Vec<PathBuf> = found.into_iter().map(|(_, path)| path).collect();
    if path.exists() {
        files.push(path.to_owned());
    }
    Ok(files)
}

/// Another shim holds the lock for microseconds. Whoever holds it longer (a stopped process, somebody's `flock`)
/// must not stop this shim's event loop: then the request is refused, and may be tried again.
pub(super) fn lock(file: &File) -> io::Result<()> {
    for _ in 0..LOCK_TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::AGAIN) => std::thread::sleep(LOCK_PAUSE),
            locked => return Ok(locked?),
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// A file of root's alone, made if it is not there.
pub(super) fn open(path: &Path, append: bool) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    options.read(true).append(append).write(true).create(true).mode(0o600).custom_flags(flags);
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// Opens and locks the log; after a rotation by another shim the lock would be on the older file, so the
/// path is looked at again.
fn open_locked(path: &Path) -> io::Result<File> {
    for _ in 0..OPEN_TRIES {
        let file = open(path, true)?;
        lock(&file)?;
        let opened = file.metadata()?;
        match std::fs::symlink_metadata(path) {
            Ok(named) if named.ino() == opened.ino() && named.dev() == opened.dev() => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::super::verify::{Problem, verify};
    use super::*;
    use std::fs;

    fn log(path: &Path, max_bytes: u64, keep: u32) -> LogFile<'_> {
        LogFile { path, max_bytes, keep, chained: false, synced: false }
    }

    fn all(path: &Path) -> String {
        files_of(path).unwrap().iter().map(|file| fs::read_to_string(file).unwrap()).collect()
    }

    #[test]
    fn lines_of_many_writers_stay_whole_and_in_order_across_rotations() {
        let scratch = Scratch::new("many");
        let path = scratch.path("deep/audit.jsonl");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let log = log(&path, 1_500, 20);
                scope.spawn(move || {
                    let line = |number: usize| format!("{writer} {number:02} {}\n", "x".repeat(94)).into_bytes();
                    (0..50).for_each(|number| drop(log.append(line(number)).unwrap()));
                });
            }
        });
        assert_eq!(files_of(&path).unwrap().len(), 14, "200 lines, 15 to a file");
        let all = all(&path);
        assert!(all.lines().all(|line| line.len() == 99), "a line was torn");
        for writer in 0..4 {
            let own: Vec<&str> = all.lines().filter(|line| line.starts_with(&writer.to_string())).collect();
            assert!(own.len() == 50 && own.is_sorted(), "writer {writer}: {own:?}");
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn no_more_files_than_are_to_be_kept() {
        let scratch = Scratch::new("keep");
        let path = scratch.path("audit.jsonl");
        for number in 0..9 {
            log(&path, 4, 2).append(format!("{number}\n").into_bytes()).unwrap();
        }
        assert_eq!(all(&path), "4\n5\n6\n7\n8\n", "two to a file: two older ones, and the log");
        assert_eq!(files_of(&path).unwrap(), [scratch.path("audit.jsonl.2"), scratch.path("audit.jsonl.1"), path]);
    }

    #[test]
    fn many_writers_of_a_chain_make_one_chain() {
        let scratch = Scratch::new("chain");
        let path = scratch.path("audit.jsonl");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let log = LogFile { chained: true, ..log(&path, 1_000, 90) };
                scope.spawn(move || (0..25).for_each(|_| drop(log.append(b"{\"v\":1}\n".to_vec()).unwrap())));
            }
        });
        let seen = verify(&path, None).unwrap();
        assert_eq!((seen.lines, seen.problems), (100, Vec::<Problem>::new()));
        assert!(seen.files > 5, "over rotations");
    }

    #[test]
    fn a_chain_whose_note_was_lost_goes_on_where_its_lines_end() {
        for lost in ["", "0000", "\0\0\0\0"] {
            let scratch = Scratch::new("lost");
            let path = scratch.path("audit.jsonl");
            let log = LogFile { chained: true, ..log(&path, 1_000, 9) };
            (0..3).for_each(|_| drop(log.append(b"{\"v\":1}\n".to_vec()).unwrap()));
            fs::write(Chain::path_of(&path), lost).unwrap();
            (0..2).for_each(|_| drop(log.append(b"{\"v\":1}\n".to_vec()).unwrap()));
            let seen = verify(&path, None).unwrap();
            assert_eq!((seen.lines, seen.problems), (5, Vec::<Problem>::new()), "{lost:?}");
        }
    }

    #[test]
    fn whoever_waits_for_the_disk_has_let_go_of_the_lock() {
        let scratch = Scratch::new("sync");
        let path = scratch.path("audit.jsonl");
        let log = LogFile { synced: true, ..log(&path, 10_000, 1) };
        let (file, _) = log.write(b"1\n").unwrap();
        // The control: before that nobody else can write.
        assert!(log.append(b"2\n".to_vec()).is_err());
        log.sync(&file).unwrap();
        log.append(b"3\n".to_vec()).unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n3\n");
    }

    #[test]
    fn a_line_that_a_killed_shim_left_half_written_spoils_no_other() {
        let scratch = Scratch::new("torn");
        let path = scratch.path("audit.jsonl");
        fs::write(&path, "{\"v\":1}\n{\"v\":").unwrap();
        log(&path, 100, 1).append(b"{\"v\":2}\n".to_vec()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"v\":1}\n{\"v\":\n{\"v\":2}\n");
    }

    #[test]
    fn a_lock_that_is_kept_refuses_instead_of_waiting() {
        let scratch = Scratch::new("busy");
        let path = scratch.path("audit.jsonl");
        let holder = File::create(&path).unwrap();
        flock(&holder, FlockOperation::LockExclusive).unwrap();
        let refused = log(&path, 100, 1).append(b"x\n".to_vec()).unwrap_err();
        assert!(
            matches!(&refused, AuditError::Io { source, .. } if source.kind() == io::ErrorKind::ResourceBusy),
            "{refused:?}"
        );
        drop(holder);
        log(&path, 100, 1).append(b"x\n".to_vec()).unwrap();
    }

    #[test]
    fn a_link_or_a_device_is_no_log() {
        let scratch = Scratch::new("link");
        fs::write(scratch.path("victim"), "").unwrap();
        std::os::unix::fs::symlink(scratch.path("victim"), scratch.path("log")).unwrap();
        let linked = log(&scratch.path("log"), 100, 1).append(b"x\n".to_vec());
        assert!(matches!(linked, Err(AuditError::Io { action: "open", .. })));
        assert!(log(Path::new("/dev/full"), 100, 1).append(b"x\n".to_vec()).is_err());
    }
}
