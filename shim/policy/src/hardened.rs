//! What may be handed to a runtime. Only a judgement makes these: private fields, no public constructor,
//! no `Deserialize`, no `Default`, no way to change one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, LinuxSeccomp};
use serde::de::Error as _;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::grant::Grant;
use crate::id_map::{self, IdmappedMount};
use crate::moved::{self, SecretFile};
use crate::rootfs::Place;

/// A part of a document whose own parts are text as yet: most of a specification is a list of system calls, which nobody here looks at.
type Section<'a> = BTreeMap<String, &'a RawValue>;

/// A part of a section after a change; `None` where there is no such part.
fn changed(
    section: &Section<'_>,
    name: &str,
    change: impl FnOnce(&mut Value) -> Result<(), serde_json::Error>,
) -> Result<Option<Box<RawValue>>, serde_json::Error> {
    let Some(part) = section.get(name) else { return change(&mut Value::Null).map(|()| None) };
    let mut value: Value = serde_json::from_str(part.get())?;
    change(&mut value)?;
    to_raw_value(&value).map(Some)
}

/// The text of a section with one part replaced.
fn with<'a>(
    mut section: Section<'a>,
    name: &str,
    part: Option<&'a RawValue>,
) -> Result<Box<RawValue>, serde_json::Error> {
    if let Some(part) = part {
        section.insert(name.to_owned(), part);
    }
    to_raw_value(&section)
}

/// Gives the namespaces of a list that are joined other paths.
fn join(listed: &mut Value, paths: &[(LinuxNamespaceType, PathBuf)]) -> Result<(), serde_json::Error> {
    let joined = listed.as_array_mut().into_iter().flatten().filter(|namespace| namespace.get("path").is_some());
    for namespace in joined {
        for (kind, path) in paths {
            if namespace.get("type") == Some(&serde_json::to_value(kind)?) {
                namespace["path"] = serde_json::to_value(path)?;
            }
        }
    }
    Ok(())
}

/// Takes out of a mount what says that it is to be idmapped.
fn forget_mappings(mount: &mut Value) {
    let Some(mount) = mount.as_object_mut() else { return };
    mount.remove("uidMappings");
    mount.remove("gidMappings");
    let options = mount.get_mut("options").and_then(Value::as_array_mut);
    if let Some(options) = options {
        options.retain(|option| !option.as_str().is_some_and(|option| id_map::WORDS.contains(&option)));
    }
}

/// Where a runtime is to find the system call profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfilePlace {
    /// In the document.
    Document,
    /// In no document: it gets the program that the profile was compiled to.
    Compiled,
}

/// An admitted specification.
#[derive(Debug)]
pub struct HardenedSpec {
    pub(crate) bytes: Vec<u8>,
    pub(crate) seccomp: Option<LinuxSeccomp>,
    pub(crate) grant: Grant,
    pub(crate) terminal: bool,
    pub(crate) cgroups_path: String,
    pub(crate) pid_namespace_shared: bool,
    pub(crate) has_hooks: bool,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) root: PathBuf,
    pub(crate) places: Vec<Place>,
    /// Index in `/mounts` of their directory.
    pub(crate) secrets: Option<(usize, Vec<SecretFile>)>,
    pub(crate) idmapped: Vec<IdmappedMount>,
}

