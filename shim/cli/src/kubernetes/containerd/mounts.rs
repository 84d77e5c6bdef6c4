//! The mounts of a container, in containerd's order.

use serde_json::{Value, json};

use super::{Maker, ids};
use crate::kubernetes::cri::{Container, FileKind, Mode, Mount, Origin, Propagation, Shows};

/// The kernel's filesystems of every container (`oci.defaultMounts` without /run).
pub(super) fn of_kernel() -> Vec<Value> {
    vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}),
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}),
        json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]}),
        json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]}),
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}),
    ]
}

/// What a container has at the end.
pub(super) struct Placed {
    pub(super) mounts: Vec<Value>,
    /// Where each comes from, and which it was in the container's list.
    pub(super) origins: Vec<(Origin, Option<usize>)>,
    /// `rshared` or `rslave`, where a mount has that.
    pub(super) root_propagation: Option<&'static str>,
}

pub(super) fn of_container(maker: &Maker<'_>, container: &Container, image_volumes: &[Mount]) -> Placed {
    let cri: Vec<(&Mount, Option<usize>)> = container
        .mounts
        .iter()
        .enumerate()
        .filter(|(_, mount)| mount.verbatim.is_none())
        .map(|(i, mount)| (mount, Some(i)))
        .collect();
    let own = containerds(maker, container);
    let taken = |path: &str| cri.iter().any(|(mount, _)| clean(&mount.container_path) == clean(path));
    let extra =
        own.iter().chain(image_volumes).filter(|mount| !taken(&mount.container_path)).map(|mount| (mount, None));
    let mut all: Vec<(&Mount, Option<usize>)> = cri.iter().copied().chain(extra).collect();
    all.sort_by_key(|(mount, _)| depth(&mount.container_path));

    let mode = if container.security.privileged { "rw" } else { "ro" };
    let mut placed = Placed { mounts: Vec::new(), origins: Vec::new(), root_propagation: None };
    let cgroup = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", mode]});
    let over = |path: &str| all.iter().any(|(mount, _)| clean(&mount.container_path) == path);
    for mut mount in of_kernel().into_iter().chain([cgroup]) {
        let at = destination(&mount);
        if over(&at) || (over("/dev") && at.starts_with("/dev/")) {
            continue;
        }
        if at == "/sys" && container.security.privileged {
            set_option(&mut mount, "ro", "rw");
        }
        placed.push(mount, Origin::Containerd, None);
    }
    for (mount, index) in all {
        placed.bind(mount, index, container);
    }
    let remapped_on_host =
        container.security.namespaces.users.is_some() && container.security.namespaces.network == Mode::Node;
    if remapped_on_host && !maker.node.one_seven {
        placed.bind_sys();
    }
    for (index, mount) in container.mounts.iter().enumerate() {
        if let Some(options) = &mount.verbatim {
            let shown = json!({"destination": mount.container_path, "type": "bind", "source": mount.host_path, "options": options});
            placed.push(shown, mount.origin.clone(), Some(index));
        }
    }
    placed
}

impl Placed {
    fn push(&mut self, mount: Value, origin: Origin, index: Option<usize>) {
        self.mounts.push(mount);
        self.origins.push((origin, index));
    }

    fn bind(&mut self, mount: &Mount, index: Option<usize>, container: &Container) {
        let propagation = match mount.propagation {
            Propagation::Private => "rprivate",
            Propagation::HostToContainer => "rslave",
            Propagation::Bidirectional => "rshared",
        };
        match propagation {
            "rshared" => self.root_propagation = Some("rshared"),
            "rslave" if self.root_propagation.is_none() => self.root_propagation = Some("rslave"),
            _ => {}
        }
        let mode = match (mount.read_only, mount.recursively) {
            (true, true) => "rro",
            (true, false) => "ro",
            (false, _) => "rw",
        };
        let mut shown = json!({"destination": mount.container_path, "type": "bind", "source": resolved(&mount.host_path),
            "options": ["rbind", propagation, mode]});
        let mappings = super::mappings(&container.security.namespaces).filter(|_| mount.remapped);
        if let (Some(mappings), Some(shown)) = (mappings, shown.as_object_mut()) {
            shown.insert("uidMappings".to_owned(), mappings.clone());
            shown.insert("gidMappings".to_owned(), mappings);
        }
        self.push(shown, mount.origin.clone(), index);
    }

    /// A user namespace may mount no sysfs of a network namespace that is not its own.
    fn bind_sys(&mut self) {
        if let Some(at) = self.mounts.iter().position(|mount| destination(mount) == "/sys") {
            self.mounts.remove(at);
            self.origins.remove(at);
        }
        let shown = json!({"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "rro", "nosuid", "nodev", "noexec"]});
        self.push(shown, Origin::Containerd, None);
    }
}

/// What containerd adds to what the kubelet asks for.
fn containerds(maker: &Maker<'_>, container: &Container) -> Vec<Mount> {
    let node = maker.node;
    let security = &container.security;
    let file = |name: &str| Mount {
        container_path: format!("/etc/{name}"),
        host_path: ids::sandbox_file(node, name),
        read_only: security.read_only_root,
        recursively: false,
        propagation: Propagation::Private,
        remapped: security.namespaces.users.is_some(),
        origin: Origin::Containerd,
        verbatim: None,
        shows: Shows { kind: FileKind::File, ..Shows::default() },
    };
    let of_host = security.namespaces.ipc == Mode::Node;
    let memory = Mount {
        container_path: "/dev/shm".to_owned(),
        host_path: if of_host { "/dev/shm".to_owned() } else { ids::shared_memory(node) },
        read_only: false,
        remapped: false,
        shows: Shows::default(),
        ..file("shm")
    };
    vec![file("hostname"), file("hosts"), file("resolv.conf"), memory]
}

/// Links that every distribution of the day has (`file-hierarchy(7)`): containerd writes down where they lead.
const LINKS: &[(&str, &str)] = &[
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
    ("/bin", "/usr/bin"),
    ("/sbin", "/usr/sbin"),
    ("/lib", "/usr/lib"),
    ("/lib64", "/usr/lib64"),
];

/// Where a path of the node leads.
fn resolved(path: &str) -> String {
    let path = clean(path);
    let through = LINKS.iter().find_map(|(link, target)| {
        let rest = path.strip_prefix(link)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{target}{rest}"))
    });
    through.unwrap_or(path)
}

/// Go's `filepath.Clean`, for absolute paths.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// containerd counts separators: / itself has as many as /a.
fn depth(path: &str) -> usize {
    clean(path).matches('/').count()
}

pub(super) fn destination(mount: &Value) -> String {
    mount.get("destination").and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub(super) fn set_option(mount: &mut Value, from: &str, to: &str) {
    for option in mount.pointer_mut("/options").and_then(Value::as_array_mut).into_iter().flatten() {
        if option == from {
            *option = Value::from(to);
        }
    }
}
