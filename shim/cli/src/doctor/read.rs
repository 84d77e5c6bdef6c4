//! Reads the node: every fact that a check goes by, in one place.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use palisade::gate::{CLUSTER, CONFIG_VARIABLE, PolicyFileError, PolicySource, today};
use palisade_policy::{Day, RuntimeChoice};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use toml::{Table, Value};

use super::config::{Config, Merge, SHIM, texts};
use super::node::{
    ContainerdFacts, ExemptionFact, KubeletFacts, Node, PolicyFacts, Process, Program, RuleFact, ShimFacts,
};
use super::tree::{Fact, Tree, Way};
use super::version::Version;
use super::{engines, kernel, kubelet, permissions, yaml};
use crate::arguments::DoctorArguments;

/// Where programs are looked for.
pub(crate) const PROGRAM_DIRS: &[&str] =
    &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Configurations of containerd, of its own and of k3s.
const CONFIGS: &[&str] = &["/etc/containerd/config.toml", "/var/lib/rancher/k3s/agent/etc/containerd/config.toml"];
/// Where the policy is.
pub(super) const POLICY: &str = palisade_policy::POLICY_PATH;
/// Programs whose versions are known to matter.
pub(super) const RUNTIMES: &[&str] = &["runc", "crun", "youki"];
/// Processes to look for.
const ENGINES: &[&str] = &["containerd", "dockerd", "crio", "kubelet", "cri-dockerd"];
/// A program that does not say its version by then is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of a program's output, in bytes.
const MOST_OUTPUT: usize = 64 << 10;
/// Of a process' command line, in bytes.
const MOST_WORDS: u64 = 64 << 10;

/// Reads everything.
pub(super) fn read(tree: &Tree, arguments: &DoctorArguments) -> Node {
    let live = tree.is_live();
    let texts = kernel::texts().chain(engines::TEXTS.iter().copied()).map(|path| (path, tree.text(path))).collect();
    let processes = processes(tree);
    let packages = if live { Packages(Ok(BTreeMap::new())) } else { Packages::read(tree) };
    let version = |name: &str, path: &str| version_of(tree, &packages, name, path);
    let containerd = containerd(tree, arguments, &processes, &version);
    let named = named_policy(tree, arguments, &processes);
    let named = named.as_deref();
    let policy = policy_facts(tree, named);
    let runtimes = runtimes(tree, &containerd, running(&processes), &policy)
        .map(|(name, path)| (name, Program { version: version(name, &path), path }))
        .collect();
    let mut node = Node {
        today: today(),
        texts,
        ways: BTreeMap::new(),
        release: required(tree, "/proc/sys/kernel/osrelease"),
        arch: arch(tree),
        flaws_of_processor: flaws_of_processor(tree),
        plain_swap: plain_swap(tree),
        runtimes,
        tool: find(tree, "palisade", PROGRAM_DIRS),
        kubelet: kubelet(tree, &processes),
        processes,
        containerd,
        policy,
        policy_files: policy_files(tree, named.unwrap_or_else(|| Path::new(POLICY))),
    };
    let paths = permissions::paths(&node);
    node.ways = paths.into_iter().map(|path| (path.clone(), tree.way(&path))).collect::<BTreeMap<String, Way>>();
    node
}

fn required(tree: &Tree, path: &str) -> Fact<String> {
    tree.text(path)?.map(|text| text.trim().to_owned()).ok_or_else(|| format!("no {path}: is /proc of the node there?"))
}

fn arch(tree: &Tree) -> Fact<String> {
    match tree.text("/proc/sys/kernel/arch")? {
        Some(text) => Ok(text.trim().to_owned()),
        // Before 6.1, and the kernel is the one that this runs on.
        None => Ok(std::env::consts::ARCH.to_owned()),
    }
}

