//! What a container was seen to call.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use oci_spec::runtime::LinuxSeccomp;
use palisade_policy::Identity;
use palisade_seccomp::{Call, Seen};
use serde::{Deserialize, Serialize};

use super::subject::Subject;

/// Records that are kept. Containers that come and go without end are not to fill the disk.
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

    /// Writes the record, if it has changed, as a whole.
    pub(super) fn write(&mut self, subject: &Subject) -> io::Result<()> {
        if !self.changed || self.refused {
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

fn write(directory: &Path, record: &CallRecord) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // Both are checked to be one path component each, without a colon.
    let name = format!("{}:{}.json", record.namespace, record.container);
    let path = directory.join(&name);
    if !path.exists() && fs::read_dir(directory)?.count() >= MOST {
        return Err(io::Error::other(format!("{} holds {MOST} records; remove some", directory.display())));
    }
    let fresh = directory.join(format!(".{name}.{}", std::process::id()));
    // One that a shim of this number left behind.
    if fresh.symlink_metadata().is_ok() {
        fs::remove_file(&fresh)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    fs::rename(fresh, path)
}
