//! Profiles: those that are built in, the admin's own, and the mitigations that take from both.

mod chosen;
mod file;
mod kernel;
mod library;
mod low32;
mod mitigation;
mod shape;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use oci_spec::OciSpecError;
use oci_spec::runtime::{Capabilities, LinuxSeccomp};

use crate::architecture::{Architecture, UnsupportedArchitecture};
use crate::filter::Filter;
use crate::refused::RefusedProfile;
use file::{ProfileFile, Reader};

pub(crate) use chosen::Indexed;
pub use chosen::SeccompProfile;
pub(crate) use file::ReadEntry;
pub use kernel::KernelVersion;
pub use library::{Library, UnknownProfile};
pub use mitigation::Mitigation;

/// A profile file of `seccomp-profiles/`, by the name that `include` uses.
macro_rules! shipped {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../seccomp-profiles/", $name, ".json")))
    };
}

/// The profile files, by the name that `include` uses.
const FILES: [(&str, &str); 12] = [
    shipped!("base"),
    shipped!("base-events"),
    shipped!("base-files"),
    shipped!("base-ipc"),
    shipped!("base-memory"),
    shipped!("base-network"),
    shipped!("base-processes"),
    shipped!("base-threads"),
    shipped!("never"),
    shipped!("runtime-default"),
    shipped!("strict"),
    shipped!("web-service"),
];

/// A profile that is part of the program; the files are in `seccomp-profiles/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuiltinProfile {
    /// For network servers whose program is known.
    WebService,
    /// For ordinary programs that need no kernel feature beyond files, sockets, threads and signals.
    Strict,
    /// What containerd allows by default, with the holes of that default closed.
    RuntimeDefault,
}

impl BuiltinProfile {
    /// All of them, the strictest first.
    pub const ALL: [Self; 3] = [Self::WebService, Self::Strict, Self::RuntimeDefault];

    /// The name in a policy file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WebService => "web-service",
            Self::Strict => "strict",
            Self::RuntimeDefault => "runtime-default",
        }
    }

    /// The built-in profile of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// Its file, read once.
    fn file(self) -> Result<&'static ProfileFile, ProfileError> {
        static READ: [OnceLock<ProfileFile>; 3] = [const { OnceLock::new() }; 3];
        let [web_service, strict, runtime_default] = &READ;
        let place = match self {
            Self::WebService => web_service,
            Self::Strict => strict,
            Self::RuntimeDefault => runtime_default,
        };
        if let Some(read) = place.get() {
            return Ok(read);
        }
        let read = Reader { text: &shipped_text, kernel: None }.read(self.name())?;
        Ok(place.get_or_init(|| read))
    }
}

/// The text of a file that is part of the program.
fn shipped_text(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

impl fmt::Display for BuiltinProfile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A profile file is wrong. The built-in ones are tested: there it means a broken build.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Not the JSON that a profile file must be: an unknown field, a wrong type, a duplicate key.
    #[error("seccomp profile {file} does not parse")]
    Json {
        /// The name of the file.
        file: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// `include` names no file.
    #[error("seccomp profile {file} includes {include:?}, which does not exist")]
    Include {
        /// The name of the file.
        file: String,
        /// The name that it includes.
        include: String,
    },
    /// A system call is listed twice in a way that one entry makes the other void.
    #[error("seccomp profile {file} lists {syscall} twice: {comment:?}")]
    Duplicate {
        /// The name of the file.
        file: String,
        /// The system call.
        syscall: String,
        /// The comment of the second entry.
        comment: String,
    },
    /// A value or range of `low32` that is no number below 2^32.
    #[error("seccomp profile {file}: {range:?} is no number below 2^32 and no range of them")]
    Range {
        /// The name of the file.
        file: String,
        /// What stands there.
        range: String,
    },
    /// An entry with both `args` and `low32`, or a `low32` with both `in` and `except`, or neither.
    #[error("seccomp profile {file}, entry {comment:?}: {reason}")]
    Entry {
        /// The name of the file.
        file: String,
        /// The comment of the entry.
        comment: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Its name is no plain word.
    #[error("{file:?} is no name for a system call profile or a mitigation: letters, digits, - _ . are")]
    Name {
        /// The name.
        file: String,
    },
    /// Its name is that of another one.
    #[error("{file:?} is built in or there already: give it another name")]
    Taken {
        /// The name.
        file: String,
    },
    /// The file as a whole makes no sense.
    #[error("seccomp profile {file}: {reason}")]
    Whole {
        /// The name of the file.
        file: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The profile as a whole is refused.
    #[error("seccomp profile {file} is refused")]
    Refused {
        /// The name of the file.
        file: String,
        /// What is refused.
        #[source]
        source: RefusedProfile,
    },
    /// There is no filter for this machine.
    #[error(transparent)]
    Architecture(#[from] UnsupportedArchitecture),
    /// The profile cannot be put in OCI form.
    #[error("seccomp profile {file} cannot be written")]
    Write {
        /// The name of the file.
        file: String,
        /// Why.
        #[source]
        source: OciSpecError,
    },
}

/// A built-in profile for a container that is left with these capabilities in its bounding set.
///
/// # Errors
///
/// As [`SeccompProfile::resolve`].
pub fn profile_for(profile: BuiltinProfile, bounding: &Capabilities) -> Result<LinuxSeccomp, ProfileError> {
    profile_with(profile, bounding, &[])
}

/// The same also for calls of these architectures, where this machine may run them.
///
/// Calls that only they have (`mmap2`, `socketcall`) get what the calls get that they stand for; where that depends on
/// arguments they get ENOSYS, since theirs are in memory or elsewhere. A profile that looks at an argument which another
/// architecture passes in another place is for native calls only.
///
/// # Errors
///
/// As [`profile_for`].
pub fn profile_with(
    profile: BuiltinProfile,
    bounding: &Capabilities,
    architectures: &[Architecture],
) -> Result<LinuxSeccomp, ProfileError> {
    SeccompProfile::from(profile).resolve(bounding, architectures)
}

/// The last answer of [`filter_for`] and what it was for: the containers of a pod mostly get the same.
type Remembered = (BuiltinProfile, Capabilities, Vec<Architecture>, Arc<Filter<'static>>);

pub(crate) fn filter_for(
    profile: BuiltinProfile,
    bounding: &Capabilities,
    architectures: &[Architecture],
) -> Result<Arc<Filter<'static>>, ProfileError> {
    static LAST: Mutex<Option<Remembered>> = Mutex::new(None);
    let file = profile.file()?;
    // Others make no difference, and most containers differ in others alone.
    let bounding = &bounding.iter().filter(|capability| file.asks_for(**capability)).copied().collect();
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((same, capabilities, others, filter)) = last.as_ref()
        && (*same, capabilities, others.as_slice()) == (profile, bounding, architectures)
    {
        return Ok(Arc::clone(filter));
    }
    let filter = Arc::new(also_here(file.resolve(bounding)?, architectures)?);
    *last = Some((profile, bounding.clone(), architectures.to_vec(), Arc::clone(&filter)));
    Ok(filter)
}

/// The filter also for calls of those architectures that this machine may run.
fn also_here<'a>(filter: Filter<'a>, architectures: &[Architecture]) -> Result<Filter<'a>, UnsupportedArchitecture> {
    let beside = Architecture::native()?.others().iter().filter(|other| architectures.contains(other));
    Ok(filter.also_for(&beside.copied().collect::<Vec<_>>()))
}

#[cfg(test)]
mod lint;
#[cfg(test)]
mod parity;
#[cfg(test)]
mod tests;
