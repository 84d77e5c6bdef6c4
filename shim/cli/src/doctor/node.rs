//! The node as it was found: everything that checks go by, read once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use palisade_policy::{Action, Day, Mode};

use super::config::{Config, Handler};
use super::tree::{Fact, Step, Way};
use super::version::Version;
use super::yaml::Values;

/// A program of the node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Program {
    pub(super) path: String,
    pub(super) version: Fact<Version>,
}

/// A process that matters: a container engine or a kubelet, in the host's own mount namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) words: Vec<String>,
    /// The path of its program, where it can be seen.
    pub(crate) program: Option<String>,
    /// Of its environment, which may hold secrets, only the directories that it looks for programs in, and the policy that it names to the shim.
    pub(crate) path: Option<String>,
    pub(crate) policy: Option<String>,
}

impl Process {
    /// The value of a flag, `--name=value` or `--name value`; empty for one that has none.
    pub(crate) fn flag(&self, name: &str) -> Option<&str> {
        let mut words = self.words.iter().peekable();
        while let Some(word) = words.next() {
            let Some(bare) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { continue };
            if let Some((key, value)) = bare.split_once('=')
                && key == name
            {
                return Some(value);
            }
            if bare == name {
                return Some(words.peek().filter(|next| !next.starts_with('-')).map_or("", |next| next.as_str()));
            }
        }
        None
    }

    /// All values of a flag that may be given more than once.
    pub(super) fn flags(&self, names: &[&str]) -> Vec<&str> {
        let mut found = Vec::new();
        let mut words = self.words.iter().peekable();
        while let Some(word) = words.next() {
            let Some(bare) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { continue };
            match bare.split_once('=') {
                Some((key, value)) if names.contains(&key) => found.push(value),
                None if names.contains(&bare) => found.extend(words.peek().map(|next| next.as_str())),
                _ => {}
            }
        }
        found
    }
}

/// A rule of the profile in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RuleFact {
    pub(super) rule: String,
    pub(super) action: Action,
}

/// An exemption of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExemptionFact {
    pub(super) entry: String,
    pub(super) rule: String,
    pub(super) expires: Day,
}

/// The policy in force.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PolicyFacts {
    /// Where there is no file the built-in one is.
    pub(super) built_in: bool,
    pub(super) profile: String,
    pub(super) mode: Mode,
    pub(super) rules: Vec<RuleFact>,
    /// Rules that the built-in profile of its name, or `baseline`, has off or only notes.
    pub(super) off_by_default: BTreeSet<String>,
    pub(super) exemptions: Vec<ExemptionFact>,
    pub(super) runtime: Option<String>,
    pub(super) log: Option<PathBuf>,
    pub(super) records: PathBuf,
}

/// A shim binary that containerd would run for one of palisade's handlers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ShimFacts {
    pub(super) handler: String,
    /// Where it was found; else all the places where it was looked for.
    pub(super) path: Result<String, Vec<String>>,
    /// The machine of its ELF header.
    pub(super) machine: Fact<Option<u16>>,
    /// What `-v` says; none where it is not run, as in another machine's tree.
    pub(super) answer: Option<Fact<String>>,
}

/// containerd, as far as it can be seen.
#[derive(Debug, Clone)]
pub(super) struct ContainerdFacts {
    /// Whether there is any.
    pub(super) present: bool,
    pub(super) program: Option<Program>,
    pub(super) config_path: String,
    pub(super) config: Fact<Config>,
    pub(super) shims: Vec<ShimFacts>,
    /// Names in the directory of image verifiers.
    pub(super) verifiers: Fact<Option<Vec<String>>>,
    /// NRI plugins that containerd starts.
    pub(super) nri_plugins: Fact<Option<Vec<String>>>,
    /// Registries of certs.d whose certificates are not checked.
    pub(super) unchecked: Fact<Vec<String>>,
}

impl ContainerdFacts {
    pub(super) fn handlers(&self) -> Fact<Vec<Handler>> {
        Ok(self.config.as_ref().map_err(Clone::clone)?.handlers())
    }
}

/// Everything.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(super) today: Day,
    pub(super) texts: BTreeMap<&'static str, Fact<Option<String>>>,
    pub(super) ways: BTreeMap<String, Way>,
    pub(super) release: Fact<String>,
    pub(super) arch: Fact<String>,
    /// Names of files of /sys/devices/system/cpu/vulnerabilities with what they say.
    pub(super) flaws_of_processor: Fact<Vec<(String, String)>>,
    /// Block devices with swap that are not encrypted, and swap files.
    pub(super) plain_swap: Fact<Vec<String>>,
    /// Every OCI runtime that is found, by its name.
    pub(super) runtimes: Vec<(&'static str, Program)>,
    pub(super) tool: Option<String>,
    pub(super) processes: Fact<Vec<Process>>,
    pub(super) containerd: ContainerdFacts,
    pub(super) policy: Fact<PolicyFacts>,
    pub(super) policy_files: Vec<String>,
    pub(super) kubelet: KubeletFacts,
}

/// The kubelet, as far as it can be seen.
#[derive(Debug, Clone, Default)]
pub(super) struct KubeletFacts {
    pub(super) process: Option<Process>,
    pub(super) config_path: String,
    pub(super) config: Option<Fact<Values>>,
}

impl Node {
    /// A setting below /proc/sys; none where the kernel has no such setting.
    pub(super) fn setting(&self, name: &str) -> Fact<Option<&str>> {
        let found = self.texts.iter().find(|(path, _)| path.strip_prefix("/proc/sys/") == Some(name));
        match found {
            None => Err(format!("{name} was not read")),
            Some((_, Err(why))) => Err(why.clone()),
            Some((_, Ok(Some(text)))) => Ok(Some(text.trim())),
            // Without any release there is no /proc/sys at all.
            Some((_, Ok(None))) => self.release.as_ref().map(|_| None).map_err(Clone::clone),
        }
    }

    /// A file's text.
    pub(super) fn text(&self, path: &str) -> Fact<Option<&str>> {
        match self.texts.get(path) {
            None => Err(format!("{path} was not read")),
            Some(Err(why)) => Err(why.clone()),
            Some(Ok(text)) => Ok(text.as_deref()),
        }
    }

    /// The way to a path.
    pub(super) fn way(&self, path: &str) -> Fact<Option<&[Step]>> {
        match self.ways.get(path) {
            None => Err(format!("{path} was not looked at")),
            Some(Err(why)) => Err(why.clone()),
            Some(Ok(steps)) => Ok(steps.as_deref()),
        }
    }

    /// The thing at a path, without the way to it.
    pub(super) fn stat(&self, path: &str) -> Fact<Option<&Step>> {
        Ok(self.way(path)?.and_then(<[Step]>::last))
    }

    /// Processes of a name.
    pub(super) fn running(&self, name: &str) -> Fact<Vec<&Process>> {
        let processes = self.processes.as_ref().map_err(Clone::clone)?;
        Ok(processes.iter().filter(|process| process.name == name).collect())
    }
}
