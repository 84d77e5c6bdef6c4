//! What the kernel has to do for a container, whoever asks for it.

use serde::{Deserialize, Serialize};

/// A container's life as calls to the kernel: nothing is read, decided or told. `probe bare` does it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KernelWork {
    /// Where the root file system is mounted; the folder is made.
    pub rootfs: String,
    /// How: an overlay with these options.
    pub overlay: String,
    /// Its cgroups, which are made and removed.
    pub cgroups: Vec<Cgroup>,
    /// Its namespaces beside that of process ids, as unshare(2) takes them.
    pub namespaces: i64,
    /// Its mounts, whose targets begin at the root file system.
    pub mounts: Vec<MountCall>,
    /// Paths under something empty.
    pub masked: Vec<String>,
    /// Paths that are made read-only.
    pub read_only: Vec<String>,
    /// The command.
    pub args: Vec<String>,
}

/// One cgroup of one hierarchy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cgroup {
    /// Its folder.
    pub folder: String,
    /// Files in it and what is written to them, in order.
    pub limits: Vec<(String, String)>,
}

/// The arguments of mount(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountCall {
    /// What is mounted.
    pub source: String,
    /// Where.
    pub target: String,
    /// The file system's type.
    pub kind: String,
    /// Flags.
    pub flags: i64,
    /// Options of the file system.
    pub data: String,
}

/// What that took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct WorkDone {
    /// From the first call to the last.
    pub nanoseconds: u64,
    /// CPU time in user and kernel, of all processes, in microseconds.
    pub cpu_microseconds: u64,
}
