//! A plan is carried out, or nothing is: what was kept is put back when a step fails, when containerd would not read its new configuration, and when it
//! does not come back with it.

use std::path::Path;

use super::change::{Change, Part, Plan};
use super::dump::differences;
use super::error::InstallError;
use super::files;
use super::node::Node;
use super::record::{self, Record};
use super::reload::Restart;
use crate::arguments::InstallPlace;
use crate::doctor::tree::Tree;

/// What became of containerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reload {
    /// Nothing that it reads was changed.
    NotNeeded,
    /// It was started anew, and answers.
    Done,
    /// It still has to be.
    Due,
}

/// What is carried out.
pub(super) struct Work<'a> {
    pub(super) node: &'a Node,
    pub(super) place: &'a InstallPlace,
    pub(super) plan: &'a Plan,
    /// As it is on the node, where there is one.
    pub(super) before: Option<Record>,
    /// As it will be.
    pub(super) after: Record,
    /// Whether the handler is to be there at the end.
    pub(super) wanted: bool,
}

impl Work<'_> {
    /// Does it; the record as it is then.
    pub(super) fn run(mut self) -> Result<(Record, Reload), InstallError> {
        self.after.reload_due |= self.plan.changes_configuration();
        if self.plan.changes.is_empty() && self.before.as_ref() == Some(&self.after) && !self.after.reload_due {
            return Ok((self.after, Reload::NotNeeded));
        }
        let restart = if self.after.reload_due { Restart::of(self.node, self.place)? } else { None };
        let dumped = self.dump_before()?;
        let tree = &self.node.tree;
        for path in self.before.iter().filter(|record| record.unfinished).flat_map(|record| record.files.keys()) {
            files::clean(tree, path)?;
        }
        record::keep(tree, &self.plan.changes)?;
        for directory in missing(tree, &self.plan.changes)? {
            if !self.after.directories.contains(&directory) {
                self.after.directories.push(directory);
            }
        }
        self.begin(tree)?;
        let mut done = 0;
        if let Err(error) = self.carry_out(&mut done, dumped.as_deref()) {
            let left = self.put_back(done)?;
            return Err(with_left(error, left));
        }
        let reload = match (&restart, self.after.reload_due) {
            (_, false) => Reload::NotNeeded,
            (None, true) => Reload::Due,
            (Some(restart), true) => {
                self.reload(restart)?;
                self.after.reload_due = false;
                Reload::Done
            }
        };
        self.after.unfinished = false;
        self.after.replacing.clear();
        self.after.write(tree)?;
        record::forget_others(tree, &self.after)?;
        Ok((self.after, reload))
    }

    /// Puts on record what is about to be done: a run that is killed is taken up from there. What is taken away stays on record until it is.
    fn begin(&self, tree: &Tree) -> Result<(), InstallError> {
        let lasting = if self.wanted { &self.after } else { self.before.as_ref().unwrap_or(&self.after) };
        let mut begun = lasting.begun(&self.plan.changes);
        begun.reload_due = self.after.reload_due;
        begun.write(tree)
    }

    /// What containerd makes of its configuration as it is. None where nothing of it is changed, or containerd can't be asked.
    fn dump_before(&self) -> Result<Option<String>, InstallError> {
        if !self.plan.changes_configuration() {
            return Ok(None);
        }
        let path = self.node.config_path.clone();
        self.node.dump().transpose().map_err(|said| InstallError::BadBefore { path, said })
    }

    fn carry_out(&self, done: &mut usize, before: Option<&str>) -> Result<(), InstallError> {
        for change in &self.plan.changes {
            *done += 1;
            let applied = change.apply(&self.node.tree);
            // Nothing was done to that one.
            *done -= usize::from(matches!(applied, Err(InstallError::Changed { .. })));
            applied?;
        }
        let Some(before) = before else { return Ok(()) };
        let after = self.node.dump().unwrap_or_else(|| Err("it can't be asked any more".to_owned()));
        let after = after.map_err(|said| InstallError::BadAfter { said })?;
        let settings = differences(before, &after, &self.handlers())?;
        if settings.is_empty() {
            return Ok(());
        }
        Err(InstallError::OtherSettings { settings: settings.join(", ") })
    }

    fn handlers(&self) -> Vec<&str> {
        let before = self.before.iter().map(|record| record.handler.as_str());
        before.chain([self.after.handler.as_str()]).collect()
    }

    fn reload(&self, restart: &Restart) -> Result<(), InstallError> {
        let (handler, seconds) = (&self.after.handler, self.place.wait);
        let Err(error) = restart.run(self.node, handler, self.wanted, seconds) else { return Ok(()) };
        let left = self.put_back(self.plan.changes.len())?;
        // With what it had before: that it comes back with it is told as well.
        let had = self.before.as_ref().filter(|record| record.has_configuration());
        let again = match restart.run(self.node, had.map_or(handler, |record| &record.handler), had.is_some(), seconds)
        {
            Ok(_) => ", and containerd answers again",
            Err(InstallError::Restart { .. }) => ", and containerd was not restarted",
            Err(_) => ", but containerd does not answer with that either: look at its log",
        };
        let error = match error {
            InstallError::Restart { command, said, .. } => InstallError::Restart { command, said, again },
            InstallError::NoAnswer { what, seconds, last, .. } => InstallError::NoAnswer { what, seconds, last, again },
            other => other,
        };
        Err(with_left(error, left))
    }

    /// Everything as it was, the last one of the changes that were begun first; what somebody else has changed meanwhile is left, and named.
    fn put_back(&self, done: usize) -> Result<Vec<String>, InstallError> {
        let tree = &self.node.tree;
        let mut left = Vec::new();
        for change in self.plan.changes.iter().take(done).rev() {
            if !change.undo(tree)? {
                left.push(change.path.clone());
            }
        }
        let Some(before) = &self.before else {
            record::remove(tree)?;
            remove_directories(tree, &self.after.directories)?;
            return Ok(left);
        };
        let made: Vec<String> =
            self.after.directories.iter().filter(|path| !before.directories.contains(path)).cloned().collect();
        remove_directories(tree, &made)?;
        before.write(tree)?;
        Ok(left)
    }
}

