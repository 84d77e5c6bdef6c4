//! The rules: a flat table of small functions, each with a stable id, a source, and an action for each
//! built-in profile. Order matters only where a rule builds on what an earlier one decided: the system
//! call profile comes after the capabilities.

mod annotations;
mod apparmor;
mod capabilities;
mod cgroups_path;
mod cpu;
mod cpuset;
mod cwd;
mod device_nodes;
mod device_rules;
mod disks;
mod environment;
mod exec;
mod flags;
mod hooks;
mod hostname;
mod hugepages;
mod identity;
mod image;
mod image_age;
mod image_digest;
mod image_labels;
mod image_listed;
mod image_registry;
mod image_scan;
mod image_signature;
mod linux_extras;
mod masked_paths;
mod memory;
mod memory_files;
mod mount_cgroup;
mod mount_dest;
mod mount_host_path;
mod mount_options;
mod mount_proc;
mod mount_propagation;
mod mount_secrets;
mod mount_secrets_tmpfs;
mod mount_size;
mod mount_sys;
mod mount_token;
mod mount_type;
mod namespaces;
mod no_new_privileges;
mod oom_score;
mod pids;
mod privileged;
mod read_only;
mod resource_network;
mod rlimits;
mod root_links;
mod root_on_disk;
mod root_path;
mod root_read_only;
mod scheduling;
mod seccomp;
mod secret_args;
mod secret_env;
mod selinux;
mod sysctl;
mod table;
mod task_checkpoint;
mod task_options;
mod task_rootfs;
mod task_stdio;
mod umask;
mod unified;
mod update;
mod user;
mod user_namespace;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use oci_spec::runtime as oci;
use serde::{Serialize, Serializer};

pub(crate) use root_on_disk::writes_as_root;

use crate::action::Action;
use crate::draft::{Draft, ProcessDraft};
use crate::grant::{Grant, GrantedDevice};
use crate::host::HostFacts;
use crate::identity::Identity;
use crate::moved::SecretPlace;
use crate::node::NodePaths;
use crate::profile::{Builtin, Settings};
use crate::rootfs::PlaceFact;
use crate::sheet::Sheet;
use crate::task::TaskFacts;

pub(crate) use capabilities::CONTAINERD_DEFAULTS;
pub(crate) use cgroups_path::own_cgroup;
pub(crate) use image::{ImageCase, ImageRule, judge as judge_image};
pub(crate) use image_scan::ScanSettings;
pub(crate) use secret_env::SecretVariable;
pub use table::RULES;
pub(crate) use task_stdio::LOGGER;

/// Stable name of a rule, as in the policy file and in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(&'static str);

impl RuleId {
    /// The rule that holds before any other can look.
    pub(crate) const STRICT: Self = Self("spec.strict");

    /// The rule about what a pod may ask of the policy.
    pub(crate) const ASKED: Self = Self("task.annotations");

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// The rule of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Rule> {
        RULES.iter().find(|rule| rule.id.0 == name)
    }

    /// How to loosen the rule, for a denial.
    pub(crate) fn change(self, profile: &str) -> String {
        let rule = RULES.iter().find(|rule| rule.id == self);
        match rule {
            Some(rule) if !rule.essential => {
                let key = rule.settings.first().map_or("action", |setting| setting.key());
                format!("[profiles.{profile}.rules.\"{self}\"] {key} in {}", crate::POLICY_PATH)
            }
            _ => "none, this rule holds in every profile".to_owned(),
        }
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for RuleId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

/// One control.
pub struct Rule {
    /// Its stable name.
    pub id: RuleId,
    /// What it is for and where the demand comes from: PSS = Kubernetes Pod Security Standards, CIS-D and
    /// CIS-K = CIS benchmarks for Docker and Kubernetes, NSA = NSA/CISA Kubernetes hardening guide.
    pub source: &'static str,
    /// What it does in the `restricted` profile.
    pub restricted: Action,
    /// What it does in the `baseline` profile.
    pub baseline: Action,
    /// Whether there is a change that mends what it finds.
    pub mutable: bool,
    /// It holds in every profile, because the hand-off depends on it.
    pub essential: bool,
    /// What the policy file can set beside the action.
    pub settings: &'static [Setting],
    pub(crate) judge: Judge,
}

/// A key of the policy file that belongs to one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Setting {
    /// `allow`: what passes beyond what the rule knows by itself.
    Allow,
    /// `uid`.
    Uid,
    /// `gid`.
    Gid,
    /// `capabilities`: the whole list.
    Capabilities,
    /// `default`: the limit where none is asked for.
    Default,
    /// `max`: the highest limit.
    Max,
    /// `profile`: the system call profile.
    Profile,
    /// `high`: the memory from which on a container is slowed down.
    High,
    /// `oom_group`: whether the OOM killer ends all of a container.
    OomGroup,
    /// `cpus`: the CPUs of which a container may have some.
    Cpus,
    /// `mems`: the memory nodes of which a container may have some.
    Mems,
    /// `limits`: the highest rates of disks.
    Limits,
    /// `weight`: the highest share of disks.
    Weight,
    /// `severity`: the lowest that is refused.
    Severity,
    /// `ignore`: vulnerabilities that are let pass.
    Ignore,
    /// `max_age`: days.
    MaxAge,
    /// `labels`: those that no image may have.
    Labels,
}

