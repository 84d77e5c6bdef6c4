//! From bytes to [`ParsedSpec`]: every byte is understood or the document is refused.

mod closed;
mod error;
mod locate;

use std::path::Path;

use oci_spec::runtime as oci;
use oci_spec::runtime::LinuxNamespaceType;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use error::SpecError;

use crate::id_map::IdMaps;
use crate::identity::Identity;
use crate::json;

/// Largest config.json that is read, in bytes (4 MiB). containerd's own message limit is 16 MiB, the
/// largest specs seen (privileged, every host device listed) stay under 200 KiB.
pub const MAX_SPEC_BYTES: usize = 4 << 20;

/// Most mounts that a specification may list. Each is looked up in the image and in the mounts before it, so the work grows with
/// their square; the most that a pod of many volumes was seen to have is below 100.
pub const MAX_MOUNTS: usize = 1000;

/// An OCI runtime configuration of which no part was dropped or guessed.
///
/// Source: OCI runtime-spec 1.3 `config.md`, `config-linux.md`.
#[derive(Debug, Clone)]
pub struct ParsedSpec {
    spec: oci::Spec,
    identity: Identity,
}

impl ParsedSpec {
    /// Reads a config.json.
    ///
    /// # Errors
    /// Anything that another reader could read differently: see [`SpecError`]. Each names its place.
    pub fn parse(bytes: &[u8]) -> Result<Self, SpecError> {
        let value = json::read(bytes, MAX_SPEC_BYTES)?;
        let spec: oci::Spec = typed(&value, locate::SPEC)?;
        for (pointer, present) in [
            ("/process", spec.process().is_some()),
            ("/root", spec.root().is_some()),
            ("/linux", spec.linux().is_some()),
        ] {
            if !present {
                return Err(SpecError::Missing { pointer });
            }
        }
        let mounts = spec.mounts().as_deref().unwrap_or_default().len();
        if mounts > MAX_MOUNTS {
            return Err(SpecError::TooManyMounts { mounts });
        }
        let identity = Identity::of(spec.annotations().as_ref())?;
        Ok(Self { spec, identity })
    }

    /// Each bind mount as (index in `/mounts`, source). A mount is a bind when its type says so or when
    /// `bind` or `rbind` is among its options: runtimes go by the option.
    #[must_use]
    pub fn bind_sources(&self) -> Vec<(usize, &Path)> {
        let mounts = self.spec.mounts().as_deref().unwrap_or_default();
        let binds = mounts.iter().enumerate().filter(|(_, mount)| is_bind(mount));
        binds.map(|(at, mount)| (at, mount.source().as_deref().unwrap_or_else(|| Path::new("")))).collect()
    }

    /// Each namespace that is to be joined rather than made.
    #[must_use]
    pub fn namespace_paths(&self) -> Vec<(LinuxNamespaceType, &Path)> {
        let linux = self.spec.linux().as_ref();
        let namespaces = linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
        namespaces.iter().filter_map(|namespace| Some((namespace.typ(), namespace.path().as_deref()?))).collect()
    }

    /// Each hook as (its JSON pointer, the host program).
    #[must_use]
    pub fn hook_paths(&self) -> Vec<(String, &Path)> {
        let Some(hooks) = self.spec.hooks() else { return Vec::new() };
        stages(hooks)
            .into_iter()
            .flat_map(|(stage, list)| {
                list.iter().enumerate().map(move |(at, hook)| (format!("/hooks/{stage}/{at}"), hook.path().as_path()))
            })
            .collect()
    }

    /// Who the container is, as CRI's annotations say; all empty for a container without a pod.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// Where the container's cgroup is to be, as the specification has it; empty where it names none.
    #[must_use]
    pub fn cgroups_path(&self) -> &Path {
        let linux = self.spec.linux().as_ref();
        linux.and_then(|linux| linux.cgroups_path().as_deref()).unwrap_or_else(|| Path::new(""))
    }

    /// The mappings of the container's user namespace, as the specification has them; `None` where it has none.
    #[must_use]
    pub fn user_maps(&self) -> Option<IdMaps> {
        let linux = self.spec.linux().as_ref()?;
        let namespaces = linux.namespaces().as_deref().unwrap_or_default();
        let has_own = namespaces.iter().any(|namespace| namespace.typ() == LinuxNamespaceType::User);
        let list = |list: &Option<Vec<oci::LinuxIdMapping>>| list.clone().unwrap_or_default();
        has_own.then(|| IdMaps::of(&list(linux.uid_mappings()), &list(linux.gid_mappings())))
    }

    /// An annotation of the specification.
    pub(crate) fn annotation(&self, name: &str) -> Option<String> {
        self.spec.annotations().as_ref().and_then(|all| all.get(name)).cloned()
    }

    pub(crate) fn into_parts(self) -> (oci::Spec, Identity) {
        (self.spec, self.identity)
    }
}

/// Reads one OCI section from bytes, as strictly as a whole specification.
pub(crate) fn parse_section<T>(bytes: &[u8], sections: locate::Sections) -> Result<T, SpecError>
where
    T: DeserializeOwned + serde::Serialize,
{
    let value = json::read(bytes, MAX_SPEC_BYTES)?;
    typed(&value, sections)
}

pub(crate) use locate::{PROCESS, RESOURCES};

/// The typed document, or the place of the first part that the type would not carry on unchanged.
fn typed<T>(value: &Value, sections: locate::Sections) -> Result<T, SpecError>
where
    T: DeserializeOwned + serde::Serialize,
{
    closed::refuse_foreign(value, sections.base)?;
    let typed = T::deserialize(value).map_err(|source| locate::error(value, sections, source))?;
    let back = serde_json::to_value(&typed).map_err(|source| locate::error(value, sections, source))?;
    closed::compare(value, &back, sections.base)?;
    closed::refuse_negative(value, sections.base)?;
    Ok(typed)
}

/// Whether the kernel would be asked for a bind mount.
pub(crate) fn is_bind(mount: &oci::Mount) -> bool {
    let by_type = matches!(mount.typ().as_deref(), Some("bind" | "rbind"));
    let options = mount.options().as_deref().unwrap_or_default();
    by_type || options.iter().any(|option| option == "bind" || option == "rbind")
}

/// Whether what is mounted below the source comes along. Runtimes take a type of `bind` without the option for `rbind`.
pub(crate) fn is_recursive_bind(mount: &oci::Mount) -> bool {
    let has = |flag: &str| mount.options().as_deref().unwrap_or_default().iter().any(|option| option == flag);
    is_bind(mount) && (has("rbind") || !has("bind"))
}

/// The six stages of OCI hooks, by name.
#[allow(deprecated, reason = "prestart hooks still run, as root and on the host")]
pub(crate) fn stages(hooks: &oci::Hooks) -> [(&'static str, &[oci::Hook]); 6] {
    [
        ("prestart", hooks.prestart().as_deref().unwrap_or_default()),
        ("createRuntime", hooks.create_runtime().as_deref().unwrap_or_default()),
        ("createContainer", hooks.create_container().as_deref().unwrap_or_default()),
        ("startContainer", hooks.start_container().as_deref().unwrap_or_default()),
        ("poststart", hooks.poststart().as_deref().unwrap_or_default()),
        ("poststop", hooks.poststop().as_deref().unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests;
