//! What can go wrong in a verb, and the one place where it becomes a ttrpc code.

use thiserror::Error;
use ttrpc::Code;

use super::io::StdioError;
use super::mount::MountError;
use super::state::IllegalMove;
use crate::attest::NotAttested;
use crate::bundle::PrivateDirError;
use crate::cgroup::CgroupError;
use crate::gate::GateError;
use crate::log;
use crate::runtime::RuntimeError;

/// Why a verb failed.
#[derive(Debug, Error)]
pub enum TaskError {
    /// No such container.
    #[error("container {0:?} not found")]
    NoContainer(String),
    /// No such process in the container.
    #[error("process {exec:?} of container {id:?} not found")]
    NoProcess {
        /// The container.
        id: String,
        /// The exec id, empty for init.
        exec: String,
    },
    /// The process has ended.
    #[error("process already finished")]
    Finished,
    /// Init was gone before the shim could hold on to it.
    #[error("the container's process ended while it was created")]
    EndedEarly,
    /// The container or exec id is taken.
    #[error("{0:?} already exists")]
    Exists(String),
    /// The state doesn't allow the verb.
    #[error(transparent)]
    Move(#[from] IllegalMove),
    /// The gate refused, or could not decide.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// A process is not what was decided, and was killed.
    #[error(transparent)]
    NotAttested(#[from] NotAttested),
    /// What was decided can't be compared with anything.
    #[error("palisade: attestation")]
    Attestation(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The runtime failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// stdio can't be set up.
    #[error("stdio")]
    Stdio(#[from] StdioError),
    /// The rootfs can't be mounted or unmounted.
    #[error("rootfs")]
    Mount(#[from] MountError),
    /// The cgroup can't be read or changed.
    #[error("cgroup")]
    Cgroup(#[from] CgroupError),
    /// The private directory can't be used.
    #[error(transparent)]
    PrivateDir(#[from] PrivateDirError),
    /// The kernel refused a system call of the verb.
    #[error("{action}")]
    System {
        /// What was done.
        action: &'static str,
        /// The kernel's reason.
        #[source]
        source: std::io::Error,
    },
    /// The request holds something that no client sends.
    #[error("{field} {value:?} is not valid")]
    Invalid {
        /// The field of the request.
        field: &'static str,
        /// What it held.
        value: String,
    },
    /// The shim was told to end.
    #[error("the shim is shutting down")]
    Closing,
    /// The verb is not offered.
    #[error("{0} is not implemented by palisade")]
    Unimplemented(&'static str),
}

impl TaskError {
    fn code(&self) -> Code {
        match self {
            Self::NoContainer(_) | Self::NoProcess { .. } | Self::Finished => Code::NOT_FOUND,
            Self::Cgroup(CgroupError::Gone { .. }) => Code::NOT_FOUND,
            Self::Closing => Code::UNAVAILABLE,
            Self::Exists(_) | Self::PrivateDir(PrivateDirError::Exists { .. }) => Code::ALREADY_EXISTS,
            Self::Move(_) => Code::FAILED_PRECONDITION,
            Self::Gate(GateError::Denied(_)) | Self::NotAttested(_) => Code::PERMISSION_DENIED,
            Self::Gate(_) => Code::FAILED_PRECONDITION,
            Self::Invalid { .. } => Code::INVALID_ARGUMENT,
            Self::Unimplemented(_) => Code::UNIMPLEMENTED,
            Self::Runtime(RuntimeError::Deadline { .. }) => Code::DEADLINE_EXCEEDED,
            Self::EndedEarly
            | Self::Attestation(_)
            | Self::Runtime(_)
            | Self::Stdio(_)
            | Self::Mount(_)
            | Self::Cgroup(_)
            | Self::PrivateDir(_)
            | Self::System { .. } => Code::UNKNOWN,
        }
    }
}

impl From<TaskError> for ttrpc::Error {
    fn from(error: TaskError) -> Self {
        Self::RpcStatus(ttrpc::get_status(error.code(), log::chain(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_what_containerd_acts_on() {
        let code = |error: TaskError| match ttrpc::Error::from(error) {
            ttrpc::Error::RpcStatus(status) => status.code.enum_value_or_default(),
            other => panic!("{other:?}"),
        };
        assert_eq!(code(TaskError::NoContainer("c".into())), Code::NOT_FOUND);
        assert_eq!(code(TaskError::Finished), Code::NOT_FOUND);
        assert_eq!(code(TaskError::Unimplemented("Checkpoint")), Code::UNIMPLEMENTED);
        assert_eq!(
            code(super::super::state::TaskState::Stopped.may_start().unwrap_err().into()),
            Code::FAILED_PRECONDITION
        );
    }
}
