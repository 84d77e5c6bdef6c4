//! What was decided for a container, kept so that later requests cannot go beyond it.

use std::path::PathBuf;

use oci_spec::runtime as oci;
use serde::{Deserialize, Serialize};

use crate::capability::CapabilitySets;
use crate::draft::{Draft, Rlimit};
use crate::identity::Identity;

/// What a container was given when it was created. The shim stores it beside the container, for a
/// restarted shim and a later exec to judge alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    pub(crate) profile: String,
    pub(crate) identity: Identity,
    pub(crate) state_directory: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) host_uid: u32,
    pub(crate) host_gid: u32,
    pub(crate) additional_gids: Vec<u32>,
    pub(crate) user_remapped: bool,
    pub(crate) capabilities: CapabilitySets,
    pub(crate) no_new_privileges: bool,
    pub(crate) apparmor_profile: String,
    pub(crate) selinux_label: String,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) scheduler: Option<oci::Scheduler>,
    pub(crate) io_priority: Option<oci::LinuxIOPriority>,
    pub(crate) devices: Vec<GrantedDevice>,
    pub(crate) memory_limit: i64,
    /// cgroup v2 has its limits.
    #[serde(default)]
    pub(crate) cgroup_v2: bool,
    /// The variables that it has as files.
    #[serde(default)]
    pub(crate) moved: Vec<String>,
}

/// A device node of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantedDevice {
    pub(crate) block: bool,
    pub(crate) major: i64,
    pub(crate) minor: i64,
}

impl Grant {
    /// Name of the profile that was in force.
    #[must_use]
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// Whose container it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The host's user id of the container's first process; another than [`uid`](Self::uid) in a user namespace.
    #[must_use]
    pub fn host_uid(&self) -> u32 {
        self.host_uid
    }

    /// The host's group id of the container's first process.
    #[must_use]
    pub fn host_gid(&self) -> u32 {
        self.host_gid
    }

    /// User id of the container's first process.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Group id of the container's first process.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Supplementary groups of the container's first process.
    #[must_use]
    pub fn additional_gids(&self) -> &[u32] {
        &self.additional_gids
    }

    /// The capabilities of the container's first process.
    #[must_use]
    pub fn capabilities(&self) -> &CapabilitySets {
        &self.capabilities
    }

    /// Whether no process of the container can gain privileges by execve(2).
    #[must_use]
    pub fn no_new_privileges(&self) -> bool {
        self.no_new_privileges
    }

    /// Memory limit in bytes at creation; 0 for none.
    #[must_use]
    pub fn memory_limit(&self) -> i64 {
        self.memory_limit
    }

    /// `user_remapped`: as create was judged, for a namespace that is joined says nothing of itself.
    pub(crate) fn of(draft: &Draft, profile: &str, identity: Identity, state: PathBuf, user_remapped: bool) -> Self {
        let process = &draft.process;
        let linux = &draft.linux;
        Self {
            profile: profile.to_owned(),
            identity,
            state_directory: state,
            host_uid: on_host(process.uid, &linux.uid_mappings),
            host_gid: on_host(process.gid, &linux.gid_mappings),
            uid: process.uid,
            gid: process.gid,
            additional_gids: process.additional_gids.clone(),
            user_remapped,
            capabilities: process.capabilities.clone(),
            no_new_privileges: process.no_new_privileges,
            apparmor_profile: process.apparmor_profile.clone(),
            selinux_label: process.selinux_label.clone(),
            oom_score_adj: process.oom_score_adj,
            rlimits: process.rlimits.clone(),
            scheduler: process.scheduler.clone(),
            io_priority: process.io_priority,
            devices: GrantedDevice::all(&draft.linux.devices),
            memory_limit: draft.linux.resources.memory().and_then(|memory| memory.limit()).unwrap_or(0),
            cgroup_v2: false,
            moved: process.moved.iter().map(|file| file.name().to_owned()).collect(),
        }
    }

    pub(crate) fn has_gid(&self, gid: u32) -> bool {
        self.gid == gid || self.additional_gids.contains(&gid)
    }
}

impl GrantedDevice {
    /// The character and block devices among `devices`.
    pub(crate) fn all(devices: &[oci::LinuxDevice]) -> Vec<Self> {
        use oci::LinuxDeviceType;
        let node = |device: &oci::LinuxDevice| {
            let block = match device.typ() {
                LinuxDeviceType::B => true,
                LinuxDeviceType::C | LinuxDeviceType::U => false,
                LinuxDeviceType::A | LinuxDeviceType::P => return None,
            };
            Some(Self { block, major: device.major(), minor: device.minor() })
        };
        devices.iter().filter_map(node).collect()
    }
}

/// The host's id for an id of the container. Without a mapping they are the same.
fn on_host(id: u32, mappings: &[oci::LinuxIdMapping]) -> u32 {
    let mapped = mappings.iter().find_map(|mapping| {
        let offset = id.checked_sub(mapping.container_id()).filter(|offset| *offset < mapping.size())?;
        mapping.host_id().checked_add(offset)
    });
    mapped.unwrap_or(id)
}
