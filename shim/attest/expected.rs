//! What was decided for a container, in the kernel's terms: a pure value, kept beside the container for later looks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType, LinuxResources, Mount, Process, Spec};
use palisade_policy::{HardenedSpec, IdMaps, IdRange, idmapped_mounts};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::capabilities;
use super::identities::{Baseline, FileId, Identities, kind_name};
use super::namespaces::{KINDS, Namespaces};
use super::options::{Flags, Options, Spread};
use super::proc_dir::ProcDir;

/// Why a document can't be told in the kernel's terms.
#[derive(Debug, Error)]
pub enum ExpectedError {
    /// It is no OCI document.
    #[error("read what was decided")]
    Syntax(#[from] serde_json::Error),
    /// It lacks a part that every judged document has.
    #[error("what was decided has no {0}")]
    Missing(&'static str),
}

/// The whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    pub(super) process: ExpectedProcess,
    pub(super) uid_map: Vec<(u32, u32, u32)>,
    pub(super) gid_map: Vec<(u32, u32, u32)>,
    /// How many filters the shim itself has, and every process of its.
    pub(super) filters_above: u32,
    pub(super) filtered: bool,
    /// The embedded runtime's binary, which is the shim's.
    pub(super) own_program: Option<FileId>,
    pub(super) namespaces: BTreeMap<String, ExpectedNamespace>,
    pub(super) root: ExpectedRoot,
    pub(super) mounts: Vec<ExpectedMount>,
    pub(super) masked: Vec<PathBuf>,
    pub(super) read_only: Vec<PathBuf>,
    /// Device nodes that a runtime may bind instead of making them.
    pub(super) devices: Vec<PathBuf>,
    /// Programs of the host may mount what they like.
    pub(super) has_hooks: bool,
    pub(super) cgroups_path: String,
    pub(super) resources: LinuxResources,
}

/// What one process is given: init, or an exec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ExpectedProcess {
    /// Host ids.
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    /// As [`SETS`](super::status::SETS).
    pub(super) capabilities: [u64; 5],
    pub(super) no_new_privs: bool,
    pub(super) apparmor: String,
    pub(super) selinux: String,
    pub(super) oom_score_adj: Option<i32>,
    /// Name, soft, hard.
    pub(super) rlimits: Vec<(String, u64, u64)>,
    pub(super) cwd: PathBuf,
    pub(super) terminal: bool,
}

/// A namespace of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ExpectedNamespace {
    /// Its own: any but this one, which is the host's.
    New(u64),
    /// This very one.
    This(u64),
}

/// The root filesystem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ExpectedRoot {
    pub(super) file: Option<FileId>,
    pub(super) read_only: bool,
    pub(super) spread: Spread,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ExpectedMount {
    pub(super) destination: PathBuf,
    pub(super) kind: String,
    pub(super) flags: Flags,
    pub(super) deep: Flags,
    pub(super) spread: Spread,
    pub(super) bind: bool,
    pub(super) recursive: bool,
    pub(super) source: Option<FileId>,
    /// It shows its files as those of the container's users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) idmapped: Option<ExpectedOwner>,
}

/// Whose the source of an idmapped mount is through it, by host ids: user and group. `None`: nobody that is mapped, or it was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExpectedOwner {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

impl Expected {
    /// What a hardened specification asks of the kernel.
    ///
    /// # Errors
    ///
    /// [`ExpectedError`].
    pub fn of(spec: &HardenedSpec, files: &Identities, host: &Baseline) -> Result<Self, ExpectedError> {
        let document: Spec = serde_json::from_slice(spec.as_bytes())?;
        let mut expected = Self::of_document(&document, files, host)?;
        expected.has_hooks = spec.has_hooks();
        Ok(expected)
    }

