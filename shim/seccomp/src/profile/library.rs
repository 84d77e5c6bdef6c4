//! The profiles and mitigations that a policy can name: those that are built in, and the admin's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::chosen::SeccompProfile;
use super::file::{ProfileFile, Reader};
use super::mitigation::{self, Mitigation};
use super::{BuiltinProfile, FILES, KernelVersion, ProfileError, shipped_text};

/// All that can be named. Empty, it has what is built in.
#[derive(Debug, Clone, Default)]
pub struct Library {
    /// The admin's files by name, each as text, for others that include it, and read.
    own: BTreeMap<String, (Arc<str>, Arc<ProfileFile>)>,
    /// The admin's mitigations by id.
    mitigations: BTreeMap<String, Arc<Mitigation>>,
    kernel: Option<KernelVersion>,
}

/// There is no profile of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no system call profile is called {name:?}; there are {}", known.join(", "))]
pub struct UnknownProfile {
    /// The name that was asked for.
    pub name: String,
    /// The names that there are.
    pub known: Vec<String>,
}

impl Library {
    /// What is built in, and these profile files, each as (name, text): OCI seccomp JSON as Docker, containerd or the security profiles
    /// operator write it. They may include each other and those that are built in. `kernel` decides entries with `minKernel`.
    ///
    /// # Errors
    ///
    /// One of them is wrong, or has a name that is taken.
    pub fn with_profiles(files: &[(&str, &str)], kernel: Option<KernelVersion>) -> Result<Self, ProfileError> {
        let library = Self { kernel, ..Self::default() };
        library.and_profiles(files)
    }

    /// The same, and further files.
    ///
    /// # Errors
    ///
    /// As [`with_profiles`](Self::with_profiles).
    pub fn and_profiles(mut self, files: &[(&str, &str)]) -> Result<Self, ProfileError> {
        for (name, _) in files {
            check_name(name, FILES.iter().any(|(known, _)| known == name) || self.own.contains_key(*name))?;
        }
        let text = |name: &str| {
            let new = files.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
            let own = || self.own.get(name).map(|(text, _)| text.as_ref());
            new.or_else(own).or_else(|| shipped_text(name))
        };
        let reader = Reader { text: &text, kernel: self.kernel };
        let read: Vec<(&str, &str, ProfileFile)> = files
            .iter()
            .map(|(name, text)| Ok((*name, *text, reader.read(name)?)))
            .collect::<Result<_, ProfileError>>()?;
        self.own.extend(read.into_iter().map(|(name, text, file)| (name.to_owned(), (text.into(), Arc::new(file)))));
        Ok(self)
    }

    /// The same, and these mitigation files, each as (id, text).
    ///
    /// # Errors
    ///
    /// One of them is wrong, or has an id that is taken.
    pub fn and_mitigations(mut self, files: &[(&str, &str)]) -> Result<Self, ProfileError> {
        for (id, text) in files {
            check_name(id, mitigation::shipped(id).is_some() || self.mitigations.contains_key(*id))?;
            let read = Mitigation::read(id, text)?;
            self.mitigations.insert((*id).to_owned(), Arc::new(read));
        }
        Ok(self)
    }

    /// The profile in a file that is not part of the library, which it may include from. `name` is what it is called.
    ///
    /// # Errors
    ///
    /// It is wrong, or a set that is there to be included.
    pub fn read(&self, name: &str, text: &str) -> Result<SeccompProfile, ProfileError> {
        let own = |known: &str| self.own.get(known).map(|(text, _)| text.as_ref());
        let text = |known: &str| if known == name { Some(text) } else { own(known).or_else(|| shipped_text(known)) };
        let file = Reader { text: &text, kernel: self.kernel }.read(name)?;
        file.default()?;
        Ok(SeccompProfile::own(Arc::new(file)))
    }

    /// The profile of that name.
    ///
    /// # Errors
    ///
    /// There is none; a set that is there to be included is none.
    pub fn profile(&self, name: &str) -> Result<SeccompProfile, UnknownProfile> {
        if let Some(builtin) = BuiltinProfile::named(name) {
            return Ok(builtin.into());
        }
        match self.own.get(name) {
            Some((_, file)) if file.is_profile() => Ok(SeccompProfile::own(Arc::clone(file))),
            _ => Err(UnknownProfile { name: name.to_owned(), known: self.profiles() }),
        }
    }

    /// The names of all profiles, the built-in ones first.
    #[must_use]
    pub fn profiles(&self) -> Vec<String> {
        let own = self.own.iter().filter(|(_, (_, file))| file.is_profile()).map(|(name, _)| name.clone());
        BuiltinProfile::ALL.iter().map(|builtin| builtin.name().to_owned()).chain(own).collect()
    }

    /// The mitigation of that id; none if there is no such.
    ///
    /// # Errors
    ///
    /// It is built in, and broken.
    pub fn mitigation(&self, id: &str) -> Result<Option<Arc<Mitigation>>, ProfileError> {
        match (self.mitigations.get(id), mitigation::shipped(id)) {
            (Some(own), _) => Ok(Some(Arc::clone(own))),
            (None, Some(text)) => Mitigation::read(id, text).map(|read| Some(Arc::new(read))),
            (None, None) => Ok(None),
        }
    }

    /// The ids of all mitigations, the built-in ones first.
    #[must_use]
    pub fn mitigations(&self) -> Vec<String> {
        let own = self.mitigations.keys().cloned();
        mitigation::SHIPPED.iter().map(|(id, _)| (*id).to_owned()).chain(own).collect()
    }
}

/// Names are those of files: plain, and each of one file.
fn check_name(name: &str, taken: bool) -> Result<(), ProfileError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if taken {
        return Err(ProfileError::Taken { file: name.to_owned() });
    }
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(ProfileError::Name { file: name.to_owned() });
    }
    Ok(())
}