fn flaws_of_processor(tree: &Tree) -> Fact<Vec<(String, String)>> {
    const PLACE: &str = "/sys/devices/system/cpu/vulnerabilities";
    let names = tree.list(PLACE)?.ok_or_else(|| format!("no {PLACE}"))?;
    let said = names.into_iter().filter_map(|name| {
        let text = tree.text(format!("{PLACE}/{name}")).transpose()?;
        Some(text.map(|text| (name, text.trim().to_owned())))
    });
    said.collect()
}

/// Swap that keeps what it is given: memory that is compressed is none, and an encrypted device forgets.
fn plain_swap(tree: &Tree) -> Fact<Vec<String>> {
    let table = tree.text("/proc/swaps")?.ok_or("no /proc/swaps")?;
    let devices = table.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let is_plain = |device: &&str| {
        let name = device.rsplit('/').next().unwrap_or_default();
        let uuid = tree.text(format!("/sys/class/block/{name}/dm/uuid")).ok().flatten().unwrap_or_default();
        !name.starts_with("zram") && !uuid.starts_with("CRYPT-")
    };
    Ok(devices.filter(is_plain).map(str::to_owned).collect())
}

/// OCI runtimes: those that handlers and the policy name, and those that are found by their names.
fn runtimes(
    tree: &Tree,
    containerd: &ContainerdFacts,
    running: Option<&Process>,
    policy: &Fact<PolicyFacts>,
) -> impl Iterator<Item = (&'static str, String)> {
    let searched = running.and_then(|process| process.path.as_deref()).unwrap_or_default();
    let dirs: Vec<&str> =
        searched.split(':').filter(|dir| dir.starts_with('/')).chain(PROGRAM_DIRS.iter().copied()).collect();
    let named = containerd
        .handlers()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|handler| Some(handler.table.get("options")?.get("BinaryName")?.as_str()?.to_owned()));
    let named: Vec<String> = named.chain(policy.iter().filter_map(|policy| policy.runtime.clone())).collect();
    let mut found = BTreeSet::new();
    for name in RUNTIMES {
        let own = named.iter().filter(|path| Path::new(path).file_name().is_some_and(|file| file == *name)).cloned();
        for path in own.chain(dirs.iter().map(|dir| format!("{dir}/{name}"))) {
            // One that is reached in several ways is one: /bin is a link on most nodes.
            let last = tree.way(&path).ok().flatten().and_then(|steps| steps.last().map(|step| step.path.clone()));
            found.extend(last.map(|path| (*name, path)));
        }
    }
    found.into_iter()
}

/// The first file of that name in one of the directories.
pub(crate) fn find(tree: &Tree, name: &str, dirs: &[impl AsRef<str>]) -> Option<String> {
    let paths = dirs.iter().map(|dir| format!("{}/{name}", dir.as_ref()));
    paths.into_iter().find(|path| matches!(tree.way(path), Ok(Some(_))))
}

/// Engines and kubelets that run. A process of a container is none, whatever it is called: it has another mount namespace. Nor is one whose
/// namespace can't be seen (without CAP_SYS_PTRACE that is everybody else's): a container could call its own so, and name files of its choice.
pub(crate) fn processes(tree: &Tree) -> Fact<Vec<Process>> {
    let names = tree.list("/proc")?.ok_or("no /proc")?;
    if !names.iter().any(|name| name.starts_with(|c: char| c.is_ascii_digit())) {
        return Err("/proc shows no process".to_owned());
    }
    let namespace = |pid: &str| tree.link(format!("/proc/{pid}/ns/mnt"));
    let own: BTreeSet<String> = ["self", "1"].into_iter().filter_map(namespace).collect();
    let mut found = Vec::new();
    for pid in names.iter().filter(|name| name.parse::<u32>().is_ok()) {
        let Ok(Some(name)) = tree.text(format!("/proc/{pid}/comm")) else { continue };
        let name = name.trim();
        if !ENGINES.contains(&name) || namespace(pid).is_none_or(|namespace| !own.contains(&namespace)) {
            continue;
        }
        // Anybody can call a program so.
        if !is_roots(tree, pid) {
            continue;
        }
        // One that has ended meanwhile.
        let Ok(Some(line)) = tree.bytes(format!("/proc/{pid}/cmdline"), MOST_WORDS) else { continue };
        let words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let words = words.filter(|word| !word.is_empty()).collect();
        let environment = tree.bytes(format!("/proc/{pid}/environ"), MOST_WORDS).ok().flatten().unwrap_or_default();
        found.push(Process {
            name: name.to_owned(),
            words,
            program: tree.link(format!("/proc/{pid}/exe")),
            path: variable(&environment, "PATH="),
            policy: variable(&environment, &format!("{CONFIG_VARIABLE}=")),
        });
    }
    Ok(found)
}

