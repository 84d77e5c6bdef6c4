//! What the runtime keeps of a container: one directory `<root>/<id>`, mode 0700.
//!
//! ```text
//! record.json          who the container is; written before and after create, never by later commands
//! config.json          the spec that libcontainer gets at create
//! exec/config.json     the part of it that an exec needs
//! seccomp.bpf          the compiled filter, the same bytes for init and every exec
//! libcontainer/<id>/   libcontainer's own directory, with notify.sock while the container waits for start
//! ```
//!
//! The status is never stored. It is read from the kernel and from whether `notify.sock` is still there.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Hook;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::cgroup::ContainerCgroup;
use super::id::ContainerId;
use super::init_process::InitProcess;

/// Most bytes of a record that are read.
const MAX_RECORD: u64 = 1 << 20;

/// Why the state of a container can't be used.
#[derive(Debug, Error)]
pub(super) enum StateError {
    /// There is no such container.
    #[error("container {id} does not exist")]
    NotFound {
        /// The id.
        id: ContainerId,
    },
    /// There already is one.
    #[error("container with id exists: {id}")]
    Exists {
        /// The id.
        id: ContainerId,
    },
    /// A file of the state directory.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// A record that this version can't read.
    #[error("the state of container {id} is damaged: {}", path.display())]
    Damaged {
        /// The id.
        id: ContainerId,
        /// The record.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// OCI container states, and `paused` as runc has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// `create` has not ended, or was killed.
    Creating,
    /// The init process waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// The program is frozen.
    Paused,
    /// The init process is gone.
    Stopped,
}

impl Status {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is written down of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Record {
    pub(super) oci_version: String,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    /// RFC 3339.
    pub(super) created: String,
    pub(super) annotations: HashMap<String, String>,
    pub(super) cgroup: ContainerCgroup,
    /// Hooks that run in the host's namespaces after `start` and after `delete`.
    pub(super) poststart: Vec<Hook>,
    pub(super) poststop: Vec<Hook>,
    /// Unknown while `create` runs.
    pub(super) init: Option<InitProcess>,
}

/// The state directory of one container.
#[derive(Debug)]
pub(super) struct StateDir {
    id: ContainerId,
    path: PathBuf,
}

impl StateDir {
    /// Makes the directory; the id is taken from then on.
    pub(super) fn create(root: &Path, id: &ContainerId) -> Result<Self, StateError> {
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700).recursive(true);
        builder.create(root).map_err(io_error("make", root))?;
        let root = root.canonicalize().map_err(io_error("resolve", root))?;
        let path = root.join(id);
        match builder.recursive(false).create(&path) {
            Ok(()) => Ok(Self { id: id.clone(), path }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(StateError::Exists { id: id.clone() }),
            Err(error) => Err(io_error("make", &path)(error)),
        }
    }

    /// The directory of a container that exists.
    pub(super) fn open(root: &Path, id: &ContainerId) -> Result<Self, StateError> {
        let path = root.join(id);
        match path.canonicalize() {
            Ok(path) => Ok(Self { id: id.clone(), path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StateError::NotFound { id: id.clone() }),
            Err(error) => Err(io_error("open", &path)(error)),
        }
    }

    pub(super) fn id(&self) -> &ContainerId {
        &self.id
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where `exec/config.json` is.
    pub(super) fn exec_bundle(&self) -> PathBuf {
        self.path.join("exec")
    }

    /// The compiled seccomp filter.
    pub(super) fn filter(&self) -> PathBuf {
        self.path.join("seccomp.bpf")
    }

    /// What libcontainer gets as its root directory.
    pub(super) fn libcontainer_root(&self) -> PathBuf {
        self.path.join("libcontainer")
    }

    /// The socket that the init process waits on.
    pub(super) fn notify_socket(&self) -> PathBuf {
        self.libcontainer_root().join(&self.id).join("notify.sock")
    }

    /// A FIFO that init holds open for writing until its execve.
    pub(super) fn execve_fifo(&self) -> PathBuf {
        self.path().join("execve")
    }

    /// The record.
    pub(super) fn record(&self) -> Result<Record, StateError> {
        let path = self.record_path();
        let size = fs::metadata(&path).map_err(io_error("read", &path))?.len();
        if size > MAX_RECORD {
            return Err(io_error("read", &path)(io::ErrorKind::FileTooLarge.into()));
        }
        let text = fs::read(&path).map_err(io_error("read", &path))?;
        serde_json::from_slice(&text).map_err(|source| StateError::Damaged { id: self.id.clone(), path, source })
    }

    /// Writes the record in one step: a reader sees the old one or the new one.
    pub(super) fn save(&self, record: &Record) -> Result<(), StateError> {
        let path = self.record_path();
        let text = serde_json::to_vec(record).map_err(|error| io_error("write", &path)(error.into()))?;
        let new = self.path.join("record.new");
        write_private(&new, &text).map_err(io_error("write", &new))?;
        fs::rename(&new, &path).map_err(io_error("rename", &new))
    }

    /// Removes the directory; the id is free from then on.
    pub(super) fn remove(self) -> Result<(), StateError> {
        fs::remove_dir_all(&self.path).map_err(io_error("remove", &self.path))
    }

    /// The status, from the kernel.
    pub(super) fn status(&self, record: &Record) -> Status {
        let Some(init) = record.init else { return Status::Creating };
        if !init.is_alive() {
            Status::Stopped
        } else if self.notify_socket().exists() {
            Status::Created
        } else if record.cgroup.is_frozen() {
            Status::Paused
        } else {
            Status::Running
        }
    }

    fn record_path(&self) -> PathBuf {
        self.path.join("record.json")
    }
}

/// Writes a file that root alone reads, in place of an older one.
pub(super) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)
}

pub(super) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { doing, path, source }
}
