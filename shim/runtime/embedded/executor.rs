//! The last steps of a container's init process, in libcontainer's hands until then.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::PathBuf;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};

use super::environment;
use super::null_device;
use super::program::{Program, chain};

/// What init becomes.
#[derive(Clone)]
pub(super) struct ContainerExecutor {
    program: Program,
    found: RefCell<Found>,
}

/// What is found out inside the container.
#[derive(Clone, Default)]
struct Found {
    file: PathBuf,
    home: Option<String>,
}

impl ContainerExecutor {
    pub(super) fn new(program: Program) -> Self {
        Self { program, found: RefCell::default() }
    }
}

impl Executor for ContainerExecutor {
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        null_device::replace().map_err(|error| {
            ExecutorValidationError::ArgValidationError(format!("open /dev/null of the container: {error}"))
        })?;
        let found = self.program.find();
        let found = found.map_err(|error| ExecutorValidationError::ArgValidationError(error.to_string()))?;
        self.found.borrow_mut().file = found;
        Ok(())
    }

    fn setup_envs(&self, envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        self.found.borrow_mut().home = environment::home(envs);
        if self.program.loads_with_privilege() {
            self.program.load_with_privilege().map_err(|error| ExecutorSetEnvsError::Other(chain(&error)))?;
        }
        Ok(())
    }

    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        let Found { file, home } = self.found.take();
        let failed = match self.program.run(file, home.as_deref()) {
            Ok(()) => return Ok(()),
            Err(error) => chain(&error),
        };
        let message = format!("exec {}: {failed}", self.program.name());
        // After `start` nobody listens any more but the reader of the container's own stderr.
        drop(io::stderr().write_all(format!("{message}\n").as_bytes()));
        Err(ExecutorError::Other(message))
    }
}
