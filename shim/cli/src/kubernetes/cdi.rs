//! What a device plugin adds by CDI (Container Device Interface specification 0.8) for a resource that a container asks for.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use super::cri::{Device, FileKind, Hook, Mount, Origin, Propagation, Shows};
use super::error::KubernetesError;
use crate::yaml;

/// The edits of CDI that show in a specification.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Edits {
    pub(super) env: Vec<String>,
    device_nodes: Vec<DeviceNode>,
    hooks: Vec<HookEdit>,
    mounts: Vec<MountEdit>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DeviceNode {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    major: i64,
    minor: i64,
    permissions: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HookEdit {
    hook_name: String,
    path: String,
    args: Vec<String>,
    env: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MountEdit {
    host_path: String,
    container_path: String,
    options: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Specification {
    devices: Vec<NamedEdits>,
    container_edits: Edits,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NamedEdits {
    container_edits: Edits,
}

/// The specifications that were given, by the resource that they are for.
#[derive(Debug, Clone, Default)]
pub(super) struct Plugins(BTreeMap<String, Specification>);

impl Plugins {
    /// Reads what was given as RESOURCE=FILE.
    pub(super) fn read(given: &[String]) -> Result<Self, KubernetesError> {
        let mut plugins = BTreeMap::new();
        for one in given {
            let (resource, file) =
                one.split_once('=').ok_or_else(|| KubernetesError::NotAPair { option: "--cdi", given: one.clone() })?;
            let path = PathBuf::from(file);
            let text =
                fs::read_to_string(&path).map_err(|source| KubernetesError::Read { path: path.clone(), source })?;
            let wrong = |reason: String| KubernetesError::Cdi { path: path.clone(), reason };
            let document = yaml::documents(&text).map_err(|error| wrong(error.to_string()))?.into_iter().next();
            let document = document.ok_or_else(|| wrong("it is empty".to_owned()))?;
            let read: Specification =
                serde_path_to_error::deserialize(&document.value).map_err(|error| wrong(error.to_string()))?;
            if read.devices.is_empty() {
                return Err(wrong("it has no devices".to_owned()));
            }
            plugins.insert(resource.to_owned(), read);
        }
        Ok(Self(plugins))
    }

    /// What a container gets that asks for `count` of a resource: the first devices, and what all of them bring. `None` where nobody said.
    pub(super) fn edits(&self, resource: &str, count: i64) -> Option<Vec<&Edits>> {
        let specification = self.0.get(resource)?;
        let count = usize::try_from(count).unwrap_or_default();
        let devices = specification.devices.iter().take(count).map(|device| &device.container_edits);
        Some(devices.chain([&specification.container_edits]).collect())
    }
}

impl Edits {
    pub(super) fn devices(&self) -> impl Iterator<Item = Device> + '_ {
        self.device_nodes.iter().map(|node| Device {
            path: node.path.clone(),
            block: node.kind == "b",
            major: node.major,
            minor: node.minor,
            access: node.permissions.clone().unwrap_or_else(|| "rwm".to_owned()),
            volume_device: None,
        })
    }

    pub(super) fn hooks(&self) -> impl Iterator<Item = Hook> + '_ {
        self.hooks.iter().map(|hook| Hook {
            stage: hook.hook_name.clone(),
            path: hook.path.clone(),
            args: hook.args.clone(),
            env: hook.env.clone(),
        })
    }

    pub(super) fn mounts<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = Mount> + 'a {
        self.mounts.iter().map(|mount| Mount {
            container_path: mount.container_path.clone(),
            host_path: mount.host_path.clone(),
            read_only: mount.options.iter().any(|option| option == "ro"),
            recursively: false,
            propagation: Propagation::Private,
            remapped: false,
            origin: Origin::Cdi(resource.to_owned()),
            verbatim: Some(mount.options.clone()),
            shows: Shows { kind: FileKind::File, ..Shows::default() },
        })
    }
}