/// Why it failed, and what is not as it was before.
fn with_left(error: InstallError, left: Vec<String>) -> InstallError {
    if left.is_empty() { error } else { InstallError::Left { paths: left.join(", "), error: Box::new(error) } }
}

/// Directories that a plan will make, the uppermost first.
fn missing(tree: &Tree, changes: &[Change]) -> Result<Vec<String>, InstallError> {
    let mut found = Vec::new();
    for change in changes {
        let path = Path::new(&change.path);
        let last = if change.as_file().is_some() { path.parent() } else { Some(path) };
        let mut ancestors: Vec<&Path> = last.into_iter().flat_map(Path::ancestors).collect();
        ancestors.reverse();
        for path in ancestors {
            if tree.way(path).map_err(InstallError::Look)?.is_none() {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    Ok(found)
}

/// Those that are empty, the innermost first.
pub(super) fn remove_directories(tree: &Tree, directories: &[String]) -> Result<(), InstallError> {
    directories.iter().rev().try_for_each(|path| files::remove_directory(tree, path).map(drop))
}

/// What the monitor's unit asks for, once the files are there.
pub(super) fn monitor_commands(plan: &Plan, wanted: bool) -> Vec<Vec<&'static str>> {
    use super::steps::MONITOR;
    match (plan.changes(Part::Monitor), plan.changes(Part::Programs), wanted) {
        (true, _, true) => vec![
            vec!["systemctl", "daemon-reload"],
            vec!["systemctl", "enable", MONITOR],
            vec!["systemctl", "restart", MONITOR],
        ],
        (false, true, true) => vec![vec!["systemctl", "try-restart", MONITOR]],
        (true, _, false) => vec![vec!["systemctl", "disable", "--now", MONITOR]],
        (false, _, _) => Vec::new(),
    }
}
