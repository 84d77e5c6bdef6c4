//! Why a cgroup could not be found, read, changed or emptied.

use std::io;
use std::path::{Path, PathBuf};

use containerd_shim_protos::protobuf;

/// What went wrong with a cgroup. Each variant names the file or directory it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// The kernel refused an operation on a cgroup file or directory.
    #[error("cgroup: cannot {action} {}", path.display())]
    Io {
        /// The verb: `open`, `read`, `write`, `list`, `remove`, `kill`, `watch`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The cgroup was removed in the meantime.
    #[error("cgroup: {} is gone", path.display())]
    Gone {
        /// The directory that was the cgroup.
        path: PathBuf,
    },
    /// A kernel file does not look as the kernel documents it. Nothing is guessed from it.
    #[error("cgroup: {} has a line that is not understood: `{line}`", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, as read.
        line: String,
    },
    /// The file that a limit is written to does not exist: the controller is off or the kernel has no such limit.
    #[error("cgroup: {} does not exist, so this limit cannot be set; enable the controller or drop the limit", path.display())]
    NoSuchLimit {
        /// The file that is missing.
        path: PathBuf,
    },
    /// The container has no cgroup of its own under this controller.
    #[error("cgroup: the container has no cgroup of its own for controller `{controller}`")]
    NoController {
        /// The controller, by its v1 name.
        controller: &'static str,
    },
    /// The process is in no cgroup of its own at all, only in root cgroups or in the shim's.
    #[error(
        "cgroup: {process} is in no cgroup of its own (only in a root cgroup or the shim's); set linux.cgroupsPath"
    )]
    NotOwn {
        /// The process or the path that was asked for.
        process: String,
    },
    /// A path that leads out of the cgroup mounts.
    #[error("cgroup: path `{path}` is not a cgroup path below a mounted hierarchy")]
    OutOfReach {
        /// The path, as found.
        path: String,
    },
    /// A resource whose value cannot be applied.
    #[error("cgroup: {field} = `{value}` cannot be applied; allowed: {allowed}")]
    Refused {
        /// The place below `linux.resources`.
        field: &'static str,
        /// The value found.
        value: String,
        /// What would be accepted.
        allowed: &'static str,
    },
    /// Processes outlived every bounded try.
    #[error("cgroup: {} still holds {left} processes", path.display())]
    StillPopulated {
        /// The cgroup.
        path: PathBuf,
        /// How many are left.
        left: usize,
    },
    /// The freezer did not reach the asked state in time.
    #[error("cgroup: {} did not become {wanted} in time", path.display())]
    NotSettled {
        /// The cgroup.
        path: PathBuf,
        /// `frozen` or `thawed`.
        wanted: &'static str,
    },
    /// The metrics message could not be encoded.
    #[error("cgroup: the metrics cannot be encoded")]
    Unencodable {
        /// What protobuf objects to.
        #[source]
        source: protobuf::Error,
    },
}

impl CgroupError {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.into(), source: source.into() }
    }

    pub(super) fn malformed(path: impl AsRef<Path>, line: &str) -> Self {
        Self::Malformed { path: path.as_ref().to_path_buf(), line: line.to_owned() }
    }

    /// Whether the cgroup had been removed before the operation, which a caller that cleans up wants anyway.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    pub(super) fn is_invalid_argument(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::InvalidInput)
    }
}
