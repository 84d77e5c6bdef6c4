//! What was installed, and what was there before: `/var/lib/palisade/install` on the node.
//!
//! It is written before anything is changed. A run that is killed leaves files that are as they were or as they were to be, and the
//! record tells which is which.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::change::{Change, Part, What};
use super::error::InstallError;
use super::files::{self, Held};
use crate::doctor::tree::Tree;

pub(super) const DIRECTORY: &str = "/var/lib/palisade/install";
const RECORD: &str = "/var/lib/palisade/install/record.json";
pub(super) const KEPT: &str = "/var/lib/palisade/install/kept";
/// Of the record. Goes up when a field changes its meaning or goes.
const FORMAT: u32 = 1;

/// A content, by its digest; the bytes are in `kept/<digest>` where they may be needed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    pub(super) sha256: String,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Content {
    pub(super) fn of(held: &Held) -> Self {
        Self { sha256: held.sha256(), mode: held.mode, uid: held.uid, gid: held.gid }
    }

    /// Whether a file is this.
    pub(super) fn is(&self, held: &Held) -> bool {
        self.sha256 == held.sha256()
    }
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) part: Part,
    /// What was there before palisade was. None: nothing.
    pub(super) before: Option<Content>,
    pub(super) written: Content,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) inserted: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) imports: Option<String>,
}

/// What an upgrade has replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Previous {
    pub(super) version: String,
    pub(super) files: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) format: u32,
    /// Of the palisade that is installed.
    pub(super) version: String,
    pub(super) handler: String,
    pub(super) files: BTreeMap<String, Entry>,
    /// Made by us, the uppermost first.
    pub(super) directories: Vec<String>,
    pub(super) previous: Option<Previous>,
    /// Whether containerd still has to be started anew.
    pub(super) reload_due: bool,
    /// Whether a run has begun and not come to its end.
    pub(super) unfinished: bool,
    /// What that run replaces: a file may still be it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) replacing: BTreeMap<String, Content>,
}

impl Record {
    pub(super) fn new(handler: &str) -> Self {
        Self {
            format: FORMAT,
            version: String::new(),
            handler: handler.to_owned(),
            files: BTreeMap::new(),
            directories: Vec::new(),
            previous: None,
            reload_due: false,
            unfinished: false,
            replacing: BTreeMap::new(),
        }
    }

    pub(super) fn read(tree: &Tree) -> Result<Option<Self>, InstallError> {
        let failed =
            |why: String| InstallError::Record { path: RECORD.to_owned(), directory: DIRECTORY.to_owned(), why };
        let Some(held) = files::held(tree, RECORD)? else { return Ok(None) };
        let record: Self = serde_json::from_slice(&held.bytes).map_err(|error| failed(error.to_string()))?;
        if record.format != FORMAT {
            return Err(failed(format!("it is of format {}", record.format)));
        }
        Ok(Some(record))
    }

    pub(super) fn installed(tree: &Tree) -> Result<Self, InstallError> {
        Self::read(tree)?.ok_or_else(|| InstallError::NotInstalled { path: RECORD.to_owned() })
    }

