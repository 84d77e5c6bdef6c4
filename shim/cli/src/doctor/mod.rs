//! `palisade doctor`: the node on which palisade runs, against what is known to open it.
//!
//! [`read`] reads the node once, below a root that no link leads out of; [`check`] says what a check is; each group of checks is a table in a
//! file of its own, of functions over the [`node`] that read nothing themselves.

mod check;
pub(crate) mod config;
mod containerd;
mod engines;
mod fix;
mod handlers;
mod kernel;
mod kubelet;
mod node;
pub(crate) mod permissions;
mod policy_sanity;
mod print;
pub(crate) mod read;
mod runtimes;
pub(crate) mod tree;
pub(crate) mod version;
mod yaml;

#[cfg(test)]
mod tests;

pub(crate) use check::{Check, Outcome, Severity};

use crate::Verdict;
use crate::arguments::{DoctorArguments, DoctorFormat};
use crate::error::CliError;
use check::Found;
use tree::Tree;

/// All checks, group by group.
const GROUPS: &[&[Check]] = &[
    handlers::CHECKS,
    policy_sanity::CHECKS,
    containerd::CHECKS,
    runtimes::CHECKS,
    permissions::CHECKS,
    kernel::CHECKS,
    kubelet::CHECKS,
    engines::CHECKS,
];

/// One check with what it saw.
pub(crate) struct Result {
    pub(crate) check: &'static Check,
    found: Found,
}

impl Result {
    pub(crate) fn outcome(&self) -> Outcome {
        self.found.outcome
    }

    /// Whether it speaks against the node. What could not be looked at does, as what was found wrong does.
    fn counts(&self, fail_on: Severity) -> bool {
        matches!(self.outcome(), Outcome::Fail | Outcome::Unknown) && self.check.severity >= fail_on
    }

    /// The command that mends it here.
    fn mend(&self) -> &str {
        self.found.mend.as_deref().unwrap_or(self.check.mend)
    }
}

pub(crate) fn run(arguments: &DoctorArguments, out: &mut Vec<u8>) -> std::result::Result<Verdict, CliError> {
    for id in arguments.only.iter().chain(&arguments.skip) {
        if !all().any(|check| covers(id, check.id)) {
            return Err(CliError::NoCheck { id: id.clone() });
        }
    }
    let tree = Tree::open(&arguments.root).map_err(|source| CliError::Read { path: arguments.root.clone(), source })?;
    let mut results = look(&tree, arguments);
    if arguments.fix {
        let done = fix::fix(&tree, &results, arguments.dry_run, out)?;
        if done && !arguments.dry_run {
            results = look(&tree, arguments);
        }
    }
    match arguments.format {
        DoctorFormat::Text => print::text(&results, arguments.all, out)?,
        DoctorFormat::Json => print::json(&results, &arguments.root, out)?,
        DoctorFormat::Sarif => print::sarif(&results, &arguments.root, out)?,
    }
    let wrong = results.iter().any(|result| result.counts(arguments.fail_on));
    Ok(if wrong { Verdict::Objections } else { Verdict::Fine })
}

/// The checks of this node with their outcomes, as the monitor shows them.
pub(crate) fn of_this_node(policy: &crate::arguments::PolicyFile) -> std::result::Result<Vec<Result>, CliError> {
    let arguments = DoctorArguments::of_this_node(policy);
    let tree = Tree::open(&arguments.root).map_err(|source| CliError::Read { path: arguments.root.clone(), source })?;
    Ok(look(&tree, &arguments))
}

/// What speaks against a node, a line each, and the numbers.
pub(crate) fn in_short(arguments: &DoctorArguments) -> std::result::Result<Vec<String>, CliError> {
    let tree = Tree::open(&arguments.root).map_err(|source| CliError::Read { path: arguments.root.clone(), source })?;
    Ok(print::in_short(&look(&tree, arguments), arguments.fail_on))
}

fn all() -> impl Iterator<Item = &'static Check> {
    GROUPS.iter().copied().flatten()
}

/// `host.kernel` stands for all that begins so.
fn covers(asked: &str, id: &str) -> bool {
    id.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn look(tree: &Tree, arguments: &DoctorArguments) -> Vec<Result> {
    let node = read::read(tree, arguments);
    let asked = |check: &&Check| {
        let only = arguments.only.is_empty() || arguments.only.iter().any(|id| covers(id, check.id));
        only && !arguments.skip.iter().any(|id| covers(id, check.id))
    };
    all().filter(asked).map(|check| Result { check, found: check.run(&node) }).collect()
}
