//! What containerd's task requests say beside the specification.

use std::collections::BTreeMap;
use std::path::Path;

use oci_spec::runtime::LinuxResources;
use serde::Serialize;

use crate::day::Day;
use crate::host::HostFacts;
use crate::identity::Identity;
use crate::image::ImageAnswer;
use crate::spec::ParsedSpec;

/// A create request, complete: specification, host facts, and the request's own fields.
#[derive(Debug, Clone)]
pub struct CreateRequest<'a> {
    /// The parsed config.json.
    pub spec: ParsedSpec,
    /// What the host said about the paths in it.
    pub host: HostFacts,
    /// The fields of `CreateTaskRequest`.
    pub task: TaskFacts<'a>,
    /// The day it is, for exemptions that expire.
    pub today: Day,
    /// What containerd says of the image.
    pub image: ImageAnswer,
}

/// The fields of containerd's `CreateTaskRequest` that carry power.
#[derive(Debug, Clone)]
pub struct TaskFacts<'a> {
    /// Container id.
    pub id: &'a str,
    /// containerd's namespace, such as `k8s.io` or `default`.
    pub namespace: &'a str,
    /// Absolute path of the bundle.
    pub bundle: &'a Path,
    /// URI of standard input, empty for none.
    pub stdin: &'a str,
    /// URI of standard output, empty for none.
    pub stdout: &'a str,
    /// URI of standard error, empty for none.
    pub stderr: &'a str,
    /// Whether the client asks for a terminal.
    pub terminal: bool,
    /// Path of a checkpoint to restore, empty for none.
    pub checkpoint: &'a str,
    /// Path of the checkpoint before that one, empty for none.
    pub parent_checkpoint: &'a str,
    /// The mounts that make up the root filesystem.
    pub rootfs_mounts: &'a [RootfsMount<'a>],
    /// Runtime options.
    pub options: RuntimeOptions,
    /// Whose sandboxes this very shim holds: the pod's, once that is created. A shim serves one pod.
    pub sandboxes: &'a [Identity],
}

/// One mount of the root filesystem (containerd `types.Mount`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootfsMount<'a> {
    /// Filesystem type.
    pub kind: &'a str,
    /// Source.
    pub source: &'a str,
    /// Mount options.
    pub options: &'a [String],
}

/// The fields of `containerd.runc.v1.Options` that change how a container is made.
///
/// Whoever can call containerd sets these, so none of them may name a program, a directory or a way
/// round a protection. Empty and false are the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RuntimeOptions {
    /// OCI runtime to run as root.
    pub binary_name: String,
    /// The runtime's state directory.
    pub root: String,
    /// Use MS_MOVE in place of pivot_root.
    pub no_pivot_root: bool,
    /// Share the session keyring.
    pub no_new_keyring: bool,
    /// cgroup for the shim itself.
    pub shim_cgroup: String,
    /// Directory of checkpoint images.
    pub criu_image_path: String,
    /// CRIU's working directory.
    pub criu_work_path: String,
}

/// An exec request: the process is judged anew, for containerd sends the one of before hardening.
#[derive(Debug, Clone)]
pub struct ExecRequest<'a> {
    /// An OCI `Process` as JSON: the value of `ExecProcessRequest.spec`.
    pub process: &'a [u8],
    /// URI of standard input, empty for none.
    pub stdin: &'a str,
    /// URI of standard output, empty for none.
    pub stdout: &'a str,
    /// URI of standard error, empty for none.
    pub stderr: &'a str,
    /// Whether the client asks for a terminal.
    pub terminal: bool,
    /// The day it is.
    pub today: Day,
}

/// An update request.
#[derive(Debug, Clone)]
pub struct UpdateRequest<'a> {
    /// OCI `LinuxResources` as JSON: the value of `UpdateTaskRequest.resources`.
    pub resources: &'a [u8],
    /// The request's annotations.
    pub annotations: &'a BTreeMap<String, String>,
    /// What was decided for the container up to now, where that is known.
    pub in_force: Option<&'a LinuxResources>,
    /// The day it is.
    pub today: Day,
}

impl ExecRequest<'_> {
    pub(crate) fn streams(&self) -> [(&'static str, &str); 3] {
        [("/task/stdin", self.stdin), ("/task/stdout", self.stdout), ("/task/stderr", self.stderr)]
    }
}

impl<'a> TaskFacts<'a> {
    /// A request that asks for nothing beside its specification.
    #[must_use]
    pub fn plain(id: &'a str, bundle: &'a Path, sandboxes: &'a [Identity]) -> Self {
        Self {
            id,
            namespace: "k8s.io",
            bundle,
            stdin: "",
            stdout: "",
            stderr: "",
            terminal: false,
            checkpoint: "",
            parent_checkpoint: "",
            rootfs_mounts: &[],
            options: RuntimeOptions::default(),
            sandboxes,
        }
    }
}

impl TaskFacts<'_> {
    pub(crate) fn streams(&self) -> [(&'static str, &str); 3] {
        [("/task/stdin", self.stdin), ("/task/stdout", self.stdout), ("/task/stderr", self.stderr)]
    }

    /// containerd's state directory: a bundle is `<state>/io.containerd.runtime.v2.task/<namespace>/<id>`.
    pub(crate) fn state_directory(&self) -> Option<&Path> {
        let tasks = self.bundle.parent()?.parent()?;
        let state = (tasks.file_name()? == "io.containerd.runtime.v2.task").then(|| tasks.parent())?;
        state.filter(|state| *state != Path::new("/"))
    }
}
