//! What only the host can tell, gathered by the shim and judged here as plain values.

use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxNamespaceType;

use crate::policy::Policy;
use crate::spec::ParsedSpec;

/// Everything that the shim looked up on the host for one create request.
///
/// A fact that is absent counts as unresolved, and what is unresolved is refused.
#[derive(Debug, Clone, Default)]
pub struct HostFacts {
    /// One for each of [`namespace_paths`](crate::ParsedSpec::namespace_paths).
    pub namespaces: Vec<NamespaceFact>,
    /// One for each of [`bind_sources`](crate::ParsedSpec::bind_sources).
    pub sources: Vec<SourceFact>,
    /// One for each of [`hook_paths`](crate::ParsedSpec::hook_paths).
    pub hooks: Vec<HookFact>,
    /// The tightest CPU quota of the cgroups above the container's, in thousandths of a CPU. cgroup v1
    /// refuses a child whose quota exceeds it (`cpu.cfs_quota_us`, kernel
    /// `Documentation/scheduler/sched-bwc.rst`). `None`: no ancestor has a quota.
    pub cpu_ceiling_millis: Option<u64>,
    /// cgroup v2 has a file for swap, and systemd is to keep the limits. That there is no swap is then said by the file's name as well: runc
    /// tells systemd nothing of a zero, and what it was not told systemd takes back when it reads its units again.
    pub swap_by_name: bool,
    /// cgroup v2 has the controllers, so `unified` means something.
    pub cgroup_v2: bool,
    /// The sizes of huge pages that the kernel has, as OCI names them: `2MB`, `1GB`.
    pub huge_page_sizes: Vec<String>,
    /// The cgroup path of the sandbox that this shim holds, as its specification has it.
    pub pod_cgroup: Option<String>,
    /// The user namespace that the specification joins was looked at, has the very mappings that the specification says, and maps nobody
    /// to the host's reserved ids. What the specification itself says of a namespace that exists already is only a claim.
    pub joined_users_are_remapped: bool,
    /// Host ids of the specification's user namespace that another one has already.
    pub users_of_others: Option<TakenIds>,
}

/// Host ids that are another pod's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenIds {
    /// The first.
    pub first: u32,
    /// The last.
    pub last: u32,
    /// Who has them, in a few words.
    pub by: String,
}

/// Whose a namespace to be joined is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespaceFact {
    /// Which of the namespaces.
    pub kind: LinuxNamespaceType,
    /// Whose it is.
    pub sharing: NamespaceSharing,
}

/// The answer of comparing the device and inode of a namespace path with those of the shim's own and its containers'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceSharing {
    /// The host's: the same inode as the shim's, which runs in the host's namespaces.
    Host,
    /// One that a process of this very pod is in.
    Pod,
    /// Another one: a network that CNI has made for a new pod, or another pod's.
    Other,
    /// The path could not be looked at.
    Unresolved,
}

/// What stands at the source of a bind mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFact {
    /// Index in `/mounts`.
    pub mount: usize,
    /// Absolute path with every link resolved; the given one if it could not be.
    pub real_path: PathBuf,
    /// What it is.
    pub kind: SourceKind,
    /// The watched path (see [`Policy::watched_host_paths`](crate::Policy::watched_host_paths)) with the
    /// same device and inode, if there is one.
    pub same_as: Option<String>,
    /// For a bind mount that stands at the source (the kubelet makes one for each subPath): the other paths
    /// under which the very same file or directory is mounted on the host. Empty where nothing else shows it.
    pub locations: Vec<PathBuf>,
    /// What the host has mounted below it, and `rbind` brings along. Options of the mount do not reach these, those with
    /// an `r` before them do.
    pub below: Vec<MountBelow>,
    /// What the kubelet's volume of a secret or a projected one is; `None` for every other source.
    pub kubelet_volume: Option<KubeletVolume>,
}

/// What was seen of a volume that the kubelet fills with secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KubeletVolume {
    /// It is on a tmpfs.
    pub on_tmpfs: bool,
    /// One of its files is a token that Kubernetes has issued.
    pub holds_token: bool,
}

/// A mount of the host's below the source of a bind mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountBelow {
    /// Where it stands on the host.
    pub path: PathBuf,
    /// As [`SourceFact::same_as`].
    pub same_as: Option<String>,
}

/// The type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A unix socket.
    Socket,
    /// A block device node.
    BlockDevice,
    /// A character device node.
    CharDevice,
    /// A named pipe.
    Fifo,
    /// Nothing is there, or it could not be looked at.
    Missing,
}

/// Whether a hook's program is the admin's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookFact {
    /// JSON pointer of the hook.
    pub pointer: String,
    /// Absolute path of the program with every link resolved.
    pub real_path: PathBuf,
    /// It and every directory above it are root's and writable by nobody else.
    pub trusted: bool,
}

impl HostFacts {
    /// The facts that names alone tell, for a specification of another machine: each path is what its name says and
    /// leads nowhere else, each namespace but the host's is the pod's, each source a directory, each hook the admin's.
    #[must_use]
    pub fn by_name(spec: &ParsedSpec, policy: &Policy) -> Self {
        let watched = policy.watched_host_paths();
        let source = |(mount, path): (usize, &Path)| SourceFact {
            mount,
            real_path: path.to_owned(),
            kind: SourceKind::Directory,
            same_as: watched.iter().find(|known| *known == path).map(|known| known.display().to_string()),
            locations: Vec::new(),
            below: Vec::new(),
            kubelet_volume: None,
        };
        let namespace = |(kind, path): (LinuxNamespaceType, &Path)| {
            let host = path.starts_with("/proc/1/ns");
            NamespaceFact { kind, sharing: if host { NamespaceSharing::Host } else { NamespaceSharing::Pod } }
        };
        let hook = |(pointer, path): (String, &Path)| HookFact { pointer, real_path: path.to_owned(), trusted: true };
        Self {
            namespaces: spec.namespace_paths().into_iter().map(namespace).collect(),
            sources: spec.bind_sources().into_iter().map(source).collect(),
            hooks: spec.hook_paths().into_iter().map(hook).collect(),
            cpu_ceiling_millis: None,
            swap_by_name: false,
            cgroup_v2: false,
            huge_page_sizes: Vec::new(),
            pod_cgroup: None,
            joined_users_are_remapped: true,
            users_of_others: None,
        }
    }

    pub(crate) fn sharing(&self, kind: LinuxNamespaceType) -> NamespaceSharing {
        let mut facts = self.namespaces.iter().filter(|fact| fact.kind == kind);
        match (facts.next(), facts.next()) {
            (Some(fact), None) => fact.sharing,
            _ => NamespaceSharing::Unresolved,
        }
    }

    pub(crate) fn source(&self, mount: usize) -> Option<&SourceFact> {
        self.sources.iter().find(|fact| fact.mount == mount)
    }

    pub(crate) fn hook_is_trusted(&self, pointer: &str, path: &Path) -> bool {
        let mut facts = self.hooks.iter().filter(|fact| fact.pointer == pointer);
        facts.next().is_some_and(|fact| fact.trusted && fact.real_path == path)
    }
}