/// The value of a variable in an environment as /proc shows it; `name` ends in `=`.
fn variable(environment: &[u8], name: &str) -> Option<String> {
    let values = environment.split(|byte| *byte == 0).filter_map(|one| one.strip_prefix(name.as_bytes()));
    values.map(|value| String::from_utf8_lossy(value).into_owned()).find(|value| !value.is_empty())
}

/// The containerd that CRI is in: Docker has one of its own, without it.
pub(crate) fn running(processes: &Fact<Vec<Process>>) -> Option<&Process> {
    let is_dockers = |process: &Process| process.flag("config").is_some_and(|path| path.contains("/docker/"));
    processes.iter().flatten().find(|process| process.name == "containerd" && !is_dockers(process))
}

/// Whether its real and its effective user are root. Its directory does not tell: that of any process that can't be dumped is root's.
fn is_roots(tree: &Tree, pid: &str) -> bool {
    let status = tree.text(format!("/proc/{pid}/status")).ok().flatten().unwrap_or_default();
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    users.is_some_and(|users| users.split_whitespace().take(2).all(|uid| uid == "0"))
}

/// Debian's packages of a tree, whose programs are not run.
#[derive(Debug)]
struct Packages(Fact<BTreeMap<String, String>>);

impl Packages {
    fn read(tree: &Tree) -> Self {
        let status = tree.text("/var/lib/dpkg/status").map(Option::unwrap_or_default);
        Self(status.map(|text| text.split("\n\n").filter_map(installed).collect()))
    }

    fn of_program(&self, name: &str) -> Fact<Version> {
        let unknown = || format!("{name} of another tree is not run, and no package of that name is on record");
        let packages = self.0.as_ref().map_err(Clone::clone)?;
        let version = [name, "containerd.io"]
            .iter()
            .find_map(|package| (*package == name || name == "containerd").then(|| packages.get(*package))?);
        version.and_then(|text| Version::parse(text)).ok_or_else(unknown)
    }
}

/// A package that is installed, with its version.
fn installed(paragraph: &str) -> Option<(String, String)> {
    let field = |name: &str| {
        paragraph.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
    };
    field("Status").filter(|status| status.ends_with(" installed"))?;
    Some((field("Package")?, field("Version")?))
}

fn version_of(tree: &Tree, packages: &Packages, name: &str, path: &str) -> Fact<Version> {
    if !tree.is_live() {
        return packages.of_program(name);
    }
    let said = ask(tree, path, "--version")?;
    Version::in_output(&said).ok_or_else(|| format!("{path} --version names no version"))
}

/// What a program says. Nothing is run that somebody else could have written. No thread waits for it: the monitor gives up root for one alone.
fn ask(tree: &Tree, path: &str, argument: &str) -> Fact<String> {
    let steps = tree.way(path)?.ok_or_else(|| format!("no {path}"))?;
    if let Some(step) = permissions::first_fault(&steps) {
        return Err(format!("{path} is not run: {step}"));
    }
    let failed = |error: io::Error| format!("run {path} {argument}: {error}");
    let mut command = Command::new(path);
    command.arg(argument).env_clear().current_dir("/");
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(failed)?;
    let said = listen(&mut child, PATIENCE);
    // One that has ended is not there to be killed, and one that has not is not waited for.
    child.kill().and_then(|()| child.wait()).map_err(failed)?;
    said.map_err(failed)
}

