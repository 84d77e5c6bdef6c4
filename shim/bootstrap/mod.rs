//! The shim's command line and its handshake with containerd.
//!
//! containerd runs the binary once for each of `start`, `delete` and `-info`; `start` leaves the daemon
//! behind. The handshake differs by containerd version: see [`params`].

mod delete;
mod flags;
mod group;
mod info;
mod options;
mod params;
mod socket;
mod start;
mod stragglers;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

pub use delete::DeleteError;
pub use flags::{Action, Flags, FlagsError, is_identifier};
pub use info::InfoError;
pub use options::{OptionsError, runtime_options};
pub use params::{ParamsError, Protocol, StartParams};
pub use socket::{Bound, SocketAddress, SocketError};
pub use start::StartError;
pub(crate) use start::{SOCKET_VARIABLE, TTRPC_VARIABLE};

use crate::{daemon, log};

/// Name and version, as `-v` prints them.
pub const NAME: &str = "containerd-shim-palisade-v1";

/// Runs the shim's command line. `args` are the arguments after the program name.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let flags = match Flags::parse(args) {
        Ok(flags) => flags,
        Err(error) => return fail(&error),
    };
    match flags.action() {
        Action::Version => answer(format!("{NAME}:\n  Version:  {}\n", env!("CARGO_PKG_VERSION")).as_bytes()),
        Action::Info => info::run().map_or_else(|error| fail(&error), |reply| answer(&reply)),
        Action::Start => start::run(&flags).map_or_else(|error| fail(&error), |reply| answer(&reply)),
        Action::Delete => delete::run(&flags).map_or_else(|error| fail(&error), |reply| answer(&reply)),
        Action::Daemon => {
            log::log_panics();
            daemon::run(&flags).map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
        }
    }
}

/// stdout carries the reply and nothing else: containerd parses it as a whole.
fn answer(reply: &[u8]) -> ExitCode {
    match std::io::stdout().write_all(reply) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// containerd shows stderr of a failed call to the user, so it is one line with all causes.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    drop(writeln!(std::io::stderr(), "palisade: {}", log::chain(error)));
    ExitCode::FAILURE
}