impl HardenedSpec {
    /// The config.json to hand on: canonical JSON, the same bytes for the same decision.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same document for a runtime that sees what was judged at other paths: `sources` are (index in `/mounts`,
    /// path) and idmapped already where they are to be ([`Self::idmapped`]), `namespaces` those that are joined. `profile`: whether the system call profile stays in it.
    ///
    /// # Errors
    ///
    /// When the document has no such mount, or a path is not UTF-8.
    pub fn with_paths(
        &self,
        sources: &[(usize, PathBuf)],
        namespaces: &[(LinuxNamespaceType, PathBuf)],
        profile: ProfilePlace,
    ) -> Result<Vec<u8>, serde_json::Error> {
        let apart = profile == ProfilePlace::Compiled && self.seccomp.is_some();
        if sources.is_empty() && namespaces.is_empty() && !apart {
            return Ok(self.bytes.clone());
        }
        let mut document: Section<'_> = serde_json::from_slice(&self.bytes)?;
        let mounts = changed(&document, "mounts", |mounts| {
            for (mount, path) in sources {
                let place = mounts.pointer_mut(&format!("/{mount}/source"));
                let place = place.ok_or_else(|| serde_json::Error::custom(format!("no source of mount {mount}")))?;
                *place = serde_json::to_value(path)?;
                if self.idmapped.iter().any(|idmapped| idmapped.mount == *mount)
                    && let Some(mount) = mounts.get_mut(*mount)
                {
                    forget_mappings(mount);
                }
                if self.secrets.as_ref().is_some_and(|(secrets, _)| secrets == mount)
                    && let Some(mount) = mounts.get_mut(*mount)
                {
                    // The directory is there already, with its files.
                    mount["type"] = Value::from("bind");
                    mount["options"] = ["bind", "private"].into_iter().chain(moved::FLAGS).collect();
                }
            }
            Ok(())
        })?;
        let mut linux: Section<'_> =
            document.get("linux").map_or(Ok(Section::new()), |linux| serde_json::from_str(linux.get()))?;
        if apart {
            linux.remove("seccomp");
        }
        let joined = changed(&linux, "namespaces", |listed| join(listed, namespaces))?;
        let linux = with(linux, "namespaces", joined.as_deref())?;
        document.insert("linux".to_owned(), &linux);
        with(document, "mounts", mounts.as_deref()).map(|document| document.get().as_bytes().to_vec())
    }

    /// The system call profile of the document, if it has one.
    #[must_use]
    pub fn seccomp(&self) -> Option<&LinuxSeccomp> {
        self.seccomp.as_ref()
    }

    /// The secrets that were taken out of the environment, and the index in `/mounts` of the directory that they are to stand in.
    #[must_use]
    pub fn secrets(&self) -> Option<(usize, &[SecretFile])> {
        self.secrets.as_ref().map(|(mount, files)| (*mount, files.as_slice()))
    }

    /// The bind mounts that show files as those of the container's users.
    #[must_use]
    pub fn idmapped(&self) -> &[IdmappedMount] {
        &self.idmapped
    }

    /// What the container is given, to be kept for exec and update.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Whether the process has a terminal.
    #[must_use]
    pub fn terminal(&self) -> bool {
        self.terminal
    }

    /// The container's cgroup: a path, or systemd's `slice:prefix:name`.
    #[must_use]
    pub fn cgroups_path(&self) -> &str {
        &self.cgroups_path
    }

    /// Whether the container joins a pid namespace, so that its other processes outlive its first one.
    #[must_use]
    pub fn pid_namespace_shared(&self) -> bool {
        self.pid_namespace_shared
    }

    /// Whether programs of the host run while the container is made.
    #[must_use]
    pub fn has_hooks(&self) -> bool {
        self.has_hooks
    }

    /// The annotations that were kept.
    #[must_use]
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }

    /// The places in the root filesystem that are mounted over, in the order of mounting.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Absolute path of the root filesystem.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// An admitted process for an exec.
#[derive(Debug)]
pub struct HardenedProcess {
    pub(crate) bytes: Vec<u8>,
    pub(crate) terminal: bool,
}

impl HardenedProcess {
    /// The OCI `Process` to hand on, as canonical JSON.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it has a terminal.
    #[must_use]
    pub fn terminal(&self) -> bool {
        self.terminal
    }
}

/// Admitted resources for an update. A limit that is absent stays as it is.
#[derive(Debug)]
pub struct HardenedResources {
    pub(crate) bytes: Vec<u8>,
}

impl HardenedResources {
    /// The OCI `LinuxResources` to hand on, as canonical JSON.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}
