//! What an installation consists of, step by step: a table of functions that look at the node and say what is to be changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_policy::Policy;

use super::change::{Change, Part, Plan, What};
use super::configuration::{self, Wish};
use super::error::InstallError;
use super::files::{Held, held};
use super::node::Node;
use super::programs;
use super::record::Record;
use crate::arguments::InstallArguments;
use crate::doctor::config::SHIM;
use crate::doctor::permissions::first_fault;

/// The tool's own name, which rules about images and the monitor's unit go by.
pub(super) const TOOL: &str = "palisade";
pub(super) const MONITOR: &str = "palisade-monitor.service";
const UNIT: &str = "/etc/systemd/system/palisade-monitor.service";
const POLICY: &str = palisade_policy::POLICY_PATH;
const SKELETON: &str = include_str!("policy.toml");
const UNIT_TEXT: &str = include_str!("palisade-monitor.service");
/// The shim says its version in this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// One step.
pub(super) struct Step {
    plan: fn(&Node, &Record, &InstallArguments) -> Result<Plan, InstallError>,
}

impl Step {
    pub(super) fn plan(
        &self,
        node: &Node,
        record: &Record,
        arguments: &InstallArguments,
    ) -> Result<Plan, InstallError> {
        (self.plan)(node, record, arguments)
    }
}

/// In this order: containerd hears of the handler when all that it needs is there.
pub(super) const STEPS: &[Step] = &[
    Step { plan: directories },
    Step { plan: programs },
    Step { plan: policy },
    Step { plan: monitor },
    Step { plan: configured },
];

/// Directories and their modes. The shim makes those of its log and records itself where they are missing; here they are root's alone from the beginning.
const DIRECTORIES: &[(&str, u32)] = &[
    ("/etc/palisade", 0o755),
    ("/etc/palisade/policy.d", 0o755),
    ("/var/lib/palisade", 0o700),
    ("/var/log/palisade", 0o700),
];

fn directories(node: &Node, _: &Record, _: &InstallArguments) -> Result<Plan, InstallError> {
    let mut plan = Plan::default();
    for (path, mode) in DIRECTORIES {
        if node.tree.way(path).map_err(InstallError::Look)?.is_none() {
            let change = Change { part: Part::Directories, path: (*path).to_owned(), what: What::MakeDirectory(*mode) };
            plan.changes.push(change);
        }
    }
    Ok(plan)
}

/// Where the programs come from: here, not in the node's tree.
fn source(arguments: &InstallArguments) -> Result<PathBuf, InstallError> {
    if let Some(directory) = &arguments.from {
        return Ok(directory.clone());
    }
    let own = std::env::current_exe().map_err(InstallError::file("find", "this program"))?;
    Ok(own.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned))
}

fn programs(node: &Node, _: &Record, arguments: &InstallArguments) -> Result<Plan, InstallError> {
    let mut plan = Plan::default();
    let from = source(arguments)?;
    let directory = arguments.bin_dir();
    roots_alone(node, &directory)?;
    for name in [SHIM, TOOL] {
        let bytes = program(&from.join(name), name)?;
        let path = format!("{directory}/{name}");
        let before = held(&node.tree, &path)?;
        let after = Held::roots(bytes, 0o755);
        if before.as_ref() != Some(&after) {
            plan.changes.push(Change::file(Part::Programs, &path, before, Some(after)));
        }
    }
    Ok(plan)
}

/// Whoever can write the directory decides what root runs.
fn roots_alone(node: &Node, directory: &str) -> Result<(), InstallError> {
    let there = Path::new(directory).ancestors().find_map(|path| node.tree.way(path).transpose());
    let steps = there.transpose().map_err(InstallError::Look)?.unwrap_or_default();
    match first_fault(&steps) {
        Some(fault) => Err(InstallError::NotRootsAlone { directory: directory.to_owned(), fault }),
        None => Ok(()),
    }
}

/// A program of this version, and of this processor: it is asked.
fn program(path: &Path, name: &str) -> Result<Vec<u8>, InstallError> {
    let shown = path.to_string_lossy().into_owned();
    if !path.is_file() {
        return Err(InstallError::NoBinary { path: shown });
    }
    let own = env!("CARGO_PKG_VERSION");
    let wrong = |why: String| InstallError::WrongBinary { path: shown.clone(), why, own };
    let absolute = fs::canonicalize(path).map_err(InstallError::file("find", &shown))?;
    let flag = if name == SHIM { "-v" } else { "--version" };
    let ran = programs::run(Path::new("/"), &[&absolute.to_string_lossy(), flag], PATIENCE)
        .map_err(|error| wrong(error.to_string()))?;
    if !ran.out.split_whitespace().any(|word| word == own) {
        return Err(wrong(format!("it says {:?}", ran.said())));
    }
    fs::read(path).map_err(InstallError::file("read", &shown))
}

/// A policy that says what is in force anyway, as something to begin with. One that is there is the admin's.
fn policy(node: &Node, record: &Record, _: &InstallArguments) -> Result<Plan, InstallError> {
    Policy::from_toml(SKELETON).map_err(|error| InstallError::Policy(palisade::log::chain(&error)))?;
    let mut plan = Plan::default();
    match held(&node.tree, POLICY)? {
        Some(held) if record.wrote(POLICY, &held) || held.text() == Some(SKELETON) => {}
        Some(_) => plan.notes.push(format!("{POLICY} is there: left as it is")),
        None => {
            plan.changes.push(Change::file(Part::Policy, POLICY, None, Some(Held::roots(SKELETON, 0o644))));
        }
    }
    Ok(plan)
}

fn monitor(node: &Node, record: &Record, arguments: &InstallArguments) -> Result<Plan, InstallError> {
    let mut plan = Plan::default();
    if arguments.no_monitor {
        return Ok(plan);
    }
    let text = UNIT_TEXT.replace("/usr/local/bin", &arguments.bin_dir());
    let before = held(&node.tree, UNIT)?;
    let after = Held::roots(text, 0o644);
    match &before {
        Some(held) if *held == after => {}
        Some(held) if !record.wrote(UNIT, held) => plan.notes.push(format!("{UNIT} is there: left as it is")),
        _ => plan.changes.push(Change::file(Part::Monitor, UNIT, before, Some(after))),
    }
    Ok(plan)
}

fn configured(node: &Node, record: &Record, arguments: &InstallArguments) -> Result<Plan, InstallError> {
    let bin_dir = arguments.bin_dir();
    let wish =
        Wish { handler: &arguments.handler, form: arguments.form, bin_dir: &bin_dir, edit: arguments.edit_config };
    let mut plan = configuration::plan(node, record, &wish)?;
    if node.is_without_cri() {
        plan.notes.push(format!(
            "CRI is switched off in {} (disabled_plugins): no kubelet reaches the handler",
            node.config_path
        ));
    }
    Ok(plan)
}
