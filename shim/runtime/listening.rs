//! What the shim wants to be asked about by a container's filter. The embedded runtime alone can do it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Which calls the shim is asked about, over the listener that comes to a datagram socket at this path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listening {
    /// Those that the filter refuses with an errno other than ENOSYS, to report them.
    Refusals(PathBuf),
    /// Those that it lets run, to learn what a workload needs.
    Calls(PathBuf),
}

impl Listening {
    /// Options of `create` and `exec`.
    pub(crate) const REFUSALS: &str = "report-refusals";
    /// See [`Self::REFUSALS`].
    pub(crate) const CALLS: &str = "record-calls";

    /// Where the listener is to be sent.
    #[must_use]
    pub fn socket(&self) -> &Path {
        match self {
            Self::Refusals(socket) | Self::Calls(socket) => socket,
        }
    }

    pub(super) fn write(&self, command: &mut Command) {
        let name = match self {
            Self::Refusals(_) => Self::REFUSALS,
            Self::Calls(_) => Self::CALLS,
        };
        command.arg(format!("--{name}")).arg(self.socket());
    }
}