    /// The same of a document that the caller answers for.
    ///
    /// # Errors
    ///
    /// [`ExpectedError`].
    pub fn of_document(document: &Spec, files: &Identities, host: &Baseline) -> Result<Self, ExpectedError> {
        let linux = document.linux().as_ref().ok_or(ExpectedError::Missing("linux"))?;
        let process = document.process().as_ref().ok_or(ExpectedError::Missing("process"))?;
        let root = document.root().as_ref().ok_or(ExpectedError::Missing("root"))?;
        let (uid_map, gid_map) = (map(linux.uid_mappings().as_ref()), map(linux.gid_mappings().as_ref()));
        let spread = linux.rootfs_propagation().as_deref().and_then(Spread::of_word).unwrap_or_default();
        let container = IdMaps::of(
            linux.uid_mappings().as_deref().unwrap_or_default(),
            linux.gid_mappings().as_deref().unwrap_or_default(),
        );
        let idmapped = idmapped_mounts(document.mounts().as_deref().unwrap_or_default(), &container);
        let owner = |at: usize| {
            let idmapped = idmapped.iter().find(|idmapped| idmapped.mount == at)?;
            Some(ExpectedOwner::of(&idmapped.maps, files.owners.get(&at)))
        };
        let paths = |list: &Option<Vec<String>>| list.iter().flatten().map(PathBuf::from).collect();
        Ok(Self {
            process: ExpectedProcess::of(process, &uid_map, &gid_map),
            uid_map,
            gid_map,
            filters_above: host.filters,
            filtered: linux.seccomp().is_some(),
            own_program: host.program,
            namespaces: namespaces(linux, files, host),
            root: ExpectedRoot { file: files.root, read_only: root.readonly().unwrap_or(false), spread },
            mounts: document
                .mounts()
                .iter()
                .flatten()
                .enumerate()
                .map(|(at, mount)| ExpectedMount { idmapped: owner(at), ..expected_mount(at, mount, files) })
                .collect(),
            masked: paths(linux.masked_paths()),
            read_only: paths(linux.readonly_paths()),
            devices: linux.devices().iter().flatten().map(|device| device.path().clone()).collect(),
            has_hooks: document.hooks().is_some(),
            cgroups_path: linux.cgroups_path().as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            resources: linux.resources().clone().unwrap_or_default(),
        })
    }

    /// The same container's, for a process that is added to it. It is held to the namespaces that `init` has now: those a runtime joins,
    /// and init may have left its first ones.
    ///
    /// # Errors
    ///
    /// [`ExpectedError`].
    pub fn of_exec(&self, process: &[u8], init: u32) -> Result<Self, ExpectedError> {
        let process: Process = serde_json::from_slice(process)?;
        let process = ExpectedProcess::of(&process, &self.uid_map, &self.gid_map);
        // Its mounts are the container's, which was looked at; a walk through a volume may wait for a file server.
        let (mounts, masked, read_only) = Default::default();
        let expected = Self { process, mounts, masked, read_only, ..self.clone() };
        match ProcDir::open(init).and_then(|init| Namespaces::of(&init)) {
            Ok(there) => Ok(expected.with_namespaces(there.iter())),
            Err(_) => Ok(expected),
        }
    }

