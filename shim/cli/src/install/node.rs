//! What the installer knows of the node: which containerd there is, what it is configured with, who starts it.

use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};

use super::error::InstallError;
use super::programs;
use crate::arguments::InstallPlace;
use crate::doctor::config::{Config, Merge, texts};
use crate::doctor::read::{PROGRAM_DIRS, find, processes, running};
use crate::doctor::tree::Tree;
use crate::doctor::version::Version;

/// A program says its version, or its configuration, in this time.
const PATIENCE: Duration = Duration::from_secs(20);
const SOCKET: &str = "/run/containerd/containerd.sock";
const STATE: &str = "/run/containerd";
/// Where units of systemd's are.
const UNIT_DIRS: &[&str] = &[
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Who brings a containerd, and where it has its configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Distribution {
    pub(super) name: &'static str,
    pub(super) config: &'static str,
    /// What has to be changed instead, where the configuration is written anew at each start.
    pub(super) written_from: Option<&'static str>,
    pub(super) units: &'static [&'static str],
    /// Programs beside those of `PATH`.
    pub(super) programs: &'static str,
}

/// The first one whose configuration is there. Sources: docs.k3s.io/advanced, docs.rke2.io/advanced, microk8s.io/docs/configure-services, docs.k0sproject.io/stable/runtime.
pub(super) const DISTRIBUTIONS: &[Distribution] = &[
    Distribution {
        name: "k3s",
        config: "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
        written_from: Some(
            "Put `{{ template \"base\" . }}` and these lines into config-v3.toml.tmpl (containerd 1.7: config.toml.tmpl) beside it, and restart k3s",
        ),
        units: &["k3s.service", "k3s-agent.service"],
        programs: "/var/lib/rancher/k3s/data/current/bin",
    },
    Distribution {
        name: "rke2",
        config: "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
        written_from: Some(
            "Put `{{ template \"base\" . }}` and these lines into config-v3.toml.tmpl (containerd 1.7: config.toml.tmpl) beside it, and restart rke2",
        ),
        units: &["rke2-server.service", "rke2-agent.service"],
        programs: "/var/lib/rancher/rke2/bin",
    },
    Distribution {
        name: "microk8s",
        config: "/var/snap/microk8s/current/args/containerd.toml",
        written_from: Some("Add these lines to containerd-template.toml beside it, and restart microk8s"),
        units: &["snap.microk8s.daemon-containerd.service"],
        programs: "/snap/microk8s/current/bin",
    },
    Distribution {
        name: "containerd",
        config: "/etc/containerd/config.toml",
        written_from: None,
        units: &["containerd.service"],
        programs: "/usr/local/bin",
    },
];

/// The node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) tree: Tree,
    pub(super) root: PathBuf,
    pub(super) distribution: &'static Distribution,
    pub(super) config_path: String,
    /// The main file's text. None: it is not there.
    pub(super) text: Option<String>,
    /// What containerd makes of it and what it imports.
    pub(super) config: Config,
    pub(super) version: Version,
    /// containerd itself, where it can be asked.
    pub(super) program: Option<String>,
    pub(super) systemd: bool,
}

impl Node {
    /// Where it is.
    pub(super) fn tree(place: &InstallPlace) -> Result<(PathBuf, Tree), InstallError> {
        let root = std::path::absolute(&place.root).unwrap_or_else(|_| place.root.clone());
        let tree = Tree::open(&root).map_err(InstallError::file("open", &root.to_string_lossy()))?;
        Ok((root, tree))
    }

