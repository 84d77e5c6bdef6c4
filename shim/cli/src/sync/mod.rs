//! `palisade policy sync`: what a ConfigMap holds, as files of this node.
//!
//! The kubelet exchanges a mounted ConfigMap as a whole, and so does this with what the shims read ([`sets`]). In between stands the
//! shim's own judgement: a set that it would not go by never comes into force, the one before stays, and [`status`] says so.

mod files;
mod sets;
mod status;
mod watch;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use palisade::gate::{LoadedPolicy, PolicySource};

use crate::Verdict;
use crate::arguments::SyncArguments;
use crate::error::CliError;
use crate::{image, policy};
use files::Files;
use sets::{Sets, Swap};
use status::Outcome;
pub(crate) use status::Status;

pub(crate) fn run(arguments: &SyncArguments, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    if arguments.check {
        return status::print(&arguments.status, arguments.interval, out);
    }
    let mut node = Node::new(arguments)?;
    if arguments.once {
        let wanted = node.look();
        return Ok(if wanted { Verdict::Fine } else { Verdict::Objections });
    }
    watch::until_told(arguments, |idle| {
        if node.look() && idle {
            node.sets.tidy();
        }
    })?;
    Ok(Verdict::Fine)
}

/// On standard error, where a container's log is.
fn tell(what: &str) {
    drop(writeln!(io::stderr(), "palisade policy sync: {what}"));
}

/// A node, and what it is to have.
struct Node {
    from: PathBuf,
    policy: PathBuf,
    root: PathBuf,
    status_file: PathBuf,
    sets: Sets,
    status: Status,
}

impl Node {
    fn new(arguments: &SyncArguments) -> Result<Self, CliError> {
        let to = std::path::absolute(&arguments.to)?;
        Ok(Self {
            from: arguments.from.clone(),
            policy: to.join(palisade::gate::POLICY),
            root: arguments.root.clone(),
            status_file: arguments.status.clone(),
            sets: Sets::open(&to)?,
            status: Status::read(&arguments.status),
        })
    }

    /// Brings into force what is wanted, if the shim would go by it, and says what came of it; whether that is in force.
    fn look(&mut self) -> bool {
        let (wanted, came) = self.bring();
        let in_force = self.sets.in_force().ok().flatten();
        let outcome = Outcome {
            wanted: wanted.map(|files| files.sha256()),
            in_force: in_force.map(|(_, files)| files.sha256()),
            policy: self.loaded().ok().map(|loaded| loaded.sha256().to_owned()),
            error: came.as_ref().err().map(CliError::chain),
        };
        self.tell_of(&outcome, came.as_ref().ok());
        self.status.take(outcome);
        if let Err(error) = self.status.write(&self.status_file) {
            tell(&error.chain());
        }
        came.is_ok()
    }

    fn bring(&self) -> (Option<Files>, Result<Swap, CliError>) {
        let wanted = match Files::wanted(&self.from) {
            Ok(wanted) => wanted,
            Err(error) => return (None, Err(error)),
        };
        let came = self.sets.bring(&wanted, |set| self.judge(set));
        // What is in force may have become wrong by what the node's admin has changed beside it.
        let came = came.and_then(|swap| self.loaded().map(|_| swap));
        (Some(wanted), came)
    }

    /// Whether the shim would go by the set, and what it treats differently then.
    fn judge(&self, set: &Path) -> Result<String, CliError> {
        let new = PolicySource::of_node_with(self.policy.clone(), self.root.clone(), set.to_owned()).load()?;
        image::check_keys(new.policy().images())?;
        let Ok(old) = self.loaded() else { return Ok("nothing could be created before".to_owned()) };
        let mut differences = Vec::new();
        policy::diff(old.policy(), new.policy(), &mut differences)?;
        Ok(String::from_utf8_lossy(&differences).into_owned())
    }

    /// The node's policy as it is.
    fn loaded(&self) -> Result<LoadedPolicy, CliError> {
        Ok(PolicySource::of_node(self.policy.clone(), self.root.clone()).load()?)
    }

    /// What is new since the last look.
    fn tell_of(&self, outcome: &Outcome, swap: Option<&Swap>) {
        let name = |sha256: &Option<String>, none: &str| sha256.clone().unwrap_or_else(|| none.to_owned());
        let (wanted, in_force) = (name(&outcome.wanted, "what is wanted"), name(&outcome.in_force, "no set"));
        if let Some(Swap::Done { differences }) = swap {
            tell(&format!("{in_force} is in force"));
            differences.lines().for_each(tell);
        }
        match &outcome.error {
            Some(_) if self.status.has(outcome) => {}
            Some(error) if wanted == in_force => tell(&format!("{wanted} is in force, and wrong: {error}")),
            Some(error) => tell(&format!("{wanted} is refused, {in_force} stays in force: {error}")),
            None if self.status.has_error() => tell("what is wanted is in force again"),
            None => {}
        }
    }
}
