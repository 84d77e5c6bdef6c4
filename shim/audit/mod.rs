//! The audit log: one JSON object a line for each decision, allowed ones too.
//!
//! Every shim of the node appends to the same file, each record in one write under a lock, so lines never
//! mix. A record that can't be written is an error: the gate then creates nothing, since a decision that
//! nobody can look up later is not one that an admin has made.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use palisade_policy::{AuditSettings, Identity, Record};
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::Serialize;
use thiserror::Error;

/// Together a tenth of a second, in which a thousand other records fit.
const LOCK_TRIES: u32 = 100;
/// See [`LOCK_TRIES`].
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// Why a decision is not on record.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The log can't be opened or written.
    #[error("palisade: {action} audit log {path:?}, so nothing is done; mend: make room or set [audit] path")]
    Io {
        /// What failed.
        action: &'static str,
        /// The log.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The record can't be written as JSON.
    #[error("encode an audit record")]
    Encode(#[source] serde_json::Error),
}

/// What a decision was about and how long it took, beside the record of the decision itself.
#[derive(Debug)]
pub struct Subject<'a> {
    /// containerd's namespace.
    pub namespace: &'a str,
    /// The container.
    pub id: &'a str,
    /// The exec id, empty otherwise.
    pub exec_id: &'a str,
    /// What CRI says of pod and container.
    pub identity: &'a Identity,
    /// SHA-256 of the policy file, or `builtin`.
    pub policy: &'a str,
    /// Time that judging and hardening took.
    pub duration: Duration,
}

/// One line. Version 1 of the format; fields are only ever added to a version.
#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    time: String,
    event: &'static str,
    decision: &'static str,
    policy_sha256: &'a str,
    namespace: &'a str,
    container: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    exec: &'a str,
    identity: &'a Identity,
    record: &'a Record,
    duration_us: u128,
    shim_pid: u32,
}

/// Appends a decision.
///
/// # Errors
///
/// [`AuditError`]; nothing of the record is in the log then, or it is there as a whole.
pub fn append(
    settings: &AuditSettings,
    subject: &Subject<'_>,
    record: &Record,
    decision: &'static str,
) -> Result<(), AuditError> {
    let time: DateTime<Utc> = SystemTime::now().into();
    let line = Line {
        v: 1,
        time: time.to_rfc3339_opts(SecondsFormat::Micros, true),
        event: "decision",
        decision,
        policy_sha256: subject.policy,
        namespace: subject.namespace,
        container: subject.id,
        exec: subject.exec_id,
        identity: subject.identity,
        record,
        duration_us: subject.duration.as_micros(),
        shim_pid: std::process::id(),
    };
    let mut bytes = serde_json::to_vec(&line).map_err(AuditError::Encode)?;
    bytes.push(b'\n');
    write_line(settings.path(), settings.max_bytes(), &bytes)
}

/// A container that something is recorded of beside decisions.
#[derive(Debug)]
pub struct ContainerSubject<'a> {
    /// containerd's namespace.
    pub namespace: &'a str,
    /// The container.
    pub id: &'a str,
    /// What CRI says of pod and container.
    pub identity: &'a Identity,
    /// SHA-256 of the policy file, or `builtin`.
    pub policy: &'a str,
    /// The profile in force.
    pub profile: &'a str,
}

/// One line that is no decision. Version 1 of the format, as [`Line`].
#[derive(Serialize)]
struct EventLine<'a, T> {
    v: u32,
    time: String,
    event: &'static str,
    policy_sha256: &'a str,
    namespace: &'a str,
    container: &'a str,
    identity: &'a Identity,
    profile: &'a str,
    #[serde(flatten)]
    told: &'a T,
    shim_pid: u32,
}

