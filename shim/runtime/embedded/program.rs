//! What a container's process becomes: a program with arguments, environment, credentials and filter.
//!
//! libcontainer is built without libseccomp (a C library), and would run an exec without any filter. So the filter,
//! compiled before the process existed, is loaded here, for init and exec alike:
//!
//! * with no_new_privs right before the execve, so that it need not allow what the runtime itself calls;
//! * without, while a `CAP_SYS_ADMIN` is there that is given up again at once. runc loads it at that point too, and such a
//!   filter must allow what runc's would have to: capset, close, execve, and for init sendmsg, accept4, recvfrom, read.

use std::ffi::CString;
use std::fmt::Display;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use nix::sys::signal::SigSet;
use oci_spec::runtime::Process;

use super::credentials::{CredentialError, Credentials, Ids};
use super::environment;
use super::executable::{self, LookupError};
use super::filter::{Filter, FilterError, Listener};
use crate::unsafe_syscalls;

/// A program that was not started yet.
#[derive(Clone)]
pub(super) struct Program {
    credentials: Credentials,
    ids: Ids,
    filter: Filter,
    listener: Option<Listener>,
    args: Vec<String>,
    env: Vec<String>,
}

/// Why a process can't become its program.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    /// The credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// An argument.
    #[error("a NUL byte in an argument")]
    Nul(#[from] std::ffi::NulError),
    /// The kernel refuses a system call.
    #[error(transparent)]
    Kernel(#[from] io::Error),
}

impl Program {
    pub(super) fn new(process: &Process, credentials: Credentials, filter: Filter) -> Self {
        Self {
            credentials,
            ids: Ids::of(process.user()),
            filter,
            listener: None,
            args: process.args().clone().unwrap_or_default(),
            env: process.env().clone().unwrap_or_default(),
        }
    }

    /// With a shim that is asked about its calls.
    pub(super) fn asking(self, listener: Option<Listener>) -> Self {
        Self { listener, ..self }
    }

    /// As the spec names it.
    pub(super) fn name(&self) -> &str {
        self.args.first().map(String::as_str).unwrap_or_default()
    }

    /// The file that it is, by the container's own `PATH`. Looked for inside the container, as its user.
    pub(super) fn find(&self) -> Result<PathBuf, LookupError> {
        executable::find(self.name(), environment::value(&self.env, "PATH"))
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Whether the process needs `CAP_SYS_ADMIN` until its filter is loaded.
    pub(super) fn loads_with_privilege(&self) -> bool {
        !self.filter.is_empty() && !self.credentials.no_new_privs()
    }

    /// Loads the filter and gives the privilege for it up.
    pub(super) fn load_with_privilege(&self) -> Result<(), ProgramError> {
        self.ids.verify()?;
        self.credentials.verify_before_loading()?;
        self.load_filter()?;
        self.credentials.give_up_loading()?;
        Ok(())
    }

    /// Loads the filter and asks the kernel whether it is in force.
    fn load_filter(&self) -> Result<(), FilterError> {
        self.filter.load_for(self.listener.as_ref())?;
        self.filter.verify(self.listener.is_some())
    }

    /// Everything up to the execve, which returns only on failure. `home` is the user's directory.
    pub(super) fn run(&self, file: PathBuf, home: Option<&str>) -> Result<(), ProgramError> {
        let file = CString::new(file.into_os_string().into_vec())?;
        let args: Result<Vec<CString>, _> = self.args.iter().map(|arg| CString::new(arg.as_str())).collect();
        let env = environment::compose(&self.env, home);
        let args = args?;
        // Rust programs ignore SIGPIPE, and what is ignored stays so over an execve.
        unsafe_syscalls::reset_signal_dispositions();
        SigSet::empty().thread_set_mask().map_err(io::Error::from)?;
        if !self.loads_with_privilege() {
            self.ids.verify()?;
            self.credentials.verify()?;
            self.load_filter()?;
        }
        match nix::unistd::execve(&file, &args, &env) {
            Ok(never) => match never {},
            Err(errno) => Err(io::Error::from(errno).into()),
        }
    }
}

/// An error with its causes, as everybody knows the kernel's: `exec format error`, without a number.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = without_number(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&without_number(error));
        cause = error.source();
    }
    text
}

fn without_number(error: &(impl Display + ?Sized)) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((text, _)) => text.to_lowercase(),
        None => text,
    }
}
