//! The program of a container's system call profile, for the embedded runtime.
//!
//! The shim compiles it while the root filesystem is mounted, so that the runtime, for whose end containerd waits, neither reads hundreds of
//! names nor sorts them. Other runtimes read the profile itself.

use std::path::{Path, PathBuf};

use palisade_policy::HardenedSpec;
use palisade_seccomp::CompileError;

use super::choice::OciRuntime;
use crate::bundle::{PrivateDir, PrivateDirError};

/// Its file in the private directory.
const FILE: &str = "filter";

/// A program that a runtime is to load in place of a profile.
#[derive(Debug)]
pub struct FilterProgram(Vec<u8>);

/// The file of a program.
#[derive(Debug, Clone)]
pub struct FilterFile(PathBuf);

impl FilterProgram {
    /// The program for `runtime`; none if the container has no profile, or if the runtime reads the profile.
    ///
    /// # Errors
    ///
    /// A profile that can't be put in force. The container must then not be created.
    pub fn of(spec: &HardenedSpec, runtime: &OciRuntime) -> Result<Option<Self>, CompileError> {
        let profile = spec.seccomp().filter(|_| runtime.is_embedded());
        profile.map(|profile| palisade_seccomp::compile(profile).map(|compiled| Self(compiled.to_bytes()))).transpose()
    }

    /// Writes it into the container's private directory.
    ///
    /// # Errors
    ///
    /// [`PrivateDirError::Io`].
    pub fn write(&self, dir: &PrivateDir) -> Result<FilterFile, PrivateDirError> {
        dir.write_new(FILE, &self.0).map(FilterFile)
    }
}

impl FilterFile {
    /// Option of `create`.
    pub(crate) const OPTION: &str = "seccomp-program";

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}
