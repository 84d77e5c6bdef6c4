//! Why a seccomp profile is refused.

use oci_spec::runtime::LinuxSeccompAction;

/// A seccomp profile holds something that is not understood or that would hand a decision to somebody else.
///
/// `place` is a JSON pointer inside the seccomp object (`/syscalls/3/action`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusedProfile {
    /// SCMP_ACT_NOTIFY and SCMP_ACT_TRACE let another process decide about the call.
    #[error("{place}: {action} lets another process decide; use SCMP_ACT_ERRNO or SCMP_ACT_LOG")]
    Action {
        /// Where the action stands.
        place: String,
        /// The action.
        action: LinuxSeccompAction,
    },
    /// `listenerPath` and `listenerMetadata` make the runtime hand a notification fd to a host socket.
    #[error("{place}: a seccomp listener is not allowed; remove it")]
    Listener {
        /// Which of the two keys.
        place: String,
    },
    /// `errnoRet` beside an action that returns no errno: an error by the OCI runtime-spec.
    #[error("{place}: {action} takes no errnoRet; remove it or use SCMP_ACT_ERRNO")]
    ErrnoWithoutErrnoAction {
        /// Where the action stands.
        place: String,
        /// The action.
        action: LinuxSeccompAction,
    },
    /// The kernel would cut the errno to 4095.
    #[error("{place}: errno {errno} is above 4095")]
    ErrnoTooLarge {
        /// Where the action stands.
        place: String,
        /// The value.
        errno: u32,
    },
    /// An entry without names: the OCI runtime-spec demands at least one.
    #[error("{place}: an entry must name at least one syscall")]
    NoNames {
        /// Where the names should stand.
        place: String,
    },
    /// A system call has six arguments.
    #[error("{place}: argument index {index} is above 5")]
    ArgumentIndex {
        /// Where the argument stands.
        place: String,
        /// The index.
        index: usize,
    },
    /// More entries than any real profile has: judging them would take long.
    #[error("{place}: {count} entries, at most {max} are read")]
    TooLarge {
        /// What is too many.
        place: String,
        /// How many there are.
        count: usize,
        /// How many are read.
        max: usize,
    },
}
