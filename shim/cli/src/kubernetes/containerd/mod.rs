//! The model of containerd's CRI plugin (2.x, `internal/cri`; 1.7 where it differs): from what the kubelet asks for to the specification that the
//! shim gets.

mod capabilities;
mod container;
pub(super) mod ids;
mod mounts;
mod sandbox;

use serde_json::Value;

pub(super) use capabilities::{full_name, is_known};

use super::cri::{Container, Namespaces, Origin, Sandbox};
use super::image::ImageConfig;
use super::node::Node;
use super::pod::SeLinux;

/// What all specifications of a pod have in common.
pub(super) struct Maker<'a> {
    pub(super) node: &'a Node,
    pub(super) sandbox: &'a Sandbox,
    /// What is known of the sandbox's image.
    pub(super) pause: &'a ImageConfig,
    /// containerd's default system call profile for these capabilities.
    pub(super) seccomp: &'a dyn Fn(&[String]) -> Value,
}

/// A specification, and where each of its mounts comes from.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) id: String,
    pub(super) spec: Value,
    /// One for each of `/mounts`: the index in the container's own list, if it is one of those.
    pub(super) mounts: Vec<(Origin, Option<usize>)>,
}

impl Maker<'_> {
    pub(super) fn sandbox(&self) -> Made {
        sandbox::specification(self)
    }

    pub(super) fn container(&self, container: &Container) -> Made {
        container::specification(self, container)
    }
}

/// The default of every container (`oci.defaultUnixCaps` and the namespaces that stand in order beside them).
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The label of a process, and of the files that it gets: levels are the node's to choose.
fn labels(options: Option<&SeLinux>, on: bool) -> (String, String) {
    if !on {
        return (String::new(), String::new());
    }
    let given = options.cloned().unwrap_or_default();
    let user = given.user.unwrap_or_else(|| "system_u".to_owned());
    let role = given.role.unwrap_or_else(|| "system_r".to_owned());
    let kind = given.kind.unwrap_or_else(|| "container_t".to_owned());
    let level = given.level.unwrap_or_else(|| "s0:c1,c2".to_owned());
    (format!("{user}:{role}:{kind}:{level}"), format!("{user}:object_r:container_file_t:{level}"))
}

fn mappings(namespaces: &Namespaces) -> Option<Value> {
    namespaces.users.map(|(host, size)| serde_json::json!([{ "containerID": 0, "hostID": host, "size": size }]))
}

/// Ids as OCI has them; what does not fit wraps, as in Go.
fn id(value: i64) -> u32 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what containerd does")]
    let id = value as u32;
    id
}
