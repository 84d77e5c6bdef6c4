//! Why a call failed, as one enum that every command shares.

use std::io;
use std::path::PathBuf;

use libcgroups::systemd::manager::SystemdManagerError;
use libcontainer::error::LibcontainerError;
use thiserror::Error;

use super::arguments::ArgumentError;
use super::cgroup::CgroupError;
use super::credentials::CredentialError;
use super::devices::DeviceFilterError;
use super::filter::FilterError;
use super::id::ContainerId;
use super::spec::SpecError;
use super::state::{StateError, Status};

/// A failed call.
#[derive(Debug, Error)]
pub(super) enum RuntimeFailure {
    /// The command line.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The spec, or a process of an exec.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The seccomp filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The limits.
    #[error("linux.resources")]
    Limits(#[source] crate::cgroup::CgroupError),
    /// systemd.
    #[error("set the limits of the systemd unit")]
    SystemdUnit(#[source] Box<SystemdManagerError>),
    /// The device filter of cgroup v2.
    #[error(transparent)]
    Devices(#[from] DeviceFilterError),
    /// What the credentials should be can't be said.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// libcontainer failed. Its errors are text already when they come from the container's process.
    #[error("{reason}")]
    Libcontainer {
        /// What went wrong, innermost cause last.
        reason: String,
    },
    /// A process that this runtime has started itself. It can tell no more than a text.
    #[error("{reason}")]
    Process {
        /// What went wrong, innermost cause last.
        reason: String,
    },
    /// A part of libcontainer that runs in this process.
    #[error("{doing}")]
    Step {
        /// What was being done.
        doing: &'static str,
        /// Its reason.
        #[source]
        source: Box<LibcontainerError>,
    },
    /// The command does not fit the container's state.
    #[error("cannot {verb} container {id}: it is {status}")]
    WrongStatus {
        /// The command.
        verb: &'static str,
        /// The container.
        id: ContainerId,
        /// Its state.
        status: Status,
    },
    /// A system call on a file.
    #[error("{doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// A system call on something without a name.
    #[error("{doing}")]
    Kernel {
        /// What was being done.
        doing: &'static str,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// `process.oomScoreAdj` asks for more protection than the runtime can give.
    #[error("process.oomScoreAdj: {wanted} needs CAP_SYS_RESOURCE, which the runtime lacks")]
    OomScore {
        /// The spec's value.
        wanted: i32,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The binary can't be kept from being written by the container.
    #[error("start from a read-only copy of the runtime binary")]
    Seal(#[source] io::Error),
    /// stdout.
    #[error("write the answer")]
    Print(#[source] io::Error),
    /// A document that can't be written as JSON.
    #[error("{what} as JSON")]
    Json {
        /// The document.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl RuntimeFailure {
    pub(super) fn deadline(source: io::Error) -> Self {
        Self::Kernel { doing: "set the deadline", source }
    }

    pub(super) fn step<E: Into<LibcontainerError>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Step { doing, source: Box::new(source.into()) }
    }

    pub(super) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }

    pub(super) fn kernel(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Kernel { doing, source }
    }
}
