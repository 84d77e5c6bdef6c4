//! The admin's policy, complete and checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use oci_spec::runtime::Capabilities;
use palisade_seccomp::{Library, Mitigation};

use crate::action::Action;
use crate::audit::AuditSettings;
use crate::exemption::{Exemption, ExemptionUse};
use crate::grant::Grant;
use crate::image::ImageSettings;
use crate::node::NodePaths;
use crate::policy_file::{self, PolicyError, PolicyFilesError};
use crate::profile::{Builtin, Profile};
use crate::scope::Candidate;
use crate::select::Selector;
use crate::spec::ParsedSpec;

/// Time for one call of the runtime where the file says nothing. `create` of a large image's container takes under a second.
const RUNTIME_DEADLINE: Duration = Duration::from_secs(60);

/// Everything that the admin decides. In force with no file at all: see [`Policy::builtin`].
#[derive(Debug, Clone)]
pub struct Policy {
    pub(crate) runtime: RuntimeChoice,
    pub(crate) runtime_deadline: Duration,
    pub(crate) audit: AuditSettings,
    pub(crate) seccomp: SeccompSettings,
    pub(crate) node: NodePaths,
    pub(crate) images: ImageSettings,
    /// The name in force for each container that no selector covers.
    pub(crate) selected: String,
    /// The built-in profiles, changed as the file says, and the file's own.
    pub(crate) profiles: Vec<Profile>,
    pub(crate) selectors: Vec<Selector>,
    pub(crate) exemptions: Vec<Exemption>,
    /// The system call profiles that can be named.
    pub(crate) library: Library,
    /// What is taken from every system call profile.
    pub(crate) mitigations: Vec<Arc<Mitigation>>,
}

/// Which OCI runtime is run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RuntimeChoice {
    /// The one that is part of the shim.
    #[default]
    Embedded,
    /// The program at this absolute path, such as runc or crun.
    Binary(PathBuf),
}

/// What the shim does beside filtering system calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeccompSettings {
    pub(crate) report: bool,
    pub(crate) records: PathBuf,
}

impl Default for SeccompSettings {
    fn default() -> Self {
        Self { report: true, records: PathBuf::from("/var/lib/palisade/calls") }
    }
}

/// What is wanted of a container's system call filter beside its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallWatch {
    /// Nothing.
    Off,
    /// A report of the calls that it refuses.
    Refusals,
    /// A record of the calls that run.
    Calls,
}

impl Policy {
    /// The policy without a file: profile `restricted`, embedded runtime.
    #[must_use]
    pub fn builtin() -> Self {
        Self {
            runtime: RuntimeChoice::default(),
            runtime_deadline: RUNTIME_DEADLINE,
            audit: AuditSettings::default(),
            seccomp: SeccompSettings::default(),
            node: NodePaths::default(),
            images: ImageSettings::default(),
            selected: Builtin::Restricted.name().to_owned(),
            profiles: Builtin::ALL.into_iter().map(Profile::builtin).collect(),
            selectors: Vec::new(),
            exemptions: Vec::new(),
            library: Library::default(),
            mitigations: Vec::new(),
        }
    }