    pub(super) fn write(&self, tree: &Tree) -> Result<(), InstallError> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| InstallError::file("write", RECORD)(std::io::Error::other(error)))?;
        files::write(tree, RECORD, &Held::roots(text, 0o600))
    }

    /// Whether a file is as some run of ours left it.
    pub(super) fn wrote(&self, path: &str, held: &Held) -> bool {
        let before = self.previous.as_ref().and_then(|previous| previous.files.get(path));
        let known = [self.files.get(path), before].into_iter().flatten().map(|entry| &entry.written);
        known.chain(self.replacing.get(path)).any(|content| content.is(held))
    }

    /// As it is while a plan is carried out.
    pub(super) fn begun(&self, changes: &[Change]) -> Self {
        let mut begun = self.clone();
        begun.unfinished = true;
        for change in changes.iter().filter(|change| self.files.contains_key(&change.path)) {
            let before = change.as_file().and_then(|file| file.before.as_ref());
            // What was there before palisade is put back, and is not palisade's.
            let ours = before.filter(|held| {
                self.files.get(&change.path).is_none_or(|entry| entry.before.as_ref().is_none_or(|old| !old.is(held)))
            });
            begun.replacing.extend(ours.map(|held| (change.path.clone(), Content::of(held))));
        }
        begun
    }

    /// Whether containerd was told of the handler.
    pub(super) fn has_configuration(&self) -> bool {
        self.files.values().any(|entry| entry.part == Part::Configuration)
    }

    /// Takes up what a plan will have done. What was there before the first run stays what was there before.
    pub(super) fn take_up(&mut self, changes: &[Change]) {
        for change in changes {
            let What::File(file) = &change.what else { continue };
            let Some(after) = &file.after else { continue };
            let first = self.files.get(&change.path).map(|entry| entry.before.clone());
            let entry = Entry {
                part: change.part,
                before: first.unwrap_or_else(|| file.before.as_ref().map(Content::of)),
                written: Content::of(after),
                inserted: file.inserted.clone(),
                imports: file.imports.clone(),
            };
            self.files.insert(change.path.clone(), entry);
        }
    }

    /// The entries of files that a plan replaces, as they are before it.
    pub(super) fn replaced_by(&self, changes: &[Change]) -> BTreeMap<String, Entry> {
        let replaced = changes.iter().filter_map(|change| {
            let entry = self.files.get(&change.path)?;
            change.as_file()?.before.as_ref()?;
            Some((change.path.clone(), entry.clone()))
        });
        replaced.collect()
    }
}

/// Keeps what a plan replaces, so that it can be put back.
pub(super) fn keep(tree: &Tree, changes: &[Change]) -> Result<(), InstallError> {
    for before in changes.iter().filter_map(|change| change.as_file()?.before.as_ref()) {
        let path = format!("{KEPT}/{}", before.sha256());
        if files::held(tree, &path)?.is_none_or(|kept| kept.bytes != before.bytes) {
            files::write(tree, &path, &Held::roots(before.bytes.clone(), 0o600))?;
        }
    }
    Ok(())
}

/// A content that was kept.
pub(super) fn kept(tree: &Tree, content: &Content) -> Result<Held, InstallError> {
    let path = format!("{KEPT}/{}", content.sha256);
    let lost =
        |why: &str| InstallError::Record { path: path.clone(), directory: DIRECTORY.to_owned(), why: why.to_owned() };
    let held = files::held(tree, &path)?.ok_or_else(|| lost("it is not there"))?;
    if !content.is(&held) {
        return Err(lost("it has another content than its name says"));
    }
    Ok(Held { mode: content.mode, uid: content.uid, gid: content.gid, ..held })
}

/// Forgets contents that no entry speaks of any more.
pub(super) fn forget_others(tree: &Tree, record: &Record) -> Result<(), InstallError> {
    let previous = record.previous.iter().flat_map(|previous| previous.files.values());
    let needed: Vec<&str> = record
        .files
        .values()
        .chain(previous)
        .flat_map(|entry| entry.before.iter().chain([&entry.written]))
        .map(|content| content.sha256.as_str())
        .collect();
    for name in tree.list(KEPT).map_err(InstallError::Look)?.unwrap_or_default() {
        if !needed.contains(&name.as_str()) {
            files::remove(tree, &format!("{KEPT}/{name}"))?;
        }
    }
    Ok(())
}

/// Removes record and contents, at the end of all.
pub(super) fn remove(tree: &Tree) -> Result<(), InstallError> {
    for name in tree.list(KEPT).map_err(InstallError::Look)?.unwrap_or_default() {
        files::remove(tree, &format!("{KEPT}/{name}"))?;
    }
    files::remove_directory(tree, KEPT)?;
    files::remove(tree, RECORD)
}
