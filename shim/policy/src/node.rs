//! Host paths: whose they are, and which of them no container may have.

use std::path::{Component, Path, PathBuf};

use crate::identity::{ContainerKind, Identity};

/// Where containerd and the kubelet keep their files on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodePaths {
    /// containerd's `root` and `state` directories.
    pub(crate) containerd_roots: Vec<PathBuf>,
    /// The kubelet's `--root-dir`.
    pub(crate) kubelet_roots: Vec<PathBuf>,
}

impl Default for NodePaths {
    fn default() -> Self {
        Self {
            containerd_roots: vec!["/var/lib/containerd".into(), "/run/containerd".into()],
            kubelet_roots: vec!["/var/lib/kubelet".into()],
        }
    }
}

/// Trees of which no part is for a container. CIS Docker 5.6 "sensitive host system directories",
/// Bottlerocket's security guidance; /var/log for the symbolic links that the kubelet follows there.
const DENIED_TREES: &[&str] = &[
    "/boot",
    "/dev",
    "/etc",
    "/lib/modules",
    "/proc",
    "/root",
    "/run/systemd",
    "/run/dbus",
    "/run/user",
    "/sys",
    "/usr/lib/modules",
    "/var/log",
    "/var/lib/docker",
    "/var/lib/etcd",
    "/var/lib/containers",
    "/run/containers",
    "/run/crio",
    "/run/docker",
    "/run/nri",
    "/run/palisade",
    "/var/lib/palisade",
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/run/containerd",
];

/// Sockets through which a container would command the node. CIS Docker 5.32; controls of Bottlerocket.
const SOCKETS: &[&str] = &[
    "/run/containerd/containerd.sock",
    "/run/containerd/containerd.sock.ttrpc",
    "/run/k3s/containerd/containerd.sock",
    "/run/docker.sock",
    "/run/docker/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/podman/podman.sock",
    "/run/nri/nri.sock",
    "/run/dbus/system_bus_socket",
    "/run/systemd/private",
    "/var/lib/kubelet/device-plugins/kubelet.sock",
    "/var/lib/kubelet/pod-resources/kubelet.sock",
];

/// Names of such sockets wherever they stand.
const SOCKET_NAMES: &[&str] = &[
    "containerd.sock",
    "containerd.sock.ttrpc",
    "crio.sock",
    "docker.sock",
    "kubelet.sock",
    "nri.sock",
    "podman.sock",
    "system_bus_socket",
];

impl NodePaths {
    /// The paths that a bind source is compared with by device and inode.
    pub(crate) fn watched(&self) -> Vec<PathBuf> {
        let fixed = ["/", "/usr", "/var", "/run", "/var/lib"].iter();
        let fixed = fixed.chain(DENIED_TREES).chain(SOCKETS).map(PathBuf::from);
        let mut all: Vec<PathBuf> = fixed.chain(self.roots().cloned()).collect();
        all.sort();
        all.dedup();
        all
    }

    fn roots(&self) -> impl Iterator<Item = &PathBuf> {
        self.containerd_roots.iter().chain(&self.kubelet_roots)
    }

