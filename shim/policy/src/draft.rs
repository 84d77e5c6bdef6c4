//! A specification while the rules work on it: plain values where runtimes have defaults.

mod process;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime as oci;

use crate::id_map::{IdMaps, IdRange};
pub(crate) use process::{ProcessDraft, Rlimit};

/// What the rules see and change. What no rule looks at stays in `base`.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    base: oci::Spec,
    pub(crate) process: ProcessDraft,
    pub(crate) root: PathBuf,
    pub(crate) root_read_only: bool,
    pub(crate) mounts: Vec<oci::Mount>,
    pub(crate) hooks: oci::Hooks,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) linux: LinuxDraft,
}

/// The Linux section.
#[derive(Debug, Clone)]
pub(crate) struct LinuxDraft {
    base: oci::Linux,
    pub(crate) namespaces: Vec<oci::LinuxNamespace>,
    pub(crate) uid_mappings: Vec<oci::LinuxIdMapping>,
    pub(crate) gid_mappings: Vec<oci::LinuxIdMapping>,
    pub(crate) devices: Vec<oci::LinuxDevice>,
    pub(crate) resources: oci::LinuxResources,
    pub(crate) seccomp: Option<oci::LinuxSeccomp>,
    pub(crate) sysctl: BTreeMap<String, String>,
    pub(crate) masked_paths: Vec<String>,
    pub(crate) readonly_paths: Vec<String>,
    pub(crate) rootfs_propagation: String,
    pub(crate) mount_label: String,
    pub(crate) cgroups_path: PathBuf,
}

impl Draft {
    /// The draft of a specification. `ParsedSpec` has made sure that the three sections are there.
    pub(crate) fn read(mut spec: oci::Spec) -> Self {
        // Moved, not copied: `write` puts every one of these back.
        let process = spec.process_mut().take().unwrap_or_default();
        let linux = spec.linux_mut().take().unwrap_or_default();
        Self {
            process: ProcessDraft::read(&process),
            root: spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default(),
            root_read_only: spec.root().as_ref().and_then(oci::Root::readonly).unwrap_or_default(),
            mounts: spec.mounts_mut().take().unwrap_or_default(),
            hooks: spec.hooks_mut().take().unwrap_or_default(),
            annotations: spec.annotations_mut().take().unwrap_or_default().into_iter().collect(),
            linux: LinuxDraft::read(linux),
            base: spec,
        }
    }

    pub(crate) fn hostname(&self) -> &str {
        self.base.hostname().as_deref().unwrap_or_default()
    }

    pub(crate) fn domain_name(&self) -> &str {
        self.base.domainname().as_deref().unwrap_or_default()
    }

    /// The specification to hand on, with the root filesystem at the absolute path `root`.
    pub(crate) fn write(self, root: &Path) -> Result<oci::Spec, serde_json::Error> {
        let mut spec = self.base;
        let mut root_section = spec.root().clone().unwrap_or_default();
        root_section.set_path(root.to_owned());
        root_section.set_readonly(Some(self.root_read_only));
        let hooks = crate::spec::stages(&self.hooks).iter().any(|(_, list)| !list.is_empty());
        spec.set_root(Some(root_section))
            .set_process(Some(self.process.write()?))
            .set_mounts(Some(self.mounts))
            .set_hooks(hooks.then_some(self.hooks))
            .set_annotations(Some(self.annotations.into_iter().collect()))
            .set_linux(Some(self.linux.write()));
        Ok(spec)
    }
}

impl LinuxDraft {
    fn read(mut base: oci::Linux) -> Self {
        Self {
            namespaces: base.namespaces_mut().take().unwrap_or_default(),
            uid_mappings: base.uid_mappings_mut().take().unwrap_or_default(),
            gid_mappings: base.gid_mappings_mut().take().unwrap_or_default(),
            devices: base.devices_mut().take().unwrap_or_default(),
            resources: base.resources_mut().take().unwrap_or_default(),
            seccomp: base.seccomp_mut().take(),
            sysctl: base.sysctl_mut().take().unwrap_or_default().into_iter().collect(),
            masked_paths: base.masked_paths_mut().take().unwrap_or_default(),
            readonly_paths: base.readonly_paths_mut().take().unwrap_or_default(),
            rootfs_propagation: base.rootfs_propagation_mut().take().unwrap_or_default(),
            mount_label: base.mount_label_mut().take().unwrap_or_default(),
            cgroups_path: base.cgroups_path_mut().take().unwrap_or_default(),
            base,
        }
    }

    fn write(self) -> oci::Linux {
        let mut linux = self.base;
        let some_text = |text: String| (!text.is_empty()).then_some(text);
        linux
            .set_namespaces(Some(self.namespaces))
            .set_uid_mappings((!self.uid_mappings.is_empty()).then_some(self.uid_mappings))
            .set_gid_mappings((!self.gid_mappings.is_empty()).then_some(self.gid_mappings))
            .set_devices(Some(self.devices))
            .set_resources(Some(self.resources))
            .set_seccomp(self.seccomp)
            .set_sysctl(Some(self.sysctl.into_iter().collect()))
            .set_masked_paths(Some(self.masked_paths))
            .set_readonly_paths(Some(self.readonly_paths))
            .set_rootfs_propagation(some_text(self.rootfs_propagation))
            .set_mount_label(some_text(self.mount_label))
            .set_cgroups_path(Some(self.cgroups_path));
        linux
    }

    /// The sections that rules only look at.
    pub(crate) fn untouched(&self) -> &oci::Linux {
        &self.base
    }

    pub(crate) fn namespace(&self, kind: oci::LinuxNamespaceType) -> Option<&oci::LinuxNamespace> {
        self.namespaces.iter().find(|namespace| namespace.typ() == kind)
    }

    /// Whether the container gets or joins a user namespace in which nobody is a user of the host's
    /// reserved range. Kubernetes keeps 0 to 65535 of the host for itself (KEP-127).
    fn is_user_remapped(&self) -> bool {
        let outside = |map: &[IdRange]| !map.is_empty() && map.iter().all(|range| range.is_outside_host());
        let IdMaps { uids, gids } = self.id_maps();
        self.namespace(oci::LinuxNamespaceType::User).is_some() && outside(&uids) && outside(&gids)
    }

    /// The mappings of the container's user namespace.
    pub(crate) fn id_maps(&self) -> IdMaps {
        IdMaps::of(&self.uid_mappings, &self.gid_mappings)
    }

    /// The same, where the mappings of a namespace that exists already count only if the host confirmed them.
    pub(crate) fn is_user_remapped_for_sure(&self, joined_is_remapped: bool) -> bool {
        let joins = self.namespace(oci::LinuxNamespaceType::User).is_some_and(|namespace| namespace.path().is_some());
        self.is_user_remapped() && (!joins || joined_is_remapped)
    }
}
