//! The last steps of a container's process, in libcontainer's init and exec alike.
//!
//! libcontainer is built without libseccomp (a C library), and its exec would run without any filter. So the filter,
//! compiled before the process existed, is loaded here:
//!
//! * with no_new_privs right before the execve, so that it need not allow what the runtime itself calls;
//! * without, before `create` returns, with a `CAP_SYS_ADMIN` that is given up again at once. runc loads it there too,
//!   and such a filter must allow what runc's would have to: capset, sendmsg, accept4, recvfrom, read, close, execve.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use libcontainer::oci_spec::runtime::{Process, Spec};
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::sys::signal::SigSet;

use super::credentials::Credentials;
use super::filter::Filter;
use super::{environment, executable};
use crate::unsafe_syscalls;

/// What a container's process becomes.
#[derive(Clone)]
pub(super) struct ContainerExecutor {
    credentials: Credentials,
    filter: Filter,
    args: Vec<String>,
    env: Vec<String>,
    found: RefCell<Found>,
}

/// What is found out inside the container.
#[derive(Clone, Default)]
struct Found {
    program: PathBuf,
    home: Option<String>,
}

impl ContainerExecutor {
    pub(super) fn new(process: &Process, credentials: Credentials, filter: Filter) -> Self {
        Self {
            credentials,
            filter,
            args: process.args().clone().unwrap_or_default(),
            env: process.env().clone().unwrap_or_default(),
            found: RefCell::default(),
        }
    }

    /// Whether the process needs `CAP_SYS_ADMIN` until its filter is loaded.
    pub(super) fn loads_with_privilege(&self) -> bool {
        !self.filter.is_empty() && !self.credentials.no_new_privs()
    }

    fn load_with_privilege(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.credentials.verify_before_loading()?;
        self.filter.load()?;
        self.credentials.give_up_loading()?;
        Ok(())
    }

    /// Everything up to the execve, which returns only on failure.
    fn become_program(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let found = self.found.take();
        let program = CString::new(found.program.into_os_string().into_vec())?;
        let args: Result<Vec<CString>, _> = self.args.iter().map(|arg| CString::new(arg.as_str())).collect();
        let env = environment::compose(&self.env, found.home.as_deref());
        let args = args?;
        // Rust programs ignore SIGPIPE, and what is ignored stays so over an execve.
        unsafe_syscalls::reset_signal_dispositions();
        SigSet::empty().thread_set_mask()?;
        if !self.loads_with_privilege() {
            self.credentials.verify()?;
            self.filter.load()?;
        }
        match nix::unistd::execve(&program, &args, &env) {
            Ok(never) => match never {},
            Err(errno) => Err(io::Error::from(errno).into()),
        }
    }
}

impl Executor for ContainerExecutor {
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        let program = self.args.first().map(String::as_str).unwrap_or_default();
        let found = executable::find(program, environment::value(&self.env, "PATH"))
            .map_err(|error| ExecutorValidationError::ArgValidationError(error.to_string()))?;
        self.found.borrow_mut().program = found;
        Ok(())
    }

    fn setup_envs(&self, envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        self.found.borrow_mut().home = environment::home(envs);
        if self.loads_with_privilege() {
            self.load_with_privilege().map_err(|error| ExecutorSetEnvsError::Other(chain(&*error)))?;
        }
        Ok(())
    }

    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        let failed = match self.become_program() {
            Ok(()) => return Ok(()),
            Err(error) => chain(&*error),
        };
        let program = self.args.first().map(String::as_str).unwrap_or_default();
        let message = format!("exec {program}: {failed}");
        // After `start` nobody listens any more but the reader of the container's own stderr.
        drop(io::stderr().write_all(format!("{message}\n").as_bytes()));
        Err(ExecutorError::Other(message))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = without_number(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&without_number(error));
        cause = error.source();
    }
    text
}

/// `Exec format error (os error 8)` is `exec format error` to everybody who looks for it.
fn without_number(error: &(impl Display + ?Sized)) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((text, _)) => text.to_lowercase(),
        None => text,
    }
}
