//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::doctor::Severity;

/// What palisade's policy would do with a container, what it did, and what a change of the policy would mean.
#[derive(Debug, Parser)]
#[command(name = "palisade", version, about, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Judge specifications as the shim would. Exit code 0: all admitted, 1: one refused, 2: not readable.
    Check(CheckArguments),
    /// Show what was changed in a container, and why.
    Explain(ExplainArguments),
    /// Compare running containers with what was decided for them. Exit code 0: all are that, 1: one is not, 2: not readable.
    Verify(VerifyArguments),
    /// List containers: profile, user, capabilities, system call filter, limits and usage, and whether each is what was decided.
    Ps(PsArguments),
    /// Look at policy files.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Look at system call profiles: what they allow, in what they differ, what a call would get.
    #[command(subcommand)]
    Seccomp(SeccompCommand),
    /// Tell which decisions of an audit log another policy would make differently. Exit code 1 if there is one.
    Replay(ReplayArguments),
    /// List the system calls that containers were refused by their filters, from the audit log.
    Refusals(RefusalsArguments),
    /// Show what is on record, as it comes: decisions, refusals, OOM kills.
    Events(EventsArguments),
    /// Look at the audit log itself.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Give metrics of this node to Prometheus: on a loopback address, a socket, or as a file for node_exporter.
    Monitor(MonitorArguments),
    /// Audit the node: kernel, containerd, runtimes, permissions, policy, kubelet. Exit code 0: nothing at or above --fail-on, 1: something, 2: not run.
    Doctor(DoctorArguments),
    /// Print a page of HTML about this node: what runs under which profile, what was changed and refused, exemptions that end.
    Report(ReportArguments),
    /// Make system call profiles of what containers of a policy profile with `learn = true` were seen to call.
    #[command(subcommand)]
    Learn(LearnCommand),
    /// Ask containerd which image a container is made of. Called as `image-verifier` (the name of the program, or its first argument), palisade
    /// is a verifier of containerd's instead.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Install palisade on this node: programs, a policy to begin with, the monitor's unit, containerd's handler. Exit code 0: done, 1: done, and something
    /// is left to the admin, which is told, 2: not done, and everything is as it was.
    Install(InstallArguments),
    /// Take away what `install` has put on this node, and put back what was there. Exit codes as of `install`.
    Uninstall(UninstallArguments),
    /// Run a program of another tree, in that tree.
    #[command(hide = true)]
    Within {
        /// The tree.
        root: PathBuf,
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<std::ffi::OsString>,
    },
    /// Print a completion script.
    Completion {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Print what is known of a container's image, as the shim asks for it: JSON. Exit code 1 where nothing is.
    Facts(FactsArguments),
}

#[derive(Debug, Args)]
pub(crate) struct FactsArguments {
    /// The container's id.
    #[arg(long)]
    pub(crate) container: String,
    /// containerd's namespace.
    #[arg(long, short, default_value = "k8s.io")]
    pub(crate) namespace: String,
    /// Path of containerd's gRPC socket.
    #[arg(long, default_value = "/run/containerd/containerd.sock")]
    pub(crate) address: String,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// A config.json, a bundle, a directory of bundles, or - for standard input.
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) policy: PolicyFile,
    /// Judge as if the policy's default profile were this one.
    #[arg(long)]
    pub(crate) profile: Option<String>,
    /// Judge paths by their names alone: for specifications of another machine. Links and mounts are not seen then.
    #[arg(long)]
    pub(crate) offline: bool,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    pub(crate) format: CheckFormat,
    #[command(flatten)]
    pub(crate) kubernetes: KubernetesArguments,
}

