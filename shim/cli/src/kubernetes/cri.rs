//! What the kubelet asks containerd for, as far as it shows in a specification. Names and meanings are those of CRI (`k8s.io/cri-api` v1).

use super::image::ImageConfig;
use super::place::Place;
use super::pod::{ConfinementProfile, SeLinux};

/// Whose a namespace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mode {
    #[default]
    Pod,
    Container,
    Node,
    /// Another container's.
    Target,
}

/// CRI's `NamespaceOption`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Namespaces {
    pub(super) network: Mode,
    pub(super) pid: Mode,
    pub(super) ipc: Mode,
    /// First host id and number of ids of a user namespace.
    pub(super) users: Option<(u32, u32)>,
}

/// CRI's `PodSandboxConfig`.
#[derive(Debug, Clone, Default)]
pub(super) struct Sandbox {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    /// Empty in the host's network: the node's then counts.
    pub(super) hostname: String,
    pub(super) log_directory: String,
    pub(super) cgroup_parent: String,
    pub(super) sysctls: Vec<(String, String)>,
    pub(super) annotations: Vec<(String, String)>,
    pub(super) privileged: bool,
    pub(super) namespaces: Namespaces,
    pub(super) user: Option<i64>,
    pub(super) group: Option<i64>,
    pub(super) se_linux: Option<SeLinux>,
    /// The sum over the pod, for annotations.
    pub(super) resources: LinuxResources,
}

/// CRI's `LinuxContainerResources`; 0 and `None` say nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct LinuxResources {
    pub(super) cpu_period: i64,
    pub(super) cpu_quota: i64,
    pub(super) cpu_shares: i64,
    pub(super) memory: i64,
    pub(super) oom_score: i64,
    /// Size as OCI names it, and bytes.
    pub(super) huge_pages: Vec<(String, u64)>,
    pub(super) unified: Vec<(String, String)>,
}

/// Where a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// `volumeMounts[mount]`, of `volumes[volume]` or of a claim of the StatefulSet.
    Volume { mount: usize, volume: Option<usize> },
    /// The token that admission adds.
    Token,
    /// The kubelet's /etc/hosts.
    Hosts,
    /// The file for the message of a container that ends.
    TerminationLog,
    /// containerd's own.
    Containerd,
    /// A volume of the image.
    ImageConfig,
    /// What CDI adds for a resource of this name.
    Cdi(String),
}

/// CRI's `Mount`.
#[derive(Debug, Clone)]
pub(super) struct Mount {
    pub(super) container_path: String,
    pub(super) host_path: String,
    pub(super) read_only: bool,
    pub(super) recursively: bool,
    pub(super) propagation: Propagation,
    /// It is mounted with the pod's ids.
    pub(super) remapped: bool,
    pub(super) origin: Origin,
    /// Its options as they are written, for what does not come by CRI.
    pub(super) verbatim: Option<Vec<String>>,
    /// What stands at the host's path.
    pub(super) shows: Shows,
}

/// What a node would find at the source of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shows {
    /// hostPath's `type`, or that of a volume.
    pub(super) kind: FileKind,
    /// For a subPath: the path that it binds.
    pub(super) location: Option<String>,
    /// A volume that the kubelet fills, and whether a token is in it.
    pub(super) filled: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum FileKind {
    #[default]
    Directory,
    File,
    Socket,
    CharDevice,
    BlockDevice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Propagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

/// A device node that a container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) path: String,
    pub(super) block: bool,
    pub(super) major: i64,
    pub(super) minor: i64,
    pub(super) access: String,
    /// Index in `volumeDevices`; `None` for one of CDI's.
    pub(super) volume_device: Option<usize>,
}

/// A hook that CDI adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) stage: String,
    pub(super) path: String,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<String>,
}

/// CRI's `ContainerConfig`.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) image: String,
    pub(super) command: Vec<String>,
    pub(super) args: Vec<String>,
    pub(super) working_dir: String,
    pub(super) env: Vec<(String, String)>,
    pub(super) mounts: Vec<Mount>,
    pub(super) devices: Vec<Device>,
    pub(super) hooks: Vec<Hook>,
    pub(super) tty: bool,
    pub(super) resources: LinuxResources,
    pub(super) security: Security,
    /// Bytes that the scheduler counts.
    pub(super) requests_memory: i64,
    /// Thousandths of a CPU that it counts.
    pub(super) requests_cpu: i64,
    /// What containerd knows of the image.
    pub(super) image_config: ImageConfig,
}

/// CRI's `LinuxContainerSecurityContext`.
#[derive(Debug, Clone, Default)]
pub(super) struct Security {
    pub(super) privileged: bool,
    pub(super) add: Vec<String>,
    pub(super) drop: Vec<String>,
    pub(super) namespaces: Namespaces,
    pub(super) se_linux: Option<SeLinux>,
    pub(super) user: Option<i64>,
    pub(super) group: Option<i64>,
    pub(super) groups: Vec<i64>,
    pub(super) read_only_root: bool,
    pub(super) no_new_privileges: bool,
    pub(super) masked: Vec<String>,
    pub(super) readonly: Vec<String>,
    pub(super) seccomp: Seccomp,
    /// `None`: the runtime's default.
    pub(super) app_armor: Option<ConfinementProfile>,
}

/// CRI's `SecurityProfile`, for system calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Seccomp {
    #[default]
    Unconfined,
    RuntimeDefault,
    /// A file of the node.
    Localhost(String),
}
