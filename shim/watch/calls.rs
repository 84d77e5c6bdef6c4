//! What a container was seen to call.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci_spec::runtime::LinuxSeccomp;
use palisade_policy::Identity;
use palisade_seccomp::{Call, Seen};
use serde::{Deserialize, Serialize};

use super::subject::Subject;

/// Records that are kept, those of containers that have gone longest ago the least. Containers that come and go without end are not to
/// fill the disk.
const MOST: usize = 1000;

/// All calls of a container.
#[derive(Debug, Default)]
pub(super) struct Calls {
    seen: Seen,
    changed: bool,
    /// Whether there is something to write that could not be.
    refused: bool,
}

/// A record file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallRecord {
    /// Of this format.
    pub version: u32,
    /// containerd's namespace.
    pub namespace: String,
    /// Its id.
    pub container: String,
    /// What CRI says of pod and container.
    pub identity: Identity,
    /// The policy's profile that was in force.
    pub profile: String,
    /// The system call profile that was in force.
    pub seccomp: Option<LinuxSeccomp>,
    /// The calls.
    pub seen: Seen,
}

/// See [`CallRecord::version`].
pub const VERSION: u32 = 1;

impl Calls {
    pub(super) fn add(&mut self, call: &Call) {
        self.changed |= self.seen.add(call);
    }

    /// Writes the record, if it has changed or is gone, as a whole; otherwise it says with the file's time that the container is still there.
    pub(super) fn write(&mut self, subject: &Subject) -> io::Result<()> {
        if self.refused {
            return Ok(());
        }
        let is_there = || touch(&path(&subject.records, &subject.namespace, &subject.id));
        // A container that has called nothing yet has no record; another that has none has made room for others, or somebody removed it.
        if !self.changed && (is_there()? || self.seen.is_empty()) {
            return Ok(());
        }
        let record = CallRecord {
            version: VERSION,
            namespace: subject.namespace.clone(),
            container: subject.id.clone(),
            identity: subject.identity.clone(),
            profile: subject.profile.clone(),
            seccomp: subject.seccomp.clone(),
            seen: self.seen.clone(),
        };
        let written = write(&subject.records, &record);
        // Said once; each try would say the same.
        self.refused = written.is_err();
        self.changed = false;
        written
    }
}

/// Both are checked to be one path component each, without a colon.
fn path(directory: &Path, namespace: &str, container: &str) -> PathBuf {
    directory.join(format!("{namespace}:{container}.json"))
}

/// Whether there is such a file.
fn touch(record: &Path) -> io::Result<bool> {
    match File::open(record) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        file => file?.set_modified(SystemTime::now()).map(|()| true),
    }
}

fn write(directory: &Path, record: &CallRecord) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let path = path(directory, &record.namespace, &record.container);
    if !path.exists() {
        make_room(directory)?;
    }
    let fresh = directory.join(format!(".{}:{}.json.{}", record.namespace, record.container, std::process::id()));
    // One that a shim of this number left behind.
    if fresh.symlink_metadata().is_ok() {
        fs::remove_file(&fresh)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    fs::rename(fresh, path)
}

/// Removes what was written longest ago, until one more makes [`MOST`].
fn make_room(directory: &Path) -> io::Result<()> {
    let mut records = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !is_record(&entry.file_name()) {
            continue;
        }
        match entry.metadata() {
            // Another shim makes room too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            known => records.push((known?.modified()?, entry.path())),
        }
    }
    records.sort();
    let surplus = (records.len() + 1).saturating_sub(MOST);
    for (_, record) in records.into_iter().take(surplus) {
        match fs::remove_file(record) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

/// A record, or what a shim that died has left of one; the admin's own files stay.
fn is_record(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.contains(&b':') && (name.ends_with(b".json") || name.starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("palisade-calls-{}-{name}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            Self(directory)
        }

        /// A file that was written so many minutes ago.
        fn file(&self, name: &str, minutes: u64) -> PathBuf {
            let path = self.0.join(name);
            let written = SystemTime::now() - Duration::from_secs(60 * minutes);
            File::create(&path).unwrap().set_modified(written).unwrap();
            path
        }

        fn subject(&self, id: &str) -> Subject {
            let policy = palisade_policy::Policy::builtin();
            let chronicle = crate::audit::Chronicle::of_nobody(id, policy.audit());
            Subject {
                namespace: "k8s.io".into(),
                id: id.into(),
                identity: Identity::default(),
                profile: "learner".into(),
                chronicle,
                seccomp: None,
                records: self.0.clone(),
            }
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// One call more than before.
    fn call(calls: &mut Calls, name: &str) {
        calls.add(&Call::native(name, [0; 6]).unwrap());
    }

    #[test]
    fn the_record_of_whom_has_gone_longest_makes_room() {
        let scratch = Scratch::new("room");
        let gone: Vec<PathBuf> =
            (0..MOST).map(|n| scratch.file(&format!("k8s.io:gone{n}.json"), 1000 + n as u64)).collect();
        let half = scratch.file(".k8s.io:half.json.7", 5000);
        let own = [scratch.file("learned.json", 9000), scratch.file("notes:of-mine", 9000)];
        let mut calls = Calls::default();
        call(&mut calls, "mkdir");
        calls.write(&scratch.subject("new")).unwrap();
        assert!(scratch.0.join("k8s.io:new.json").exists());
        assert!(!half.exists() && !gone[MOST - 1].exists(), "the two oldest");
        assert!(gone[..MOST - 1].iter().all(|path| path.exists()), "no more than has to go");
        assert!(own.iter().all(|path| path.exists()), "what is no record");

        call(&mut calls, "rmdir");
        calls.write(&scratch.subject("new")).unwrap();
        assert!(gone[MOST - 2].exists(), "a record that is there needs no room");
    }

    #[test]
    fn a_container_that_runs_keeps_its_record() {
        let scratch = Scratch::new("kept");
        let mut calls = Calls::default();
        calls.write(&scratch.subject("runs")).unwrap();
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 0, "nothing was called");
        call(&mut calls, "mkdir");
        calls.write(&scratch.subject("runs")).unwrap();
        let record = scratch.0.join("k8s.io:runs.json");
        File::open(&record).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        calls.write(&scratch.subject("runs")).unwrap();
        let age = SystemTime::now().duration_since(fs::metadata(record).unwrap().modified().unwrap()).unwrap();
        assert!(age < Duration::from_secs(60), "{age:?} old");
    }

    #[test]
    fn a_record_that_made_room_is_written_again() {
        let scratch = Scratch::new("again");
        let mut calls = Calls::default();
        call(&mut calls, "mkdir");
        calls.write(&scratch.subject("runs")).unwrap();
        let record = scratch.0.join("k8s.io:runs.json");
        let before = fs::read(&record).unwrap();
        fs::remove_file(&record).unwrap();
        calls.write(&scratch.subject("runs")).unwrap();
        assert_eq!(fs::read(&record).unwrap(), before);
    }
}