    /// Why no container may have `path`, or `None`. A directory that holds such a path counts as well.
    pub(crate) fn denied(&self, path: &Path) -> Option<String> {
        if path == Path::new("/") {
            return Some("is the host's root".to_owned());
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if SOCKET_NAMES.contains(&name) {
            return Some("is a socket that commands the node".to_owned());
        }
        let trees = DENIED_TREES.iter().map(Path::new).chain(self.roots().map(PathBuf::as_path));
        for tree in trees {
            if path.starts_with(tree) {
                return Some(format!("is in {}", tree.display()));
            }
            if tree.starts_with(path) {
                return Some(format!("holds {}", tree.display()));
            }
        }
        SOCKETS.iter().find(|socket| Path::new(socket).starts_with(path)).map(|socket| format!("holds {socket}"))
    }

    /// Whether `path` is one of the files that CRI and the kubelet mount into this very container.
    pub(crate) fn is_own_volume(&self, path: &Path, identity: &Identity, container_id: &str) -> bool {
        if !is_clean(path) || identity.kind == ContainerKind::Standalone {
            return false;
        }
        let kubelet = self.kubelet_roots.iter().filter_map(|root| path.strip_prefix(root).ok());
        let containerd = self.containerd_roots.iter().filter_map(|root| path.strip_prefix(root).ok());
        kubelet.into_iter().any(|rest| is_pod_path(rest, &identity.pod_uid))
            || containerd.into_iter().any(|rest| is_cri_path(rest, identity, container_id))
    }

    /// The kubelet's directory for a kind of volume that `path` lies in, such as `kubernetes.io~secret`.
    pub(crate) fn volume_plugin<'a>(&self, path: &'a Path) -> Option<&'a str> {
        self.volume(path).map(|(plugin, _)| plugin)
    }

    /// The same with the volume's own name.
    pub(crate) fn volume<'a>(&self, path: &'a Path) -> Option<(&'a str, &'a str)> {
        let mut below = self.kubelet_roots.iter().filter_map(|root| path.strip_prefix(root).ok());
        below.find_map(|rest| match texts(rest).as_slice() {
            ["pods", _, "volumes", plugin, name, ..] => Some((*plugin, *name)),
            _ => None,
        })
    }

    /// Whether `path` lies where containerd's snapshotters keep layers, or in a directory that the
    /// admin added.
    pub(crate) fn is_layer(&self, path: &Path, extra: &[PathBuf]) -> bool {
        if !is_clean(path) {
            return false;
        }
        let in_snapshotter = |rest: &Path| {
            let first = rest.components().next().and_then(|part| part.as_os_str().to_str());
            first.is_some_and(|name| name.starts_with("io.containerd.snapshotter."))
        };
        self.containerd_roots.iter().filter_map(|root| path.strip_prefix(root).ok()).any(in_snapshotter)
            || extra.iter().any(|root| path.starts_with(root))
    }
}

/// Absolute, without `.` and `..`, so that text and place agree.
pub(crate) fn is_clean(path: &Path) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    let relative = text.split(|byte| *byte == b'/').any(|part| part == b"." || part == b"..");
    path.is_absolute() && !relative && !text.contains(&0)
}

/// Below the kubelet's root: what it mounts for the pod `uid`. `kubernetes.io~host-path` is no
/// directory of its own; a hostPath volume is mounted from where it is.
fn is_pod_path(rest: &Path, uid: &str) -> bool {
    let parts = texts(rest);
    let ["pods", pod, inside @ ..] = parts.as_slice() else { return false };
    if uid.is_empty() || *pod != uid {
        return false;
    }
    match inside {
        ["etc-hosts"] => true,
        ["volumes", plugin, _, ..] => *plugin != "kubernetes.io~host-path",
        ["volume-subpaths", _, _, ..] => true,
        ["containers", _, _] => true,
        _ => false,
    }
}

