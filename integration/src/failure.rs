//! Why the harness could not do what a test asked for.

use std::io;
use std::path::Path;

/// One failed step, with what a reader of a test log needs to know about it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An operating system call.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was to be done, beginning with a verb.
        action: String,
        /// What the system answered.
        source: io::Error,
    },
    /// A command that should have succeeded.
    #[error("`{command}` ended with {ending}: {output}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status.
        ending: String,
        /// Its standard output and error.
        output: String,
    },
    /// A gRPC call that should have succeeded.
    #[error("{call} answered {code:?}: {message}")]
    Rpc {
        /// The method.
        call: &'static str,
        /// The gRPC code.
        code: tonic::Code,
        /// The server's text.
        message: String,
    },
    /// Something awaited that did not come.
    #[error("{what} did not come within {seconds} s; last seen: {last}")]
    Late {
        /// What was awaited.
        what: String,
        /// How long.
        seconds: u64,
        /// What was there instead.
        last: String,
    },
    /// A prerequisite that is not on this machine.
    #[error("{what} is missing: {mend}")]
    Missing {
        /// What is missing.
        what: String,
        /// How to get it.
        mend: String,
    },
    /// A file or an output with another content than its format has.
    #[error("cannot read {what}: {detail}")]
    Unreadable {
        /// What was read.
        what: String,
        /// Why not.
        detail: String,
    },
    /// What tests left behind.
    #[error("left behind: {0}")]
    LeftBehind(String),
}

impl Failure {
    /// Names the file system action that an error belongs to.
    pub fn io(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let action = format!("{verb} {}", path.display());
        move |source| Self::Io { action, source }
    }

    /// Names the action that a system call's error belongs to.
    pub fn system(action: &str) -> impl FnOnce(nix::Error) -> Self {
        let action = action.to_owned();
        move |errno| Self::Io { action, source: errno.into() }
    }

    /// Says what has another content than its format has.
    pub fn unreadable(what: &str, detail: &impl ToString) -> Self {
        Self::Unreadable { what: what.to_owned(), detail: detail.to_string() }
    }

    pub(crate) fn rpc(call: &'static str) -> impl FnOnce(tonic::Status) -> Self {
        move |status| Self::Rpc { call, code: status.code(), message: status.message().to_owned() }
    }

    /// The gRPC code and text, where a call was refused.
    #[must_use]
    pub fn refusal(&self) -> Option<(tonic::Code, &str)> {
        match self {
            Self::Rpc { code, message, .. } => Some((*code, message)),
            _ => None,
        }
    }
}