    /// In the namespaces that a process has now.
    pub(super) fn with_namespaces(mut self, given: impl Iterator<Item = (&'static str, u64)>) -> Self {
        self.namespaces = given.map(|(name, inode)| (name.to_owned(), ExpectedNamespace::This(inode))).collect();
        self
    }

    /// With new limits, each of which counts in place of the old one.
    ///
    /// # Errors
    ///
    /// [`ExpectedError::Syntax`].
    pub fn updated(mut self, resources: &[u8]) -> Result<Self, ExpectedError> {
        let mut all = serde_json::to_value(&self.resources)?;
        let mut new: serde_json::Value = serde_json::from_slice(resources)?;
        // An update repeats device rules and changes none.
        new.as_object_mut().map(|new| new.remove("devices"));
        merge(&mut all, new);
        self.resources = serde_json::from_value(all)?;
        Ok(self)
    }

    /// The limits.
    #[must_use]
    pub fn resources(&self) -> &LinuxResources {
        &self.resources
    }

    /// Every place that has to be looked at.
    pub(super) fn places(&self) -> impl Iterator<Item = &Path> {
        let mounts = self.mounts.iter().map(|mount| mount.destination.as_path());
        let paths = self.masked.iter().chain(&self.read_only).map(PathBuf::as_path);
        mounts.chain(paths).chain([Path::new("/"), self.process.cwd.as_path()])
    }

    /// Whether the filter is in force only after the start signal where a runtime loads it as late as it can.
    #[must_use]
    pub fn no_new_privs(&self) -> bool {
        self.process.no_new_privs
    }
}

fn merge(all: &mut serde_json::Value, new: serde_json::Value) {
    match (all, new) {
        (serde_json::Value::Object(all), serde_json::Value::Object(new)) => {
            for (key, value) in new {
                merge(all.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        // Each item of these is a limit of its own, and the others stay.
        (serde_json::Value::Array(all), serde_json::Value::Array(new))
            if new.iter().all(|item| whose(item).is_some()) =>
        {
            all.retain(|item| !new.iter().any(|other| whose(other) == whose(item)));
            all.extend(new);
        }
        // An empty list of CPUs or memory nodes leaves the kernel's as it is.
        (_, serde_json::Value::String(new)) if new.is_empty() => {}
        (all, new) => *all = new,
    }
}

/// The size of page or the disk that a limit is about.
fn whose(item: &serde_json::Value) -> Option<[&serde_json::Value; 2]> {
    match item.get("pageSize") {
        Some(size) => Some([size, size]),
        None => Some([item.get("major")?, item.get("minor")?]),
    }
}

impl ExpectedProcess {
    fn of(process: &Process, uid_map: &[(u32, u32, u32)], gid_map: &[(u32, u32, u32)]) -> Self {
        let user = process.user();
        let mut groups: Vec<u32> = user.additional_gids().iter().flatten().map(|gid| on_host(*gid, gid_map)).collect();
        groups.sort_unstable();
        groups.dedup();
        let limit = |one: &oci_spec::runtime::PosixRlimit| (name_of(one.typ()), one.soft(), one.hard());
        Self {
            uid: on_host(user.uid(), uid_map),
            gid: on_host(user.gid(), gid_map),
            groups,
            capabilities: process.capabilities().as_ref().map(capabilities::sets).unwrap_or_default(),
            no_new_privs: process.no_new_privileges().unwrap_or(false),
            apparmor: process.apparmor_profile().clone().unwrap_or_default(),
            selinux: process.selinux_label().clone().unwrap_or_default(),
            oom_score_adj: process.oom_score_adj(),
            rlimits: process.rlimits().iter().flatten().map(limit).collect(),
            cwd: process.cwd().clone(),
            terminal: process.terminal().unwrap_or(false),
        }
    }
}

/// `RLIMIT_CORE`, as the document has it.
fn name_of(kind: oci_spec::runtime::PosixRlimitType) -> String {
    serde_json::to_value(kind).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

fn map(mappings: Option<&Vec<LinuxIdMapping>>) -> Vec<(u32, u32, u32)> {
    mappings.into_iter().flatten().map(|one| (one.container_id(), one.host_id(), one.size())).collect()
}

/// The host's id for one of the container's.
fn on_host(id: u32, map: &[(u32, u32, u32)]) -> u32 {
    let mapped = map.iter().find_map(|(inside, outside, size)| {
        let offset = id.checked_sub(*inside).filter(|offset| offset < size)?;
        outside.checked_add(offset)
    });
    mapped.unwrap_or(id)
}

fn namespaces(linux: &Linux, files: &Identities, host: &Baseline) -> BTreeMap<String, ExpectedNamespace> {
    let mut expected = BTreeMap::new();
    for (kind, name) in KINDS {
        let Some(hosts) = host.namespaces.get(name) else { continue };
        let asked = linux.namespaces().iter().flatten().find(|one| one.typ() == kind);
        let namespace = match asked {
            None => ExpectedNamespace::This(hosts),
            Some(one) if one.path().is_some() => joined(kind, files, hosts),
            Some(_) => ExpectedNamespace::New(hosts),
        };
        expected.insert(name.to_owned(), namespace);
    }
    expected
}

/// One that could not be held open when it was judged can't be known again; it is another than the host's at least.
fn joined(kind: LinuxNamespaceType, files: &Identities, hosts: u64) -> ExpectedNamespace {
    files.namespaces.get(kind_name(kind)).map_or(ExpectedNamespace::New(hosts), |inode| ExpectedNamespace::This(*inode))
}

fn expected_mount(at: usize, mount: &Mount, files: &Identities) -> ExpectedMount {
    let options = Options::of(mount.options().as_deref().unwrap_or_default());
    let kind = mount.typ().clone().unwrap_or_default();
    ExpectedMount {
        destination: mount.destination().clone(),
        bind: options.bind || kind == "bind",
        kind,
        flags: options.flags,
        deep: options.deep,
        spread: options.spread,
        recursive: options.recursive,
        source: files.sources.get(&at).copied(),
        idmapped: None,
    }
}

impl ExpectedOwner {
    /// `owner` is the file's on the disk.
    fn of(maps: &IdMaps, owner: Option<&(u32, u32)>) -> Self {
        let through = |map: &[IdRange], id: u32| map.iter().find_map(|range| range.to_outside(id));
        Self {
            uid: owner.and_then(|(uid, _)| through(&maps.uids, *uid)),
            gid: owner.and_then(|(_, gid)| through(&maps.gids, *gid)),
        }
    }
}
