//! From a place in a specification to the field of the manifest that decides it.

use palisade_policy::Finding;

use super::containerd::Made;
use super::cri::{Container, Mode, Namespaces, Origin};
use super::objects::Workload;
use super::place::Place;

/// Where findings are placed.
pub(super) struct Ground<'a> {
    pub(super) workload: &'a Workload,
    /// `None` for the sandbox.
    pub(super) container: Option<&'a Container>,
    pub(super) made: &'a Made,
    pub(super) namespaces: &'a Namespaces,
}

/// The field; `None` where no field does, and the node or containerd decides.
pub(super) fn place(finding: &Finding, ground: &Ground<'_>) -> Option<Place> {
    let pointer = finding.pointer.as_str();
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    match parts.as_slice() {
        [] | [""] if finding.rule.as_str() == "priv.heuristic" => ground.privileged(),
        ["process", rest @ ..] => ground.process(rest),
        ["root", ..] => Some(ground.security("readOnlyRootFilesystem")),
        // Which flags a mount has no manifest says.
        ["mounts", _, "options"] if matches!(finding.rule.as_str(), "mount.options" | "mount.secrets") => None,
        ["linux", "seccomp", ..] if finding.rule.as_str() == "linux.seccomp.arch" => None,
        ["mounts", index, rest @ ..] => ground.mount(index.parse().ok()?, rest.first().copied().unwrap_or_default()),
        ["linux", rest @ ..] => ground.linux(finding, rest),
        ["annotations", name] if !name.starts_with("io.kubernetes.cri.") => {
            let name = name.replace("~1", "/").replace("~0", "~");
            Some(ground.workload.metadata_place.field("annotations").field(&name))
        }
        ["annotations", "io.kubernetes.cri.image-name"] => Some(ground.container?.place.field("image")),
        ["hooks", ..] => ground.resources("limits"),
        _ => None,
    }
}

