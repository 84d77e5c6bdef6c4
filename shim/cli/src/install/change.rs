//! What is to be changed, as values: each can be shown, done and undone.

use super::error::InstallError;
use super::files::{self, Held};
use crate::doctor::tree::Tree;

/// To what a change belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Part {
    Directories,
    Programs,
    Policy,
    Monitor,
    Configuration,
}

/// One file or directory that becomes another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) part: Part,
    pub(super) path: String,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// It is made, with this mode, and those above it.
    MakeDirectory(u32),
    File(FileChange),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileChange {
    /// As it is. None: it is not there.
    pub(super) before: Option<Held>,
    /// As it will be. None: it is removed.
    pub(super) after: Option<Held>,
    /// What was put into somebody else's file.
    pub(super) inserted: Option<String>,
    /// A pattern that the file imports for us: while it leads to others' files, it stays.
    pub(super) imports: Option<String>,
}

impl FileChange {
    fn shrinks(&self) -> bool {
        let length = |held: &Option<Held>| held.as_ref().map_or(0, |held| held.bytes.len());
        length(&self.after) < length(&self.before)
    }
}

impl Change {
    /// A file of our own.
    pub(super) fn file(part: Part, path: &str, before: Option<Held>, after: Option<Held>) -> Self {
        Self {
            part,
            path: path.to_owned(),
            what: What::File(FileChange { before, after, inserted: None, imports: None }),
        }
    }

    pub(super) fn as_file(&self) -> Option<&FileChange> {
        match &self.what {
            What::File(file) => Some(file),
            What::MakeDirectory(_) => None,
        }
    }

    /// Does it, if what is there is still what the plan was made of.
    pub(super) fn apply(&self, tree: &Tree) -> Result<(), InstallError> {
        match &self.what {
            What::MakeDirectory(mode) => files::make_directories(tree, &self.path, *mode),
            What::File(file) if put(tree, &self.path, file.before.as_ref(), file.after.as_ref())? => Ok(()),
            What::File(_) => Err(InstallError::Changed { path: self.path.clone() }),
        }
    }

    /// Undoes it, or leaves what somebody else has put there meanwhile; whether it is as it was.
    pub(super) fn undo(&self, tree: &Tree) -> Result<bool, InstallError> {
        match &self.what {
            What::MakeDirectory(_) => files::remove_directory(tree, &self.path).map(|_| true),
            What::File(file) if is(tree, &self.path, file.before.as_ref()) => Ok(true),
            What::File(file) if !is(tree, &self.path, file.after.as_ref()) => Ok(false),
            What::File(file) => put(tree, &self.path, file.after.as_ref(), file.before.as_ref()),
        }
    }

    /// In a few words.
    pub(super) fn verb(&self) -> &'static str {
        match &self.what {
            What::MakeDirectory(_) => "make",
            What::File(file) if file.after.is_none() => "remove",
            What::File(file) if file.before.is_none() => "write",
            What::File(file) if file.inserted.is_some() && file.shrinks() => "take from",
            What::File(file) if file.inserted.is_some() => "add to",
            What::File(_) => "replace",
        }
    }
}

/// Whether this is what is there. What can't be read is something else.
fn is(tree: &Tree, path: &str, held: Option<&Held>) -> bool {
    files::held(tree, path).is_ok_and(|there| there.as_ref() == held)
}

/// Puts one in the other's place, if that is what is there; whether it was.
fn put(tree: &Tree, path: &str, from: Option<&Held>, to: Option<&Held>) -> Result<bool, InstallError> {
    if !is(tree, path, from) {
        return Ok(false);
    }
    let Some(to) = to else { return files::remove(tree, path).map(|()| true) };
    if let Some((directory, _)) = path.rsplit_once('/').filter(|(directory, _)| !directory.is_empty()) {
        files::make_directories(tree, directory, 0o755)?;
    }
    files::write_if(tree, path, to, || is(tree, path, from))
}

/// What is to be done, and what an admin should know of it.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    pub(super) notes: Vec<String>,
    /// What was left as it is, although it was to be changed.
    pub(super) left: Vec<String>,
    /// Files that were left because they are still needed.
    pub(super) left_paths: Vec<String>,
}

impl Plan {
    pub(super) fn changes_configuration(&self) -> bool {
        self.changes.iter().any(|change| change.part == Part::Configuration && change.as_file().is_some())
    }

    pub(super) fn changes(&self, part: Part) -> bool {
        self.changes.iter().any(|change| change.part == part && change.as_file().is_some())
    }

    /// Leaves the programs, which are still needed.
    pub(super) fn leave_programs(&mut self, why: &str) {
        let is_program = |change: &Change| change.part == Part::Programs;
        self.left_paths =
            self.changes.iter().filter(|change| is_program(change)).map(|change| change.path.clone()).collect();
        self.changes.retain(|change| !is_program(change));
        let paths = self.left_paths.join(", ");
        self.left.push(format!("{paths}: {why}. Run `palisade uninstall` again when they have ended"));
    }

    pub(super) fn add(&mut self, mut other: Self) {
        self.changes.append(&mut other.changes);
        self.notes.append(&mut other.notes);
        self.left.append(&mut other.left);
    }
}
