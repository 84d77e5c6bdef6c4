//! The process that is added to a container, from its first instruction inside to its execve.

use std::io;
use std::path::Path;

use nix::sys::personality::{self, Persona};
use oci_spec::runtime::{LinuxPersonalityDomain, Process};
use rustix::fs::Mode;
use rustix::process::{chdir, getcwd, setsid, umask};
use thiserror::Error;

use super::channel::ChildEnds;
use super::terminal::ConsoleConnection;
use crate::runtime::embedded::credentials::{CredentialError, Credentials};
use crate::runtime::embedded::environment;
use crate::runtime::embedded::executable::LookupError;
use crate::runtime::embedded::null_device;
use crate::runtime::embedded::program::{Program, ProgramError, chain};
use crate::unsafe_syscalls::{close_on_exec_from, end_now};

/// Descriptors that a program gets: its streams.
const STREAMS: u32 = 3;

/// Why a process does not get as far as its program.
#[derive(Debug, Error)]
enum NewcomerError {
    #[error("{doing}")]
    Kernel { doing: &'static str, source: io::Error },
    #[error("chdir to process.cwd {0:?}")]
    WorkingDirectory(String, #[source] io::Error),
    /// A directory outside of the container's root, which a leaked descriptor can lead to (CVE-2024-21626).
    #[error("process.cwd {0:?} is outside of the container's root")]
    Outside(String),
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("exec {0}")]
    Program(String, #[source] ProgramError),
}

fn kernel<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> NewcomerError {
    move |source| NewcomerError::Kernel { doing, source: source.into() }
}

/// What it becomes.
pub(super) struct Newcomer<'a> {
    pub(super) process: &'a Process,
    pub(super) program: Program,
    pub(super) personality: Option<LinuxPersonalityDomain>,
    pub(super) console: Option<ConsoleConnection>,
}

impl Newcomer<'_> {
    /// Becomes the program, or tells why not and ends.
    pub(super) fn begin(self, mut channels: ChildEnds) -> ! {
        if channels.wait_for_go().is_ok() {
            let error = match self.become_program() {
                Ok(never) => match never {},
                Err(error) => error,
            };
            channels.tell_failure(&chain(&error));
        }
        end_now(1)
    }

    fn become_program(self) -> Result<std::convert::Infallible, NewcomerError> {
        let Self { process, program, personality, console } = self;
        setsid().map_err(kernel("start a session"))?;
        console.map_or(Ok(()), ConsoleConnection::give_terminal).map_err(kernel("set up the terminal"))?;
        null_device::replace().map_err(kernel("open /dev/null of the container"))?;
        set_personality(personality).map_err(kernel("set linux.personality"))?;
        if let Some(mask) = process.user().umask() {
            umask(Mode::from_raw_mode(mask));
        }
        close_on_exec_from(STREAMS).map_err(kernel("close descriptors"))?;
        // As root, who may enter what the user may not; where even root may not (a network filesystem), the user may.
        let entered = enter(process.cwd());
        let credentials = program.credentials();
        credentials.drop_bounding()?;
        Credentials::become_user(process.user())?;
        credentials.take_on(program.loads_with_privilege())?;
        entered.or_else(|_| enter(process.cwd()))?;
        let file = program.find()?;
        let home = environment::home_of(process.user().uid());
        let failed = |error| NewcomerError::Program(program.name().to_owned(), error);
        if program.loads_with_privilege() {
            program.load_with_privilege().map_err(failed)?;
        }
        program.run(file, home.as_deref()).map_err(failed)?;
        Err(kernel("execve")(io::Error::from(io::ErrorKind::Other)))
    }
}

fn enter(cwd: &Path) -> Result<(), NewcomerError> {
    let name = || cwd.display().to_string();
    chdir(cwd).map_err(|errno| NewcomerError::WorkingDirectory(name(), errno.into()))?;
    let entered = getcwd(Vec::new()).map_err(|errno| NewcomerError::WorkingDirectory(name(), errno.into()))?;
    // The kernel writes "(unreachable)" in front of what the root does not contain. Source: getcwd(2).
    if entered.to_bytes().starts_with(b"/") { Ok(()) } else { Err(NewcomerError::Outside(name())) }
}

fn set_personality(domain: Option<LinuxPersonalityDomain>) -> io::Result<()> {
    let persona = match domain {
        None => return Ok(()),
        Some(LinuxPersonalityDomain::PerLinux) => Persona::empty(),
        // PER_LINUX32 of linux/personality.h.
        Some(LinuxPersonalityDomain::PerLinux32) => Persona::from_bits_retain(0x0008),
    };
    personality::set(persona).map(drop).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = enter(Path::new("/no/such")).unwrap_err();
        assert_eq!(chain(&error), "chdir to process.cwd \"/no/such\": no such file or directory");
    }
}