/// Directories of containerd's CRI plugin: 2.x keeps the name of 1.x for what is mounted.
const CRI_PLUGINS: &[&str] = &["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];

/// Below containerd's root or state: what its CRI plugin mounts for this sandbox or container.
fn is_cri_path(rest: &Path, identity: &Identity, container_id: &str) -> bool {
    let parts = texts(rest);
    let [plugin, kind, id, inside @ ..] = parts.as_slice() else { return false };
    if !CRI_PLUGINS.contains(plugin) {
        return false;
    }
    match (*kind, inside) {
        ("sandboxes", ["hostname" | "resolv.conf" | "hosts" | "shm"]) => *id == identity.sandbox_id,
        ("containers", ["volumes", _, ..]) => *id == container_id,
        ("image-volumes", [_, ..]) => *id == identity.sandbox_id,
        _ => false,
    }
}

fn texts(path: &Path) -> Vec<&str> {
    let normal = path.components().map(|part| match part {
        Component::Normal(name) => name.to_str(),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
    });
    normal.collect::<Option<Vec<&str>>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Identity {
        Identity {
            kind: ContainerKind::Container,
            sandbox_id: "s1".to_owned(),
            pod_uid: "uid-1".to_owned(),
            ..Identity::default()
        }
    }

    #[test]
    fn a_pods_own_files_are_recognised() {
        let node = NodePaths::default();
        for path in [
            "/var/lib/kubelet/pods/uid-1/etc-hosts",
            "/var/lib/kubelet/pods/uid-1/volumes/kubernetes.io~empty-dir/cache",
            "/var/lib/kubelet/pods/uid-1/volume-subpaths/pv/app/0",
            "/var/lib/kubelet/pods/uid-1/containers/app/1f2e",
            "/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/s1/hostname",
            "/run/containerd/io.containerd.grpc.v1.cri/sandboxes/s1/shm",
            "/var/lib/containerd/io.containerd.grpc.v1.cri/containers/c1/volumes/ab12",
            "/run/containerd/io.containerd.cri.v1.runtime/image-volumes/s1/ab12",
        ] {
            assert!(node.is_own_volume(Path::new(path), &pod(), "c1"), "{path}");
        }
    }

    #[test]
    fn what_is_not_the_pods_own_is_not() {
        let node = NodePaths::default();
        for path in [
            "/var/lib/kubelet/pods/uid-2/etc-hosts",
            "/var/lib/kubelet/pods/uid-1",
            "/var/lib/kubelet/pods/uid-1/volumes",
            "/var/lib/kubelet/pods/uid-1/volumes/kubernetes.io~host-path/x",
            "/var/lib/kubelet/pods/uid-1/volumes/../../uid-2/volumes/kubernetes.io~secret/x",
            "/var/lib/kubelet/pki/kubelet.key",
            "/run/containerd/io.containerd.grpc.v1.cri/sandboxes/s2/shm",
            "/run/containerd/io.containerd.grpc.v1.cri/containers/c2/volumes/ab12",
            "/run/containerd/io.containerd.cri.v1.runtime/image-volumes/s2/ab12",
            "/home/me/io.containerd.grpc.v1.cri/sandboxes/s1/shm",
        ] {
            assert!(!node.is_own_volume(Path::new(path), &pod(), "c1"), "{path}");
        }
        let own = Path::new("/var/lib/kubelet/pods/uid-1/etc-hosts");
        assert!(!node.is_own_volume(own, &Identity::default(), "c1"), "no pod, no pod path");
        let claiming = Identity { kind: ContainerKind::Standalone, ..pod() };
        assert!(!node.is_own_volume(own, &claiming, "c1"), "a name alone makes no pod");
        let nameless = Identity { pod_uid: String::new(), ..pod() };
        assert!(!node.is_own_volume(Path::new("/var/lib/kubelet/pods//etc-hosts"), &nameless, "c1"));
    }

    #[test]
    fn sensitive_paths_their_parents_and_their_children_are_denied() {
        let node = NodePaths::default();
        for path in ["/", "/etc", "/etc/passwd", "/var", "/run", "/var/lib", "/srv/docker.sock", "/dev/sda"] {
            assert!(node.denied(Path::new(path)).is_some(), "{path}");
        }
        for path in ["/srv/data", "/home/me", "/var/lib/postgresql", "/opt"] {
            assert_eq!(node.denied(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn layers_are_below_a_snapshotter_of_a_known_root() {
        let node = NodePaths::default();
        let layer = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/3/fs";
        assert!(node.is_layer(Path::new(layer), &[]));
        for path in ["/", "/var/lib/containerd", "/srv/io.containerd.snapshotter.v1.native/snapshots/1", "layer"] {
            assert!(!node.is_layer(Path::new(path), &[]), "{path}");
        }
        assert!(node.is_layer(Path::new("/srv/layers/1"), &["/srv/layers".into()]));
    }
}