    pub(super) fn read(place: &InstallPlace) -> Result<Self, InstallError> {
        let (root, tree) = Self::tree(place)?;
        let seen = processes(&tree);
        let running = running(&seen);
        let named = running.and_then(|process| process.flag("config").or_else(|| process.flag("c")));
        let given = place.containerd_config.as_ref().map(|path| path.to_string_lossy().into_owned());
        let there = |path: &str| matches!(tree.way(path), Ok(Some(_)));
        let config_path = given.or_else(|| named.map(str::to_owned)).unwrap_or_else(|| {
            let found = DISTRIBUTIONS.iter().find(|one| there(one.config));
            found.map_or("/etc/containerd/config.toml", |one| one.config).to_owned()
        });
        let plain = DISTRIBUTIONS.iter().find(|one| one.name == "containerd");
        let of_path = DISTRIBUTIONS.iter().find(|one| one.config == config_path).or(plain);
        let Some(distribution) = of_path else { return Err(InstallError::Look("no distribution is known".into())) };
        let program = running.and_then(|process| process.program.clone()).filter(|path| there(path));
        let dirs: Vec<&str> = [distribution.programs].into_iter().chain(PROGRAM_DIRS.iter().copied()).collect();
        let program = program.or_else(|| find(&tree, "containerd", &dirs));
        let (version, program) = version(place, &root, program)?;
        if Version::parse("1.7.0").is_some_and(|since| version < since) {
            return Err(InstallError::TooOld(version.to_string()));
        }
        let merge = if version.major() >= 2 { Merge::Deep } else { Merge::Replace };
        let bad = |said| InstallError::BadBefore { path: config_path.clone(), said };
        let text = tree.text(&config_path).map_err(bad)?;
        let config = Config::read(&tree, &config_path, |_| merge).map_err(bad)?;
        let systemd = there("/run/systemd/system");
        Ok(Self { tree, root, distribution, config_path, text, config, version, program, systemd })
    }

    /// The main file's top-level keys.
    pub(super) fn main(&self) -> Table {
        self.text.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    pub(super) fn socket(&self) -> String {
        self.top(&["grpc", "address"], SOCKET)
    }

    /// containerd's state directory.
    pub(super) fn state(&self) -> String {
        self.top(&["state"], STATE)
    }

    fn top(&self, keys: &[&str], default: &str) -> String {
        let value = self.config.at(keys).and_then(Value::as_str).filter(|text| text.starts_with('/'));
        value.unwrap_or(default).to_owned()
    }

    /// Whether the admin has CRI switched off.
    pub(super) fn is_without_cri(&self) -> bool {
        let disabled = self.config.at(&["disabled_plugins"]).map(texts).unwrap_or_default();
        disabled.iter().any(|name| name == "cri" || name.contains(".cri"))
    }

    /// The unit that starts containerd.
    pub(super) fn unit(&self) -> Option<&'static str> {
        let there = |unit: &&&str| {
            UNIT_DIRS.iter().any(|directory| matches!(self.tree.way(format!("{directory}/{unit}")), Ok(Some(_))))
        };
        self.distribution.units.iter().find(there).copied()
    }

    /// What containerd itself makes of its configuration, as TOML. None where it can't be asked.
    pub(super) fn dump(&self) -> Option<Result<String, String>> {
        let program = self.program.as_deref()?;
        let there = matches!(self.tree.way(&self.config_path), Ok(Some(_)));
        // Without a file it goes by its defaults; 1.7 does not dump those of a file that is not there.
        let dump = ["--config", &self.config_path, "config", "dump"];
        let words: &[&str] = if there { &dump } else { &["config", "default"] };
        Some(match programs::run(&self.root, &[&[program], words].concat(), PATIENCE) {
            Ok(ran) if ran.status.success() => Ok(ran.out),
            Ok(ran) => Err(ran.said()),
            Err(error) => Err(error.to_string()),
        })
    }
}

/// The version that was given, or the one that the program says.
fn version(
    place: &InstallPlace,
    root: &std::path::Path,
    program: Option<String>,
) -> Result<(Version, Option<String>), InstallError> {
    if let Some(text) = &place.containerd_version {
        let version = Version::parse(text).ok_or_else(|| InstallError::Version { text: text.clone() })?;
        return Ok((version, None));
    }
    let program = program.ok_or_else(|| InstallError::NoContainerd { root: root.display().to_string() })?;
    let ran = programs::run(root, &[&program, "--version"], PATIENCE)?;
    let version = Version::in_output(&ran.out).ok_or_else(|| InstallError::Version { text: ran.said() })?;
    Ok((version, Some(program)))
}