impl Setting {
    /// Its key in the file.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Capabilities => "capabilities",
            Self::Default => "default",
            Self::Max => "max",
            Self::Profile => "profile",
            Self::High => "high",
            Self::OomGroup => "oom_group",
            Self::Cpus => "cpus",
            Self::Mems => "mems",
            Self::Limits => "limits",
            Self::Weight => "weight",
            Self::Severity => "severity",
            Self::Ignore => "ignore",
            Self::MaxAge => "max_age",
            Self::Labels => "labels",
        }
    }
}

impl Rule {
    /// At which requests it judges.
    #[must_use]
    pub fn judged_at(&self) -> &'static str {
        match self.judge {
            Judge::Create(_) | Judge::Rootfs(_) | Judge::ImageConfig(_) => "create",
            Judge::Image(_) => "create, pull",
            Judge::Process(_) | Judge::Streams(_) => "create, exec",
            Judge::Resources(_) => "create, update",
            Judge::Exec(_) => "exec",
            Judge::Update(_) => "update",
            Judge::Reading => "all",
        }
    }

    /// Whether it asks which image a container is made of.
    pub(crate) fn is_about_images(&self) -> bool {
        matches!(self.judge, Judge::Image(_) | Judge::ImageConfig(_))
    }

    pub(crate) fn action_in(&self, builtin: Builtin) -> Action {
        match builtin {
            Builtin::Restricted => self.restricted,
            Builtin::Baseline => self.baseline,
            Builtin::Privileged if self.essential => Action::Deny,
            Builtin::Privileged => Action::Off,
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Which part of a request a rule judges.
#[derive(Clone, Copy)]
pub(crate) enum Judge {
    /// The specification and the fields of a create request.
    Create(fn(&mut Draft, &Case<'_>, &mut Sheet)),
    /// A process, of a create or an exec request.
    Process(fn(&mut ProcessDraft, &ProcessScope<'_>, &mut Sheet)),
    /// Resource limits, of a create or an update request.
    Resources(fn(&mut oci::LinuxResources, &ResourceScope<'_>, &mut Sheet)),
    /// The streams of a process, of a create or an exec request.
    Streams(fn(&[(&'static str, &str)], &StreamScope<'_>, &mut Sheet)),
    /// An exec request against what its container was given.
    Exec(fn(&mut ProcessDraft, &Grant, &mut Sheet)),
    /// An update request.
    Update(fn(&mut oci::LinuxResources, &UpdateScope<'_>, &mut Sheet)),
    /// The root filesystem of a create request, once it is there.
    Rootfs(fn(&[PlaceFact], &mut Sheet)),
    /// The image of a create request, or of a pull.
    Image(ImageRule),
    /// What the image's configuration says, which nobody has before the image is fetched.
    ImageConfig(ImageRule),
    /// Reading the request at all; done before any other rule.
    Reading,
}

/// What a create request is judged by.
pub(crate) struct Case<'a> {
    pub(crate) host: &'a HostFacts,
    pub(crate) task: &'a TaskFacts<'a>,
    pub(crate) identity: &'a Identity,
    pub(crate) settings: &'a Settings,
    pub(crate) node: &'a NodePaths,
}

/// What a process is judged by.
pub(crate) struct ProcessScope<'a> {
    pub(crate) settings: &'a Settings,
    /// Root in the container is an ordinary user of the host.
    pub(crate) user_remapped: bool,
    /// Where its secrets can be moved to.
    pub(crate) secrets: SecretPlace<'a>,
}

/// What resource limits are judged by.
pub(crate) struct ResourceScope<'a> {
    pub(crate) settings: &'a Settings,
    /// A limit that is absent gets its default; in an update it stays as it is.
    pub(crate) fills_in: bool,
    /// Thousandths of a CPU that the cgroups above allow.
    pub(crate) cpu_ceiling: Option<u64>,
    /// No swap is said by the name of v2's file as well.
    pub(crate) swap_by_name: bool,
    /// cgroup v2 has the limits, so there are files that OCI knows by name only.
    pub(crate) unified: bool,
    /// The sizes of the machine's huge pages, as OCI names them.
    pub(crate) huge_page_sizes: &'a [String],
    /// What an update is to change; `None` at a create.
    pub(crate) in_force: Option<&'a oci::LinuxResources>,
    /// The container's own device nodes.
    pub(crate) devices: &'a [GrantedDevice],
}

/// What the streams are judged by.
pub(crate) struct StreamScope<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) node: &'a NodePaths,
    /// containerd's state directory.
    pub(crate) state: &'a Path,
}

/// What an update request is judged by.
pub(crate) struct UpdateScope<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) annotations: &'a BTreeMap<String, String>,
}