/// Appends something that happened, whose fields stand beside those of the container.
///
/// # Errors
///
/// As [`append`].
pub fn append_event(
    settings: &AuditSettings,
    subject: &ContainerSubject<'_>,
    event: &'static str,
    told: &impl Serialize,
) -> Result<(), AuditError> {
    let time: DateTime<Utc> = SystemTime::now().into();
    let line = EventLine {
        v: 1,
        time: time.to_rfc3339_opts(SecondsFormat::Micros, true),
        event,
        policy_sha256: subject.policy,
        namespace: subject.namespace,
        container: subject.id,
        identity: subject.identity,
        profile: subject.profile,
        told,
        shim_pid: std::process::id(),
    };
    let mut bytes = serde_json::to_vec(&line).map_err(AuditError::Encode)?;
    bytes.push(b'\n');
    write_line(settings.path(), settings.max_bytes(), &bytes)
}

fn write_line(path: &Path, max_bytes: u64, line: &[u8]) -> Result<(), AuditError> {
    let failed = |action| move |source| AuditError::Io { action, path: path.into(), source };
    let mut file = open_locked(path).map_err(failed("open"))?;
    let size = file.metadata().map_err(failed("stat"))?.len();
    if size > 0 && size + line.len() as u64 > max_bytes {
        // One older file is kept; the admin's own rotation can take it from there.
        std::fs::rename(path, rotated(path)).map_err(failed("rotate"))?;
        file = open_locked(path).map_err(failed("open"))?;
    }
    let before = file.metadata().map_err(failed("stat"))?.len();
    if let Err(source) = file.write_all(line) {
        // A full disk may have taken a part of the line; half a line would spoil the next one.
        file.set_len(before).map_err(failed("shorten"))?;
        return Err(failed("write")(source));
    }
    Ok(())
}

fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Another shim holds the lock for microseconds. Whoever holds it longer (a stopped process, somebody's `flock`)
/// must not stop this shim's event loop: then the request is refused, and may be tried again.
fn lock(file: &File) -> io::Result<()> {
    for _ in 0..LOCK_TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::AGAIN) => std::thread::sleep(LOCK_PAUSE),
            locked => return Ok(locked?),
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Opens and locks the log; after a rotation by another shim the lock would be on the older file, so the
/// path is looked at again.
fn open_locked(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0);
    for _ in 0..8 {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
        let opened = file.metadata()?;
        if !opened.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        lock(&file)?;
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
    use super::*;
    use std::fs;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("palisade-audit-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn lines_of_many_writers_stay_whole_across_rotations() {
        let dir = scratch("many");
        let log = dir.join("deep/audit.jsonl");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let log = &log;
                scope.spawn(move || {
                    let line = format!("{}\n", writer.to_string().repeat(99));
                    (0..50).for_each(|_| write_line(log, 15_000, line.as_bytes()).unwrap());
                });
            }
        });
        let all = fs::read_to_string(&log).unwrap() + &fs::read_to_string(rotated(&log)).unwrap();
        assert!(all.lines().all(|line| line.len() == 99), "a line was torn");
        assert_eq!(all.lines().count(), 200, "150 lines to a file: one rotation, nothing lost");
        assert_eq!(fs::metadata(&log).unwrap().mode() & 0o777, 0o600);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_lock_that_is_kept_refuses_instead_of_waiting() {
        let dir = scratch("busy");
        let log = dir.join("audit.jsonl");
        let holder = File::create(&log).unwrap();
        flock(&holder, FlockOperation::LockExclusive).unwrap();
        let refused = write_line(&log, 100, b"x\n").unwrap_err();
        assert!(
            matches!(&refused, AuditError::Io { source, .. } if source.kind() == io::ErrorKind::ResourceBusy),
            "{refused:?}"
        );
        drop(holder);
        write_line(&log, 100, b"x\n").unwrap();
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_link_or_a_device_is_no_log() {
        let dir = scratch("link");
        fs::write(dir.join("victim"), "").unwrap();
        std::os::unix::fs::symlink(dir.join("victim"), dir.join("log")).unwrap();
        assert!(matches!(write_line(&dir.join("log"), 100, b"x\n"), Err(AuditError::Io { action: "open", .. })));
        assert!(write_line(Path::new("/dev/full"), 100, b"x\n").is_err());
        fs::remove_dir_all(dir).unwrap();
    }
}