    /// Reads a policy file. `docs/policy.md` is its reference.
    ///
    /// # Errors
    /// Anything that is not understood or makes no sense; the error names the line, the key and the mend.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        policy_file::read(&[("", text)], Library::default()).map_err(|error| error.source)
    }

    /// Reads a policy file, whose name is empty, and its drop-ins, each as (name, text). What can be there once may be in one of them;
    /// profiles, selectors and exemptions add up in the order of the files.
    ///
    /// # Errors
    /// As [`Policy::from_toml`], with the index of the file.
    pub fn from_files(files: &[(&str, &str)]) -> Result<Self, PolicyFilesError> {
        Self::from_files_with(files, Library::default())
    }

    /// The same, where the files can name the system call profiles and mitigations of this library.
    ///
    /// # Errors
    /// As [`Policy::from_files`].
    pub fn from_files_with(files: &[(&str, &str)], library: Library) -> Result<Self, PolicyFilesError> {
        policy_file::read(files, library)
    }

    /// The system call profiles and mitigations that this policy can name.
    #[must_use]
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The mitigations that are switched on.
    #[must_use]
    pub fn mitigations(&self) -> &[Arc<Mitigation>] {
        &self.mitigations
    }

    /// Which OCI runtime is run.
    #[must_use]
    pub fn runtime(&self) -> &RuntimeChoice {
        &self.runtime
    }

    /// Longest time that the runtime may take for one call; 60 s by default.
    #[must_use]
    pub fn runtime_deadline(&self) -> Duration {
        self.runtime_deadline
    }

    /// Where decisions are recorded.
    #[must_use]
    pub fn audit(&self) -> &AuditSettings {
        &self.audit
    }

    /// What is said of images as a whole.
    #[must_use]
    pub fn images(&self) -> &ImageSettings {
        &self.images
    }

    /// Whether the image of a container has to be looked up: a rule of its profile asks for it, or the record does.
    #[must_use]
    pub fn asks_for_image(&self, spec: &ParsedSpec, id: &str) -> bool {
        let identity = spec.identity();
        let candidate = Candidate::new(&identity, id);
        let (selection, _) = self.select_with(candidate, |name| spec.annotation(name));
        self.images.record || selection.profile.judges_images()
    }

    /// What is wanted of the filter of a container that this grant was made for.
    #[must_use]
    pub fn call_watch(&self, grant: &Grant) -> CallWatch {
        match (self.of_grant(grant).learns(), self.seccomp.report) {
            (true, _) => CallWatch::Calls,
            (false, true) => CallWatch::Refusals,
            (false, false) => CallWatch::Off,
        }
    }

    /// Absolute path of the directory of what containers were seen to call; `/var/lib/palisade/calls` by default.
    #[must_use]
    pub fn call_records(&self) -> &Path {
        &self.seccomp.records
    }

    /// Name of the profile in force where no selector covers a container.
    #[must_use]
    pub fn profile(&self) -> &str {
        &self.selected
    }

    /// The same policy with another default profile and no selectors; `None` if it has no such profile.
    #[must_use]
    pub fn with_profile(&self, name: &str) -> Option<Self> {
        self.named(name).map(|_| Self { selected: name.to_owned(), selectors: Vec::new(), ..self.clone() })
    }

    /// Host paths whose device and inode are to be compared with those of every bind source, so that
    /// another name of the same file does not pass. They need not exist.
    #[must_use]
    pub fn watched_host_paths(&self) -> Vec<PathBuf> {
        self.node.watched()
    }

    /// Whether some profile asks which volumes hold a token of a service account.
    #[must_use]
    pub fn looks_for_tokens(&self) -> bool {
        let mut rules = self.profiles.iter().flat_map(Profile::actions);
        rules.any(|(rule, action)| rule.id.as_str() == "mount.token" && action != Action::Off)
    }

    /// Whether the kubelet keeps what it fills with secrets at `path`: `pods/<uid>/volumes/<plugin>/<name>` below one of its roots. A directory of that
    /// name anywhere else is its author's.
    #[must_use]
    pub fn is_volume_of_secrets(&self, path: &Path) -> bool {
        matches!(self.node.volume_plugin(path), Some("kubernetes.io~secret" | "kubernetes.io~projected"))
    }

    /// The exemptions, as decisions that make use of them name them; those that have ended too.
    #[must_use]
    pub fn exemptions(&self) -> Vec<ExemptionUse> {
        self.exemptions.iter().map(Exemption::used).collect()
    }

    /// Does now what the first judgement would do first: reads the system call profile that is in force by default. What is wrong with it
    /// is that judgement's to say.
    pub fn prepare(&self) {
        drop(self.selected().settings.seccomp.resolve(&Capabilities::new(), &[]));
    }

    pub(crate) fn selected(&self) -> &Profile {
        self.find(&self.selected)
    }

    /// The profile that a container was created under, as the policy has it now. If it is gone, the built-in
    /// `restricted` counts: nobody said that less is enough.
    pub(crate) fn of_grant(&self, grant: &Grant) -> &Profile {
        self.find(grant.profile())
    }

    pub(crate) fn find(&self, name: &str) -> &Profile {
        self.named(name).unwrap_or_else(|| fallback())
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Profile> {
        self.profiles.iter().find(|profile| profile.name() == name)
    }
}

/// Where a profile is gone the strictest one counts.
fn fallback() -> &'static Profile {
    static RESTRICTED: std::sync::OnceLock<Profile> = std::sync::OnceLock::new();
    RESTRICTED.get_or_init(|| Profile::builtin(Builtin::Restricted))
}