#[derive(Debug, Args)]
pub(crate) struct KubernetesArguments {
    /// The paths are manifests of Kubernetes (YAML or JSON, directories of them, - for standard input): judge the pods that they make.
    #[arg(long)]
    pub(crate) kubernetes: bool,
    /// The RuntimeClass that stands for palisade: pods that select another one are told, and not judged.
    #[arg(long, value_name = "NAME", default_value = "palisade", requires = "kubernetes")]
    pub(crate) runtime_class: String,
    /// Judge pods of every RuntimeClass, and of none, as if they selected palisade's.
    #[arg(long, requires = "kubernetes")]
    pub(crate) assume: bool,
    /// The namespace of objects that name none.
    #[arg(long, value_name = "NAME", default_value = "default", requires = "kubernetes")]
    pub(crate) namespace: String,
    /// The configuration (OCI image-spec) of an image that manifests name.
    #[arg(long, value_name = "REFERENCE=FILE", requires = "kubernetes")]
    pub(crate) image_config: Vec<String>,
    /// What the device plugin of a resource adds: a CDI specification.
    #[arg(long, value_name = "RESOURCE=FILE", requires = "kubernetes")]
    pub(crate) cdi: Vec<String>,
    /// A fact of the nodes that is not as usual: memory=64Gi, cgroup=v1, driver=cgroupfs, apparmor=no, selinux=yes, containerd=1.7 and others
    /// (docs/kubernetes-check.md).
    #[arg(long, value_name = "FACT=VALUE", requires = "kubernetes")]
    pub(crate) node: Vec<String>,
    /// Print the smallest changes that pass as JSON patches (RFC 6902), one for each object.
    #[arg(long, requires = "kubernetes")]
    pub(crate) suggest: bool,
    /// Print the specifications that containerd would hand to the shim, in place of the findings.
    #[arg(long, requires = "kubernetes", conflicts_with = "suggest")]
    pub(crate) specs: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// A line for each finding.
    Text,
    /// An array of records as in the audit log.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// Id of a container that runs, or of one that is on record.
    pub(crate) id: String,
    /// containerd's namespace.
    #[arg(long, short, default_value = "k8s.io")]
    pub(crate) namespace: String,
    /// containerd's state directory.
    #[arg(long, default_value = "/run/containerd")]
    pub(crate) state: PathBuf,
    #[command(flatten)]
    pub(crate) policy: PolicyFile,
    /// How to print the changes.
    #[arg(long, value_enum, default_value_t = ExplainFormat::Diff)]
    pub(crate) format: ExplainFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExplainFormat {
    /// The reasons, then a unified diff, in colour on a terminal unless `NO_COLOR` is set.
    Diff,
    /// An RFC 6902 patch from containerd's specification to the one handed on.
    Patch,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The container's id, or its beginning.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) id: Option<String>,
    /// Every container of every namespace.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) places: Places,
}

#[derive(Debug, Args)]
pub(crate) struct PsArguments {
    #[command(flatten)]
    pub(crate) places: Places,
}

#[derive(Debug, Args)]
pub(crate) struct Places {
    /// Only of this containerd namespace.
    #[arg(long, short)]
    pub(crate) namespace: Option<String>,
    /// containerd's state directory.
    #[arg(long, default_value = "/run/containerd")]
    pub(crate) state: PathBuf,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = ListFormat::Text)]
    pub(crate) format: ListFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// A line for each container.
    Text,
    /// An array of objects.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Read a policy file with its drop-ins as the shim does, with the same demands on owner and mode.
    Validate {
        #[command(flatten)]
        policy: PolicyFile,
    },
    /// Print every rule of a profile with action and settings, as they are in force.
    Show {
        #[command(flatten)]
        policy: PolicyFile,
        /// Only this profile.
        #[arg(long)]
        profile: Option<String>,
    },
    /// Print the JSON Schema of the policy file, for editors and for checks before a file reaches a node.
    Schema,
    /// Print what two policy files treat differently, and whether the new one is looser. Exit code 1 if it is.
    Diff {
        /// The policy as it is.
        old: PathBuf,
        /// The policy as it would be.
        new: PathBuf,
    },
    /// Bring what a mounted ConfigMap holds into force on this node, as a whole and if the shim would go by it. With --once or --check:
    /// exit code 0 if what is wanted is in force, 1 if not.
    Sync(SyncArguments),
}

#[derive(Debug, Args)]
pub(crate) struct SyncArguments {
    /// The directory that the ConfigMap is mounted at; keys are policy.toml, policy.NAME.toml, seccomp.NAME.json, mitigations.NAME.json.
    #[arg(long, default_value = "/policy", value_name = "DIRECTORY")]
    pub(crate) from: PathBuf,
    /// The directory of the node's policy file. What is in force is kept in its directory cluster/, and nothing else is touched.
    #[arg(long, default_value = "/etc/palisade", value_name = "DIRECTORY")]
    pub(crate) to: PathBuf,
    /// Where the node's tree is mounted: a runtime that the policy names has to be there.
    #[arg(long, default_value = "/", value_name = "DIRECTORY")]
    pub(crate) root: PathBuf,
    /// What the last look came to, for --check and the monitor.
    #[arg(long, default_value = STATUS, value_name = "FILE")]
    pub(crate) status: PathBuf,
    /// Seconds after which it looks although nothing has changed.
    #[arg(long, default_value_t = 30)]
    pub(crate) interval: u64,
    /// Look once and end.
    #[arg(long)]
    pub(crate) once: bool,
    /// Do nothing but print what the last look came to.
    #[arg(long, conflicts_with = "once")]
    pub(crate) check: bool,
}

