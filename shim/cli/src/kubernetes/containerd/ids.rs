//! Ids and directories of containerd that a specification names.

use sha2::{Digest as _, Sha256};

use crate::kubernetes::node::Node;

/// The sandbox's id; any will do.
pub(in crate::kubernetes) const SANDBOX: &str = "5f2c8a1d9b3e4f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8";

/// The pid of the pause process; any but 1 will do.
pub(super) const PAUSE_PID: u32 = 4242;

/// A container's id: the same for the same name.
pub(in crate::kubernetes) fn container(name: &str) -> String {
    Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the CRI plugin keeps files; 2.x keeps the name of 1.x.
pub(in crate::kubernetes) fn cri_root(node: &Node) -> String {
    format!("{}/io.containerd.grpc.v1.cri", node.containerd_root)
}

/// Where it keeps what is gone after a restart.
pub(in crate::kubernetes) fn cri_state(node: &Node) -> String {
    format!("{}/io.containerd.grpc.v1.cri", node.containerd_state)
}

/// A file of the sandbox.
pub(super) fn sandbox_file(node: &Node, name: &str) -> String {
    format!("{}/sandboxes/{SANDBOX}/{name}", cri_root(node))
}

/// The sandbox's shared memory.
pub(super) fn shared_memory(node: &Node) -> String {
    format!("{}/sandboxes/{SANDBOX}/shm", cri_state(node))
}

/// A cgroup below a parent, as containerd names it: systemd's form for a slice.
pub(super) fn cgroup(parent: &str, id: &str) -> String {
    let slice = parent.rsplit('/').next().unwrap_or_default();
    if slice.ends_with(".slice") {
        format!("{slice}:cri-containerd:{id}")
    } else {
        format!("{}/{id}", parent.trim_end_matches('/'))
    }
}