impl Ground<'_> {
    fn pod(&self, path: &str) -> Place {
        self.workload.spec_place.fields(path)
    }

    /// A field of the container's security context, or of the pod's for the sandbox.
    fn security(&self, name: &str) -> Place {
        match self.container {
            Some(container) => container.place.field("securityContext").field(name),
            None => self.pod("securityContext").field(name),
        }
    }

    /// The same where the container's own counts before the pod's: the one that says it.
    fn inherited(&self, name: &str) -> Place {
        let own = self.container.and_then(|container| self.of_container(&container.place, name));
        let pod = self.pod_says(name).then(|| self.pod("securityContext").field(name));
        own.or(pod).unwrap_or_else(|| self.security(name))
    }

    fn of_container(&self, place: &Place, name: &str) -> Option<Place> {
        let spec = &self.workload.spec;
        let mut all = spec.init_containers.iter().chain(&spec.containers).chain(&spec.ephemeral_containers);
        let container = self.container?;
        let security = all.find(|one| one.name == container.name)?.security_context.as_ref()?;
        let says = match name {
            "runAsUser" => security.run_as_user.is_some(),
            "runAsGroup" => security.run_as_group.is_some(),
            "seccompProfile" => security.seccomp_profile.is_some(),
            "appArmorProfile" => security.app_armor_profile.is_some(),
            "seLinuxOptions" => security.se_linux_options.is_some(),
            _ => false,
        };
        says.then(|| place.field("securityContext").field(name))
    }

    fn pod_says(&self, name: &str) -> bool {
        let Some(security) = &self.workload.spec.security_context else { return false };
        match name {
            "runAsUser" => security.run_as_user.is_some(),
            "runAsGroup" => security.run_as_group.is_some(),
            "seccompProfile" => security.seccomp_profile.is_some(),
            "appArmorProfile" => security.app_armor_profile.is_some(),
            "seLinuxOptions" => security.se_linux_options.is_some(),
            "fsGroup" => security.fs_group.is_some(),
            _ => false,
        }
    }

    fn has_groups(&self) -> bool {
        self.workload.spec.security_context.as_ref().is_some_and(|security| !security.supplemental_groups.is_empty())
    }

    /// What makes a container look privileged.
    fn privileged(&self) -> Option<Place> {
        let container = self.container?;
        let security = &container.security;
        let all = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
        Some(if !security.privileged && all(&security.add) {
            container.place.fields("securityContext.capabilities.add")
        } else if !security.privileged && security.masked.is_empty() {
            container.place.fields("securityContext.procMount")
        } else {
            container.place.fields("securityContext.privileged")
        })
    }

    fn process(&self, rest: &[&str]) -> Option<Place> {
        let container = || self.container.map(|container| container.place.clone());
        match rest {
            ["user", "uid"] => Some(self.inherited("runAsUser")),
            ["user", "gid"] => Some(self.inherited("runAsGroup")),
            ["user", "additionalGids", ..] if self.pod_says("fsGroup") => Some(self.pod("securityContext.fsGroup")),
            ["user", "additionalGids", ..] if self.has_groups() => Some(self.pod("securityContext.supplementalGroups")),
            // The group of the process is among them.
            ["user", "additionalGids", ..] => Some(self.inherited("runAsGroup")),
            // A sandbox's are containerd's.
            ["capabilities", ..] => Some(container()?.fields("securityContext.capabilities")),
            ["noNewPrivileges"] => Some(container()?.fields("securityContext.allowPrivilegeEscalation")),
            ["apparmorProfile"] => Some(self.inherited("appArmorProfile")),
            ["selinuxLabel"] => Some(self.inherited("seLinuxOptions")),
            ["cwd"] => Some(container()?.field("workingDir")),
            ["args", index] => self.argument(index.parse().ok()?),
            ["env", index, ..] => self.variable(index.parse().ok()?),
            _ => None,
        }
    }

    /// A word of the program's, in `command` or `args`.
    fn argument(&self, index: usize) -> Option<Place> {
        let container = self.container?;
        let (command, args) = (container.command.len(), container.args.len());
        if index < command {
            return Some(container.place.field("command").item(index, ""));
        }
        let all = self.made.spec.pointer("/process/args")?.as_array()?.len();
        let first = all.checked_sub(args)?;
        Some(container.place.field("args").item(index.checked_sub(first)?, ""))
    }

    fn variable(&self, index: usize) -> Option<Place> {
        let entry = self.made.spec.pointer(&format!("/process/env/{index}"))?.as_str()?;
        let name = entry.split_once('=')?.0;
        let spec = &self.workload.spec;
        let mut all = spec.init_containers.iter().chain(&spec.containers).chain(&spec.ephemeral_containers);
        let container = self.container?;
        let own = all.find(|one| one.name == container.name)?;
        let at = own.env.iter().rposition(|variable| variable.name == name)?;
        Some(container.place.field("env").item(at, name))
    }

    fn mount(&self, index: usize, part: &str) -> Option<Place> {
        let container = self.container?;
        let (origin, _) = self.made.mounts.get(index)?;
        match origin {
            Origin::Volume { mount, volume } => {
                let own = self.named_mount(*mount)?;
                Some(match (part, volume) {
                    ("source", Some(at)) if self.is_host_path(*at) => {
                        self.pod("volumes").item(*at, &own.0).fields("hostPath.path")
                    }
                    ("destination", _) => own.1.field("mountPath"),
                    ("options", _) if own.2 => own.1.field("mountPropagation"),
                    ("options", _) => own.1.field("readOnly"),
                    _ => own.1,
                })
            }
            Origin::Token => Some(self.pod("automountServiceAccountToken")),
            Origin::TerminationLog => Some(container.place.field("terminationMessagePath")),
            Origin::Containerd if part == "options" && container.security.privileged => {
                Some(container.place.fields("securityContext.privileged"))
            }
            Origin::Containerd if part == "source" && self.namespaces.ipc == Mode::Node => Some(self.pod("hostIPC")),
            Origin::Containerd if self.namespaces.network == Mode::Node && self.namespaces.users.is_some() => {
                Some(self.pod("hostNetwork"))
            }
            Origin::Cdi(resource) => Some(container.place.fields("resources.limits").field(resource)),
            Origin::Hosts | Origin::Containerd | Origin::ImageConfig => None,
        }
    }

    /// A mount of the manifest: its volume's name, its place, and whether it says something of propagation.
    fn named_mount(&self, index: usize) -> Option<(String, Place, bool)> {
        let container = self.container?;
        let spec = &self.workload.spec;
        let mut all = spec.init_containers.iter().chain(&spec.containers).chain(&spec.ephemeral_containers);
        let mount = all.find(|one| one.name == container.name)?.volume_mounts.get(index)?;
        let place = container.place.field("volumeMounts").item(index, &mount.name);
        Some((mount.name.clone(), place, mount.mount_propagation.is_some()))
    }

    fn is_host_path(&self, volume: usize) -> bool {
        self.workload.spec.volumes.get(volume).is_some_and(|volume| volume.host_path.is_some())
    }

    fn linux(&self, finding: &Finding, rest: &[&str]) -> Option<Place> {
        let container = || self.container.map(|container| container.place.clone());
        match rest {
            ["namespaces", ..] => self.namespace(finding),
            ["sysctl", name] => self.sysctl(&name.replace("~1", "/").replace("~0", "~")),
            ["seccomp", ..] => self.container.map(|_| self.inherited("seccompProfile")),
            ["mountLabel"] => Some(self.inherited("seLinuxOptions")),
            ["maskedPaths" | "readonlyPaths", ..] if self.is_unmasked() => {
                Some(container()?.fields("securityContext.procMount"))
            }
            ["maskedPaths" | "readonlyPaths", ..] if self.container?.security.privileged => {
                Some(container()?.fields("securityContext.privileged"))
            }
            ["resources", "memory", ..] => Some(container()?.fields("resources.limits.memory")),
            ["resources", "cpu", "quota" | "period"] => Some(container()?.fields("resources.limits.cpu")),
            ["resources", "cpu", ..] => Some(container()?.fields("resources.limits.cpu")),
            ["resources", "hugepageLimits", ..] => self.resources("limits"),
            ["devices", index] => self.device(index.parse().ok()?),
            ["resources", "devices", ..] if self.container?.security.privileged => {
                Some(container()?.fields("securityContext.privileged"))
            }
            ["uidMappings" | "gidMappings", ..] => Some(self.pod("hostUsers")),
            ["rootfsPropagation"] => self.propagating(),
            _ => None,
        }
    }

    fn is_unmasked(&self) -> bool {
        self.container.is_some_and(|container| !container.security.privileged && container.security.masked.is_empty())
    }

    /// The field by which a pod shares a namespace of the host.
    fn namespace(&self, finding: &Finding) -> Option<Place> {
        let asked = self.namespaces;
        let says = |word: &str| {
            finding.reason.contains(&format!("{word} namespace"))
                || finding.reason.contains(&format!("\"{word}\" namespace"))
        };
        let field = [
            (asked.network, "network", "hostNetwork"),
            (asked.network, "uts", "hostNetwork"),
            (asked.pid, "pid", "hostPID"),
            (asked.ipc, "ipc", "hostIPC"),
        ];
        let shared = field.into_iter().find(|(mode, word, _)| *mode == Mode::Node && says(word));
        if let Some((_, _, field)) = shared {
            return Some(self.pod(field));
        }
        self.container
            .filter(|container| container.security.privileged)
            .map(|container| container.place.fields("securityContext.privileged"))
    }

    fn sysctl(&self, name: &str) -> Option<Place> {
        let list = &self.workload.spec.security_context.as_ref()?.sysctls;
        let at = list.iter().position(|sysctl| sysctl.name == name)?;
        Some(self.pod("securityContext.sysctls").item(at, name))
    }

    fn resources(&self, list: &str) -> Option<Place> {
        Some(self.container?.place.field("resources").field(list))
    }

    fn device(&self, index: usize) -> Option<Place> {
        let container = self.container?;
        if container.security.privileged && index < 2 {
            return Some(container.place.fields("securityContext.privileged"));
        }
        let own = if container.security.privileged { index - 2 } else { index };
        let device = container.devices.get(own)?;
        match device.volume_device {
            Some(at) => Some(container.place.field("volumeDevices").item(at, "")),
            None => self.resources("limits"),
        }
    }

    /// The mount whose propagation the root takes over.
    fn propagating(&self) -> Option<Place> {
        let container = self.container?;
        let spec = &self.workload.spec;
        let mut all = spec.init_containers.iter().chain(&spec.containers).chain(&spec.ephemeral_containers);
        let own = all.find(|one| one.name == container.name)?;
        let at = own.volume_mounts.iter().position(|mount| mount.mount_propagation.is_some())?;
        Some(self.named_mount(at)?.1.field("mountPropagation"))
    }
}
