//! The compiled seccomp filter of a container.
//!
//! It is compiled once, at create, and kept as bytes in the state directory: an exec loads exactly what init has,
//! whatever the request says, and spends no time on compiling.

mod in_force;
mod listening;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxSeccomp;
use palisade_seccomp::{CompileError, CompiledFilter, CorruptFilter, Instruction};
use thiserror::Error;

use super::state::write_private;
use crate::runtime::FilterFile;
use crate::unsafe_syscalls::{self, SockFilter};
pub(super) use listening::Listener;

/// What is stored for a container whose spec has no filter. An empty or missing file means damage, not this.
const NONE: &[u8] = b"no filter\n";

/// Why a filter can't be made, kept or loaded.
#[derive(Debug, Error)]
pub(super) enum FilterError {
    /// The profile.
    #[error("linux.seccomp")]
    Compile(#[source] CompileError),
    /// Two filters of which one would be left out.
    #[error("linux.seccomp must be absent where --{} is given", FilterFile::OPTION)]
    Twice,
    /// The stored filter.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The stored filter is not what this version writes.
    #[error("the stored seccomp filter {} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        #[source]
        source: CorruptFilter,
    },
    /// It is not in force although it was loaded.
    #[error("the seccomp filter was loaded, and a call that it decides about got {found} instead of {wanted}")]
    NotInForce {
        /// What the kernel answered.
        found: i64,
        /// What the filter says.
        wanted: i64,
    },
    /// The kernel refuses it.
    #[error("load the seccomp filter")]
    Load(#[source] io::Error),
}

/// The filter of a container, or none if its spec has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter(Option<CompiledFilter>);

impl Filter {
    /// The filter of a spec.
    pub(super) fn compile(seccomp: Option<&LinuxSeccomp>) -> Result<Self, FilterError> {
        let compiled =
            seccomp.map(|seccomp| palisade_seccomp::compile(seccomp).map_err(FilterError::Compile)).transpose()?;
        Ok(Self(compiled))
    }

    /// The filter of a spec: of its profile, or one that was compiled before.
    pub(super) fn of(seccomp: Option<&LinuxSeccomp>, compiled: Option<&Path>) -> Result<Self, FilterError> {
        match (seccomp, compiled) {
            (seccomp, None) => Self::compile(seccomp),
            (None, Some(compiled)) => Self::read(compiled),
            (Some(_), Some(_)) => Err(FilterError::Twice),
        }
    }

    /// Whether nothing would be loaded.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Puts the filter in force for this thread, for good.
    pub(super) fn load(&self) -> Result<(), FilterError> {
        let Some(compiled) = &self.0 else { return Ok(()) };
        unsafe_syscalls::load_seccomp_filter(compiled.load_flags(), &steps(compiled)).map_err(FilterError::Load)
    }

    /// The same, with the shim being asked about calls if it wants to be.
    pub(super) fn load_for(&self, listener: Option<&Listener>) -> Result<(), FilterError> {
        listener.map_or_else(|| self.load(), |listener| listener.load(self))
    }

    /// Writes it to a file.
    pub(super) fn save(&self, path: &Path) -> Result<(), FilterError> {
        let bytes = self.0.as_ref().map_or_else(|| NONE.to_vec(), CompiledFilter::to_bytes);
        write_private(path, &bytes).map_err(io_error("write", path))
    }

    /// Reads it back.
    pub(super) fn read(path: &Path) -> Result<Self, FilterError> {
        let bytes = fs::read(path).map_err(io_error("read", path))?;
        if bytes == NONE {
            return Ok(Self(None));
        }
        let damaged = |source| FilterError::Damaged { path: path.to_owned(), source };
        CompiledFilter::from_bytes(&bytes).map_err(damaged).map(|compiled| Self(Some(compiled)))
    }
}

fn steps(compiled: &CompiledFilter) -> Vec<SockFilter> {
    let step = |step: &Instruction| SockFilter { code: step.code, jt: step.jt, jf: step.jf, k: step.k };
    compiled.program().iter().map(step).collect()
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FilterError {
    let path = path.to_owned();
    move |source| FilterError::Io { doing, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(json: &str) -> LinuxSeccomp {
        serde_json::from_str(json).unwrap()
    }

    const PROFILE: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["read","write","execve"],"action":"SCMP_ACT_ALLOW"},
        {"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#;

    fn in_file<T>(name: &str, use_it: impl FnOnce(&Path) -> T) -> T {
        let path = std::env::temp_dir().join(format!("palisade-filter-{name}-{}", std::process::id()));
        let result = use_it(&path);
        fs::remove_file(path).unwrap();
        result
    }

    #[test]
    fn a_filter_reads_back_as_it_was() {
        for filter in [Filter::compile(Some(&profile(PROFILE))).unwrap(), Filter::compile(None).unwrap()] {
            let back = in_file("back", |path| {
                filter.save(path).unwrap();
                Filter::read(path).unwrap()
            });
            assert_eq!(back, filter);
        }
    }

    #[test]
    fn a_damaged_file_is_not_the_absence_of_a_filter() {
        let whole = Filter::compile(Some(&profile(PROFILE))).unwrap().0.unwrap().to_bytes();
        for bytes in [&b""[..], b"no filter", &whole[..whole.len() - 1]] {
            let result = in_file("damaged", |path| {
                fs::write(path, bytes).unwrap();
                Filter::read(path)
            });
            assert!(matches!(result, Err(FilterError::Damaged { .. })), "{result:?}");
        }
        assert!(matches!(Filter::read(Path::new("/nowhere/x")), Err(FilterError::Io { .. })));
    }
}
