//! What the gate would find on the node for a specification of the model.

use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxNamespaceType as Kind;
use palisade_policy::{
    HookFact, HostFacts, KubeletVolume, NamespaceFact, NamespaceSharing, ParsedSpec, Policy, SourceFact, SourceKind,
};

use super::containerd::Made;
use super::cri::{Container, FileKind, Mode, Mount, Origin, Shows};
use super::node::Node;

/// The facts for a container, or for the sandbox where there is none. `pod_cgroup` is the sandbox's.
pub(super) fn of(
    parsed: &ParsedSpec,
    made: &Made,
    container: Option<&Container>,
    node: &Node,
    pod_cgroup: &str,
    policy: &Policy,
) -> HostFacts {
    let namespaces = parsed.namespace_paths().into_iter();
    let watched = policy.watched_host_paths();
    let sources = parsed.bind_sources().into_iter().map(|(index, path)| source(index, path, made, container, &watched));
    let hooks = parsed.hook_paths().into_iter();
    HostFacts {
        namespaces: namespaces.map(|(kind, _)| NamespaceFact { kind, sharing: sharing(kind, container) }).collect(),
        sources: sources.collect(),
        hooks: hooks.map(|(pointer, path)| HookFact { pointer, real_path: path.to_owned(), trusted: true }).collect(),
        cpu_ceiling_millis: None,
        swap_by_name: node.unified && node.systemd && node.swap,
        cgroup_v2: node.unified,
        huge_page_sizes: node.huge_pages.clone(),
        pod_cgroup: container.map(|_| pod_cgroup.to_owned()),
        joined_users_are_remapped: true,
        users_of_others: None,
    }
}

/// A sandbox joins what was made for its pod; containers join the sandbox, and with it what it shares with the host.
fn sharing(kind: Kind, container: Option<&Container>) -> NamespaceSharing {
    let Some(container) = container else { return NamespaceSharing::Other };
    let asked = &container.security.namespaces;
    let mode = match kind {
        Kind::Network | Kind::Uts => asked.network,
        Kind::Ipc => asked.ipc,
        Kind::Pid => asked.pid,
        Kind::Mount | Kind::Cgroup | Kind::User | Kind::Time => Mode::Pod,
    };
    if mode == Mode::Node { NamespaceSharing::Host } else { NamespaceSharing::Pod }
}

fn source(index: usize, path: &Path, made: &Made, container: Option<&Container>, watched: &[PathBuf]) -> SourceFact {
    let own = made.mounts.get(index).and_then(|(_, own)| container?.mounts.get((*own)?));
    let none = Shows::default();
    let shows = own.map_or(&none, |mount| &mount.shows);
    let kind = match shows.kind {
        FileKind::Directory => SourceKind::Directory,
        FileKind::File => SourceKind::File,
        FileKind::Socket => SourceKind::Socket,
        FileKind::CharDevice => SourceKind::CharDevice,
        FileKind::BlockDevice => SourceKind::BlockDevice,
    };
    SourceFact {
        mount: index,
        real_path: path.to_owned(),
        kind,
        same_as: same_as(path, own, watched),
        locations: shows.location.iter().map(PathBuf::from).collect(),
        below: Vec::new(),
        kubelet_volume: shows.filled.map(|holds_token| KubeletVolume { on_tmpfs: true, holds_token }),
    }
}

/// Only a hostPath leads to what is watched: the pod's own directories are below it.
fn same_as(path: &Path, own: Option<&Mount>, watched: &[PathBuf]) -> Option<String> {
    let shown = own.and_then(|mount| mount.shows.location.as_deref()).map_or(path, Path::new);
    own.filter(|mount| matches!(mount.origin, Origin::Volume { .. } | Origin::Cdi(_)))?;
    watched.iter().find(|known| *known == shown).map(|known| known.display().to_string())
}