/// What a child writes until it closes its output, in bounded time and space.
fn listen(child: &mut Child, patience: Duration) -> io::Result<String> {
    let deadline = Instant::now() + patience;
    let Some(mut out) = child.stdout.take() else { return Ok(String::new()) };
    let (mut said, mut part) = (Vec::new(), [0; 4096]);
    while said.len() < MOST_OUTPUT {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let ready = match poll(&mut [PollFd::new(&out, PollFlags::IN)], Some(&timeout)) {
            Err(Errno::INTR) => continue,
            ready => ready?,
        };
        if ready == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match out.read(&mut part)? {
            0 => break,
            read => said.extend_from_slice(part.get(..read).unwrap_or_default()),
        }
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

fn containerd(
    tree: &Tree,
    arguments: &DoctorArguments,
    processes: &Fact<Vec<Process>>,
    version: &impl Fn(&str, &str) -> Fact<Version>,
) -> ContainerdFacts {
    let running = running(processes);
    let path = running.and_then(|process| process.program.clone()).filter(|path| matches!(tree.way(path), Ok(Some(_))));
    let path = path.or_else(|| find(tree, "containerd", PROGRAM_DIRS));
    let program = path.map(|path| Program { version: version("containerd", &path), path });
    let major = program.as_ref().and_then(|program| program.version.as_ref().ok()).map(Version::major);
    let named = running.and_then(|process| process.flag("config").or_else(|| process.flag("c")));
    let there = |path: &&&str| matches!(tree.way(path), Ok(Some(_)));
    let config_path = match (&arguments.containerd_config, named) {
        (Some(path), _) => absolute(path).to_string_lossy().into_owned(),
        (None, Some(path)) => path.to_owned(),
        (None, None) => CONFIGS.iter().find(there).or(CONFIGS.first()).copied().unwrap_or_default().to_owned(),
    };
    let merge = |table: &Table| {
        let format = table.get("version").and_then(Value::as_integer).unwrap_or(1);
        if major.map_or(format >= 3, |major| major >= 2) { Merge::Deep } else { Merge::Replace }
    };
    let config = match (&arguments.containerd_config, Config::read(tree, &config_path, merge)) {
        (Some(_), Ok(config)) if config.files.is_empty() => Err(format!("no {config_path}")),
        (_, config) => config,
    };
    let present =
        program.is_some() || running.is_some() || !config.as_ref().is_ok_and(|config| config.files.is_empty());
    let known = config.clone().unwrap_or_default();
    let text = |keys: &[&str], default: &str| {
        known.at(keys).and_then(Value::as_str).filter(|text| !text.is_empty()).unwrap_or(default).to_owned()
    };
    let verifiers = tree
        .list(text(&["plugins", "io.containerd.image-verifier.v1.bindir", "bin_dir"], super::containerd::VERIFIERS));
    let nri_plugins =
        tree.list(text(&["plugins", "io.containerd.nri.v1.nri", "plugin_path"], super::containerd::NRI_PLUGINS));
    let shims = shims(tree, &known, running);
    let unchecked = unchecked(tree, &known);
    ContainerdFacts { present, program, config_path, config, shims, verifiers, nri_plugins, unchecked }
}

/// Registries below `config_path` whose certificates nobody checks.
fn unchecked(tree: &Tree, config: &Config) -> Fact<Vec<String>> {
    let path = config.cri(&["registry", "config_path"]).and_then(Value::as_str).unwrap_or_default();
    let mut found = Vec::new();
    for directory in path.split(':').filter(|directory| !directory.is_empty()) {
        for host in tree.list(directory)?.unwrap_or_default() {
            let file = format!("{directory}/{host}/hosts.toml");
            let Some(text) = tree.text(&file)? else { continue };
            let table: Table = text.parse().map_err(|_| format!("{file} is no TOML"))?;
            if skips_verification(&table) {
                found.push(file);
            }
        }
    }
    Ok(found)
}

fn skips_verification(table: &Table) -> bool {
    table.iter().any(|(key, value)| match value {
        Value::Table(inner) => skips_verification(inner),
        value => key == "skip_verify" && value.as_bool() == Some(true),
    })
}

/// The shim of each of palisade's handlers, where containerd looks for it: in its own directory of programs, then in its PATH.
/// Source: containerd pkg/shim/util.go, BinaryPath; the plugin `opt` puts its `bin` before the PATH.
fn shims(tree: &Tree, config: &Config, running: Option<&Process>) -> Vec<ShimFacts> {
    let opt = config.at(&["plugins", "io.containerd.internal.v1.opt", "path"]).and_then(Value::as_str);
    let beside = running.and_then(|process| Path::new(process.program.as_deref()?).parent());
    let mut dirs = vec![format!("{}/bin", opt.unwrap_or("/opt/containerd"))];
    let searched = running.and_then(|process| process.path.clone()).unwrap_or_else(|| PROGRAM_DIRS.join(":"));
    dirs.extend(searched.split(':').filter(|dir| dir.starts_with('/')).map(str::to_owned));
    dirs.extend(beside.map(|dir| dir.to_string_lossy().into_owned()));
    let own = config.handlers().into_iter().filter(super::config::Handler::is_palisade);
    own.map(|handler| {
        let path = match handler.binary_path() {
            Some(path) => match tree.way(path) {
                Ok(Some(_)) => Ok(path.to_owned()),
                _ => Err(vec![path.to_owned()]),
            },
            None => find(tree, SHIM, &dirs).ok_or_else(|| dirs.clone()),
        };
        let machine = path.as_ref().map_or(Ok(None), |path| elf_machine(tree, path));
        let answer = path.as_ref().ok().filter(|_| tree.is_live()).map(|path| ask(tree, path, "-v"));
        ShimFacts { handler: handler.name, path, machine, answer }
    })
    .collect()
}

/// `e_machine` of an ELF file. None for a file that is none. Source: elf(5).
fn elf_machine(tree: &Tree, path: &str) -> Fact<Option<u16>> {
    let head = tree.bytes(path, 20)?.unwrap_or_default();
    let (Some(magic), Some(order), Some(machine)) = (head.get(..4), head.get(5), head.get(18..20)) else {
        return Ok(None);
    };
    let Ok(machine) = <[u8; 2]>::try_from(machine) else { return Ok(None) };
    let value = if *order == 2 { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) };
    Ok((magic == b"\x7fELF").then_some(value))
}

/// A path that the admin gives, from where they are.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The policy file, where somebody names one: the admin here, or containerd's environment, by which the shim goes; on this machine the
/// tool's own environment as well, as the other commands go by it.
fn named_policy(tree: &Tree, arguments: &DoctorArguments, processes: &Fact<Vec<Process>>) -> Option<PathBuf> {
    let by_containerd = || running(processes)?.policy.clone().map(PathBuf::from);
    let by_tool = || std::env::var_os(CONFIG_VARIABLE).filter(|_| tree.is_live()).map(PathBuf::from);
    arguments.policy.file.as_deref().map(absolute).or_else(by_containerd).or_else(by_tool)
}

/// The policy as the shim reads it.
fn policy_facts(tree: &Tree, named: Option<&Path>) -> Fact<PolicyFacts> {
    if tree.is_live() {
        let source = named.map_or_else(PolicySource::from_env, |path| PolicySource::at(path.to_owned()));
        let loaded = source.load().map_err(|error| crate::error::CliError::from(error).chain())?;
        return facts_of(loaded.policy(), loaded.sha256());
    }
    let path = named.unwrap_or_else(|| Path::new(POLICY));
    let (directory, name) = (path.parent().unwrap_or_else(|| Path::new("/")), path.file_name().unwrap_or_default());
    let there = tree.way(path)?.is_some();
    let drop_ins = [path.with_extension("d"), path.with_file_name(CLUSTER)];
    let drop_ins =
        drop_ins.iter().map(|dir| tree.list(dir)).collect::<Result<Vec<_>, _>>()?.iter().any(Option::is_some);
    let opened = tree.directory(directory)?.filter(|_| there);
    let Some((_open, by)) = opened else {
        if drop_ins || named.is_some() {
            return Err(format!("no {}", path.display()));
        }
        return facts_of(&palisade_policy::Policy::builtin(), "builtin");
    };
    let loaded = PolicySource::at(by.join(name)).load().map_err(|error| of_tree(error, &by, directory))?;
    facts_of(loaded.policy(), loaded.sha256())
}

/// The loader looks for a runtime on the machine that it runs on; of another tree it can't tell.
fn of_tree(error: PolicyFileError, by: &Path, directory: &Path) -> String {
    let elsewhere = match &error {
        PolicyFileError::Read { path, .. } | PolicyFileError::NotTheAdmins { path } => !path.starts_with(by),
        _ => false,
    };
    let text = crate::error::CliError::from(error).chain();
    let text = text.replace(&*by.to_string_lossy(), &directory.to_string_lossy());
    if elsewhere { format!("{NOT_HERE}{text}") } else { text }
}

/// What begins so is no fault of the policy.
pub(super) const NOT_HERE: &str = "of a tree this can't be told: ";

fn facts_of(policy: &palisade_policy::Policy, sha256: &str) -> Fact<PolicyFacts> {
    let profile = policy.profiles().into_iter().find(|profile| profile.name == policy.profile());
    let profile = profile.ok_or("the default profile is none")?;
    let rules = profile.rules.iter().map(|rule| RuleFact { rule: rule.rule.as_str().to_owned(), action: rule.action });
    let exemptions = policy.exemptions().into_iter().filter_map(|exemption| {
        let expires = Day::from_iso(&exemption.expires)?;
        Some(ExemptionFact { entry: exemption.entry, rule: exemption.rule.as_str().to_owned(), expires })
    });
    Ok(PolicyFacts {
        built_in: sha256 == "builtin",
        profile: profile.name.clone(),
        mode: profile.mode,
        off_by_default: off_by_default(&profile.name),
        rules: rules.collect(),
        exemptions: exemptions.collect(),
        runtime: match policy.runtime() {
            RuntimeChoice::Embedded => None,
            RuntimeChoice::Binary(path) => Some(path.to_string_lossy().into_owned()),
        },
        log: policy.audit().sink().has_file().then(|| policy.audit().path().to_owned()),
        records: policy.call_records().to_owned(),
    })
}

/// What the built-in profile of a name does not enforce; of a profile of the admin's own, what `baseline` does not.
fn off_by_default(name: &str) -> BTreeSet<String> {
    let all = palisade_policy::Policy::builtin().profiles();
    let measure = all
        .iter()
        .find(|profile| profile.name == name)
        .or_else(|| all.iter().find(|profile| profile.name == "baseline"));
    let rules = measure.into_iter().flat_map(|profile| &profile.rules);
    let off = rules.filter(|rule| matches!(rule.action, palisade_policy::Action::Off | palisade_policy::Action::Audit));
    off.map(|rule| rule.rule.as_str().to_owned()).collect()
}

/// The policy file, its drop-ins, profiles and mitigations, as they are there.
fn policy_files(tree: &Tree, path: &Path) -> Vec<String> {
    let directories =
        [path.with_extension("d"), path.with_file_name("seccomp.d"), path.with_file_name("mitigations.d")];
    let mut all = vec![path.to_owned()];
    for directory in directories {
        let names = tree.list(&directory).ok().flatten().unwrap_or_default();
        all.extend(names.iter().map(|name| directory.join(name)));
        all.push(directory);
    }
    all.into_iter().map(|path| path.to_string_lossy().into_owned()).collect()
}

fn kubelet(tree: &Tree, processes: &Fact<Vec<Process>>) -> KubeletFacts {
    let process = processes.iter().flatten().find(|process| process.name == "kubelet").cloned();
    let named = process.as_ref().and_then(|process| process.flag("config")).map(str::to_owned);
    let config_path = named.unwrap_or_else(|| kubelet::CONFIG.to_owned());
    let drop_ins = process.as_ref().and_then(|process| process.flag("config-dir")).map(str::to_owned);
    let config = kubelet_config(tree, &config_path, drop_ins.as_deref()).transpose();
    KubeletFacts { process, config_path, config }
}

/// The file, and over it its drop-ins in the order of their names. Source: kubelet docs, "Drop-in directory for kubelet configuration files".
fn kubelet_config(tree: &Tree, path: &str, drop_ins: Option<&str>) -> Fact<Option<yaml::Values>> {
    let names = drop_ins.map_or(Ok(None), |directory| tree.list(directory))?.unwrap_or_default();
    let below = names.iter().filter(|name| name.ends_with(".conf"));
    let files =
        [path.to_owned()].into_iter().chain(below.map(|name| format!("{}/{name}", drop_ins.unwrap_or_default())));
    let mut all: Option<yaml::Values> = None;
    for file in files {
        let Some(text) = tree.text(&file)? else { continue };
        all.get_or_insert_default().extend(yaml::read(&text).map_err(|why| format!("{file}: {why}"))?);
    }
    Ok(all)
}

/// The CRI's list of directories by its key.
pub(super) fn directories(config: &Config, keys: &[&str], default: &[&str]) -> Vec<String> {
    let of = |value: &Value| value.as_str().map_or_else(|| texts(value), |one| vec![one.to_owned()]);
    let found = config.cri(keys).map(of).filter(|list| list.iter().any(|path| !path.is_empty()));
    found.unwrap_or_else(|| default.iter().map(|path| (*path).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn script(name: &str, text: &str, mode: u32) -> PathBuf {
        let path = std::env::temp_dir().join(format!("palisade-doctor-ask-{name}-{}", std::process::id()));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// One test, since a file can't be run while a process that is just made has it open to be written.
    #[test]
    fn a_program_is_asked_if_it_is_roots_alone_and_in_bounds() {
        let tree = Tree::open(Path::new("/")).unwrap();
        let text = "#!/bin/sh\necho \"runc version 1.1.5+ds1 $1 $HOME\"\necho commit: 1.1.5+ds1-1+deb12u1\n";
        let mine = script("mine", text, 0o755);
        let said = ask(&tree, mine.to_str().unwrap(), "--version").unwrap();
        assert_eq!(said, "runc version 1.1.5+ds1 --version \ncommit: 1.1.5+ds1-1+deb12u1\n", "without an environment");
        let version = version_of(&tree, &Packages(Ok(BTreeMap::new())), "runc", mine.to_str().unwrap()).unwrap();
        assert_eq!(version.to_string(), "1.1.5+ds1-1+deb12u1");
        let anybodys = script("anybodys", text, 0o777);
        assert!(ask(&tree, anybodys.to_str().unwrap(), "--version").unwrap_err().contains("is not run"));
        for path in [mine, anybodys] {
            fs::remove_file(path).unwrap();
        }
        // One that says nothing or too much is not waited for.
        let start = |program: &str, arguments: &[&str]| {
            Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
        };
        let mut silent = start("sleep", &["1000"]);
        assert_eq!(listen(&mut silent, Duration::from_millis(1)).unwrap_err().kind(), io::ErrorKind::TimedOut);
        let mut endless = start("yes", &[]);
        assert!(listen(&mut endless, Duration::from_secs(60)).unwrap().len() >= MOST_OUTPUT);
        for mut child in [silent, endless] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