/// Where `policy sync` says what it did. In a directory of its own, which is all that the monitor may read of it.
const STATUS: &str = "/var/lib/palisade/sync/status.json";

#[derive(Debug, Subcommand)]
pub(crate) enum SeccompCommand {
    /// List the profiles and mitigations that the policy can name, with what is in use.
    List {
        #[command(flatten)]
        policy: PolicyFile,
    },
    /// Print what a profile says of each system call, as the shim resolves it.
    Show {
        /// The name of a profile, or a file (with a / in it, or ending in .json).
        profile: String,
        #[command(flatten)]
        with: ProfileArguments,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = SeccompFormat::Text)]
        format: SeccompFormat,
    },
    /// Print for which system calls and arguments two profiles differ, and which one is stricter. Exit code 1 if they differ.
    Diff {
        /// One profile: a name or a file.
        a: String,
        /// The other.
        b: String,
        #[command(flatten)]
        with: ProfileArguments,
    },
    /// Print what one system call would get, and which entry decides. Exit code 1 if it would not run.
    Test {
        /// The name of a profile, or a file.
        profile: String,
        /// The system call's name.
        syscall: String,
        /// Its arguments, as numbers (38, 0x5412, 0644, -1); those that are left out are 0.
        #[arg(num_args = 0..=6, allow_negative_numbers = true)]
        arguments: Vec<String>,
        #[command(flatten)]
        with: ProfileArguments,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ProfileArguments {
    /// Capabilities that the container is left with, on which entries may depend: SYS_CHROOT,SYS_NICE.
    #[arg(long, value_delimiter = ',', value_name = "CAPS")]
    pub(crate) caps: Vec<String>,
    /// Mitigations to take away beside those that the policy switches on.
    #[arg(long = "mitigation", value_name = "ID")]
    pub(crate) mitigations: Vec<String>,
    #[command(flatten)]
    pub(crate) policy: PolicyFile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SeccompFormat {
    /// A line for each system call and set of arguments.
    Text,
    /// OCI seccomp JSON, as a runtime gets it.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct RefusalsArguments {
    /// Only of this container: the beginning of its id, or pod-namespace/pod-name.
    pub(crate) container: Option<String>,
    #[command(flatten)]
    pub(crate) log: LogFile,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = RefusalsFormat::Text)]
    pub(crate) format: RefusalsFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RefusalsFormat {
    /// A line for each container and call.
    Text,
    /// An array of objects as in the audit log.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LearnCommand {
    /// List the records.
    List {
        #[command(flatten)]
        records: Records,
    },
    /// Print what was seen.
    Show {
        /// A container's id, its beginning, or the image reference that all records of are taken together.
        of: String,
        #[command(flatten)]
        records: Records,
    },
    /// Print a profile that allows what was seen, with the calls that every program makes, and nothing else.
    Write {
        /// A container's id, its beginning, or the image reference that all records of are taken together.
        of: String,
        #[command(flatten)]
        records: Records,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Records {
    /// The directory of the records; without it the policy's.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) records: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) policy: PolicyFile,
}

#[derive(Debug, Args)]
pub(crate) struct LogFile {
    /// The audit log; without it the policy's. Files rotated before it are read as well.
    #[arg(long)]
    pub(crate) log: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) policy: PolicyFile,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArguments {
    /// Only of this container: the beginning of its id, or pod-namespace/pod-name.
    pub(crate) container: Option<String>,
    /// Go on with what comes, until interrupted.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How many of the last ones to begin with; all of them without --follow, 10 with it.
    #[arg(long, short = 'n', value_name = "NUMBER")]
    pub(crate) lines: Option<usize>,
    /// Only what an admin should look at: refused requests, processes that are not what was decided, refused calls, OOM kills, policies
    /// that can't be read.
    #[arg(long, short)]
    pub(crate) problems: bool,
    #[command(flatten)]
    pub(crate) log: LogFile,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = EventsFormat::Text)]
    pub(crate) format: EventsFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventsFormat {
    /// A line for each, in colour on a terminal unless `NO_COLOR` is set.
    Text,
    /// The records, one a line.
    Json,
    /// Alerts as Falco prints them in JSON, for what takes those (falcosidekick).
    Falco,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Follow the chain of digests through the log. Exit code 0: every line is as it was written, 1: one is not, or is missing.
    Verify {
        #[command(flatten)]
        log: LogFile,
        /// The digest of a line that was noted elsewhere, which has to be in the log still.
        #[arg(long, value_name = "SHA256")]
        anchor: Option<String>,
    },
    /// Print the JSON Schema of a line.
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct MonitorArguments {
    /// Address of this machine alone.
    #[arg(long, default_value = "127.0.0.1:9744", value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// A socket in place of the address.
    #[arg(long, value_name = "PATH", conflicts_with = "textfile")]
    pub(crate) socket: Option<PathBuf>,
    /// A file for node_exporter's textfile collector in place of an address, ending in .prom.
    #[arg(long, value_name = "FILE")]
    pub(crate) textfile: Option<PathBuf>,
    /// Seconds between two writings of that file.
    #[arg(long, default_value_t = 15)]
    pub(crate) interval: u64,
    /// Print the metrics once and end.
    #[arg(long, conflicts_with_all = ["socket", "textfile"])]
    pub(crate) once: bool,
    /// Where the counters are kept over a restart, in a directory of its own.
    #[arg(long, default_value = "/var/lib/palisade/monitor/counters.json", value_name = "FILE")]
    pub(crate) kept: PathBuf,
    /// What `palisade policy sync` says of this node.
    #[arg(long, default_value = STATUS, value_name = "FILE")]
    pub(crate) sync: PathBuf,
    /// Answer on an address that other machines reach. Whoever sees to that says who may ask: a NetworkPolicy, where it is a pod's.
    #[arg(long)]
    pub(crate) allow_remote: bool,
    /// Tell nothing of the node itself, as `palisade doctor` finds it: in a container it would look at the container.
    #[arg(long)]
    pub(crate) no_doctor: bool,
    /// The user and group that it becomes when it is started as root; no other process should have it.
    #[arg(long, default_value_t = 64744)]
    pub(crate) uid: u32,
    /// containerd's state directory.
    #[arg(long, default_value = "/run/containerd")]
    pub(crate) state: PathBuf,
    #[command(flatten)]
    pub(crate) log: LogFile,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    #[command(flatten)]
    pub(crate) log: LogFile,
    /// Only of the log, not of the containers that run here: for a log of another machine.
    #[arg(long)]
    pub(crate) no_containers: bool,
    /// containerd's state directory.
    #[arg(long, default_value = "/run/containerd")]
    pub(crate) state: PathBuf,
}

impl ReportArguments {
    /// Where its containers are.
    pub(crate) fn places(&self) -> Places {
        Places { namespace: None, state: self.state.clone(), format: ListFormat::Text }
    }
}

#[derive(Debug, Args)]
pub(crate) struct InstallArguments {
    #[command(flatten)]
    pub(crate) place: InstallPlace,
    /// The directory with containerd-shim-palisade-v1 and palisade; without it the one of this program.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) from: Option<PathBuf>,
    /// Where the programs are put, on the node; containerd looks for shims in its PATH.
    #[arg(long, default_value = "/usr/local/bin", value_name = "DIRECTORY")]
    pub(crate) bin_dir: PathBuf,
    /// Name of the handler, which a RuntimeClass names.
    #[arg(long, default_value = "palisade", value_name = "NAME")]
    pub(crate) handler: String,
    /// How containerd is told to use palisade.
    #[arg(long, value_enum, default_value_t = HandlerForm::Auto)]
    pub(crate) form: HandlerForm,
    /// Add to a configuration of containerd's that somebody else wrote, where there is no other way. It stays as it is otherwise, byte for byte.
    #[arg(long)]
    pub(crate) edit_config: bool,
    /// Without the unit of `palisade monitor`.
    #[arg(long)]
    pub(crate) no_monitor: bool,
    /// Go back to the version that the last upgrade replaced.
    #[arg(long, conflicts_with_all = ["from", "handler", "form", "edit_config", "no_monitor"])]
    pub(crate) rollback: bool,
}

impl InstallArguments {
    /// As the node has it.
    pub(crate) fn bin_dir(&self) -> String {
        let path = std::path::absolute(&self.bin_dir).unwrap_or_else(|_| self.bin_dir.clone());
        path.to_string_lossy().trim_end_matches('/').to_owned()
    }
}

#[derive(Debug, Args)]
pub(crate) struct UninstallArguments {
    #[command(flatten)]
    pub(crate) place: InstallPlace,
    /// Also while containers are under palisade, and while other handlers are palisade's. The containers run on, but CRI lets nobody exec in them any more;
    /// the programs are left until a later run, when they have ended.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Which node, and how.
#[derive(Debug, Args)]
pub(crate) struct InstallPlace {
    /// The node's tree of files, where it is mounted; no link leads out of it, and the node's programs are run within it.
    #[arg(long, default_value = "/", value_name = "DIRECTORY")]
    pub(crate) root: PathBuf,
    /// containerd's configuration, within the tree; without it the one that containerd was started with, that of k3s, rke2 or microk8s, else
    /// /etc/containerd/config.toml.
    #[arg(long, value_name = "FILE")]
    pub(crate) containerd_config: Option<PathBuf>,
    /// containerd's version, where it is not to be run: for the tree of a machine that is still to be made. Nothing is checked by it then.
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["restart", "restart_command"])]
    pub(crate) containerd_version: Option<String>,
    /// Restart containerd by systemd if its configuration was changed, and wait until it answers. Containers go on.
    #[arg(long)]
    pub(crate) restart: bool,
    /// The same by this command: words without quoting, no shell.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) restart_command: Option<String>,
    /// Seconds that containerd may take to come back.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) wait: u64,
    /// Print what would be done, and do nothing. Exit code 1 if there is something.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = ListFormat::Text)]
    pub(crate) format: ListFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HandlerForm {
    /// In place of runc's shim before containerd 2.2, by its own type from then on.
    Auto,
    /// By palisade's own runtime type.
    Type,
    /// In place of runc's shim, by the path of palisade's.
    Path,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// The node's tree of files, where it is mounted; no link leads out of it. No program of another tree is run.
    #[arg(long, default_value = "/", value_name = "DIRECTORY")]
    pub(crate) root: PathBuf,
    /// How to print what was found.
    #[arg(long, value_enum, default_value_t = DoctorFormat::Text)]
    pub(crate) format: DoctorFormat,
    /// The least severity that makes the exit code 1, of what is wrong or could not be looked at.
    #[arg(long, value_enum, default_value_t = Severity::High, value_name = "SEVERITY")]
    pub(crate) fail_on: Severity,
    /// Also print what is as it should be.
    #[arg(long)]
    pub(crate) all: bool,
    /// Only these checks: an id, or the beginning of ids up to a dot (host.kernel).
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    pub(crate) only: Vec<String>,
    /// All but these checks.
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    pub(crate) skip: Vec<String>,
    /// Mend what can be mended without harm, and look again: the modes of palisade's own files, and settings of the running kernel.
    #[arg(long, conflicts_with = "format")]
    pub(crate) fix: bool,
    /// With --fix: print what it would do, and do nothing.
    #[arg(long, requires = "fix")]
    pub(crate) dry_run: bool,
    /// containerd's configuration, within the tree; without it the one that containerd was started with, else /etc/containerd/config.toml.
    #[arg(long, value_name = "FILE")]
    pub(crate) containerd_config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) policy: PolicyFile,
}

impl DoctorArguments {
    /// Every check of the machine that this runs on.
    pub(crate) fn of_this_node(policy: &PolicyFile) -> Self {
        Self {
            root: PathBuf::from("/"),
            format: DoctorFormat::Text,
            fail_on: Severity::High,
            all: false,
            only: Vec::new(),
            skip: Vec::new(),
            fix: false,
            dry_run: false,
            containerd_config: None,
            policy: PolicyFile { file: policy.file.clone() },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DoctorFormat {
    /// Some lines for each fault, in colour on a terminal unless `NO_COLOR` is set.
    Text,
    /// One object, by docs/doctor.schema.json.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// The audit log.
    pub(crate) log: PathBuf,
    #[command(flatten)]
    pub(crate) policy: PolicyFile,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyFile {
    /// The policy file; without it the one that the shim uses (`PALISADE_CONFIG`, /etc/palisade/policy.toml).
    #[arg(long = "policy", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}
