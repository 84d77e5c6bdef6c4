//! The values that the rules of a profile go by.

use std::path::{Path, PathBuf};

use palisade_seccomp::{Architecture, BuiltinProfile, SeccompProfile};

use crate::capability::{CapabilitySet, constant};
use crate::image::RepositoryPattern;
use crate::profile::{Builtin, DiskLimits, High, NumberSet};
use crate::rules::ScanSettings;

/// Values of one profile. The lists hold what the admin adds to what a rule knows by itself.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Whom a root process becomes.
    pub(crate) user: NonRootUser,
    /// The capabilities that a container may keep.
    pub(crate) capabilities: CapabilitySet,
    /// The system call profile, less what the policy's mitigations take away.
    pub(crate) seccomp: SeccompProfile,
    /// Whose system calls run beside the native ones.
    pub(crate) architectures: Vec<Architecture>,
    pub(crate) host_paths: Vec<AllowedPath>,
    pub(crate) mount_types: Vec<String>,
    pub(crate) devices: Vec<AllowedDevice>,
    pub(crate) hooks: Vec<PathBuf>,
    pub(crate) annotations: Vec<String>,
    pub(crate) sysctls: Vec<String>,
    /// Variables that may hold a secret.
    pub(crate) secret_variables: Vec<String>,
    pub(crate) apparmor: Vec<String>,
    pub(crate) selinux: Vec<String>,
    pub(crate) rootfs: Vec<PathBuf>,
    pub(crate) stdio: Vec<PathBuf>,
    /// Programs that may take a container's output.
    pub(crate) loggers: Vec<PathBuf>,
    /// Bytes.
    pub(crate) memory: Ceiling,
    /// `memory.high` of cgroup v2; `None` leaves it to the container.
    pub(crate) memory_high: Option<High>,
    /// Whether the OOM killer ends all of a container; `None` leaves it to the container. cgroup v2 only.
    pub(crate) oom_group: Option<bool>,
    /// Thousandths of a CPU.
    pub(crate) cpu: Ceiling,
    /// Tasks.
    pub(crate) pids: Ceiling,
    /// `None`: any CPU, as below of any memory node.
    pub(crate) cpus: Option<NumberSet>,
    pub(crate) mems: Option<NumberSet>,
    /// Bytes of each size of huge page; `None` leaves them to the container.
    pub(crate) huge_pages: Option<Ceiling>,
    pub(crate) disks: DiskLimits,
    /// The highest weight on OCI's scale of 10 to 1000.
    pub(crate) disk_weight: Option<u16>,
    /// Bytes of one tmpfs.
    pub(crate) tmpfs: Ceiling,
    /// Where images may come from.
    pub(crate) image_repositories: Vec<RepositoryPattern>,
    /// Labels that no image may have, as `key` or `key=value`.
    pub(crate) image_labels: Vec<String>,
    /// Names of the keys of which one must have signed an image; empty for any of the policy's.
    pub(crate) image_signers: Vec<String>,
    pub(crate) image_scan: ScanSettings,
    /// Days; `None` for any age.
    pub(crate) image_age: Option<u32>,
}

/// The user and group that a root process is forced to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NonRootUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A limit where none is asked for, and the most that may be asked for. `default <= max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ceiling {
    pub(crate) default: u64,
    pub(crate) max: u64,
}

/// A device node that a container may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowedDevice {
    pub(crate) path: PathBuf,
    pub(crate) block: bool,
    pub(crate) major: i64,
    pub(crate) minor: i64,
}

/// A host directory or file that may be bind-mounted, with everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowedPath {
    pub(crate) path: PathBuf,
    pub(crate) read_only: bool,
}

/// User and group of "nonroot" in the distroless images, which many images ship in /etc/passwd.
const NON_ROOT_ID: u32 = 65_532;

const GIB: u64 = 1 << 30;

/// Kubernetes Pod Security Standards, restricted: `capabilities.add`.
const RESTRICTED_CAPABILITIES: &[&str] = &["CAP_NET_BIND_SERVICE"];

/// Kubernetes Pod Security Standards, baseline: the list of `capabilities.add`, and CAP_NET_RAW, which
/// is not on it but which containerd gives every container.
const BASELINE_CAPABILITIES: &[&str] = crate::rules::CONTAINERD_DEFAULTS;

/// 32-bit programs, which container runtimes let run. x32 is not there: next to no program uses it.
const BASELINE_ARCHITECTURES: &[Architecture] = &[Architecture::X86, Architecture::Arm];

impl Settings {
    pub(crate) fn of(builtin: Builtin) -> Self {
        let (names, seccomp, architectures): (_, _, &[Architecture]) = match builtin {
            Builtin::Restricted => (RESTRICTED_CAPABILITIES, BuiltinProfile::Strict, &[]),
            Builtin::Baseline | Builtin::Privileged => {
                (BASELINE_CAPABILITIES, BuiltinProfile::RuntimeDefault, BASELINE_ARCHITECTURES)
            }
        };
        Self {
            user: NonRootUser { uid: NON_ROOT_ID, gid: NON_ROOT_ID },
            capabilities: constant(names),
            seccomp: seccomp.into(),
            architectures: architectures.to_vec(),
            host_paths: Vec::new(),
            mount_types: Vec::new(),
            devices: Vec::new(),
            hooks: Vec::new(),
            annotations: Vec::new(),
            sysctls: Vec::new(),
            secret_variables: Vec::new(),
            apparmor: Vec::new(),
            selinux: Vec::new(),
            rootfs: Vec::new(),
            stdio: Vec::new(),
            loggers: Vec::new(),
            memory: Ceiling { default: 4 * GIB, max: 64 * GIB },
            memory_high: None,
            oom_group: None,
            cpu: Ceiling { default: 8_000, max: 8_000 },
            pids: Ceiling { default: 2_048, max: 4_096 },
            cpus: None,
            mems: None,
            huge_pages: None,
            disks: DiskLimits::default(),
            disk_weight: None,
            tmpfs: Ceiling { default: GIB / 2, max: 4 * GIB },
            image_repositories: Vec::new(),
            image_labels: Vec::new(),
            image_signers: Vec::new(),
            image_scan: ScanSettings::default(),
            image_age: None,
        }
    }
}

impl Settings {
    /// Whether a variable may hold a secret: `NAME`, or `NAME*` for all that begin so.
    pub(crate) fn lets_be_secret(&self, name: &str) -> bool {
        let listed = |entry: &String| entry.strip_suffix('*').map_or(entry == name, |begin| name.starts_with(begin));
        self.secret_variables.iter().any(listed)
    }
}

impl Ceiling {
    /// `asked`, but at most the maximum; the default where nothing is asked for.
    pub(crate) fn settle(self, asked: Option<u64>) -> u64 {
        asked.map_or(self.default, |asked| asked.min(self.max))
    }
}

impl AllowedPath {
    pub(crate) fn covers(&self, path: &Path) -> bool {
        path.starts_with(&self.path)
    }
}
