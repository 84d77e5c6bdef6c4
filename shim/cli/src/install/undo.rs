//! The way back: what an uninstallation or a rollback changes, worked out from the record and from what is on the node now.

use toml::Table;

use super::change::{Change, FileChange, Part, Plan, What};
use super::edit;
use super::error::InstallError;
use super::files::{Held, held};
use super::node::Node;
use super::record::{Content, Entry, Previous, Record, kept};
use crate::doctor::config::{Config, Handler, matches};

/// Everything that was installed is taken away, containerd's configuration first.
pub(super) fn uninstall(node: &Node, record: &Record) -> Result<Plan, InstallError> {
    let mut plan = Plan::default();
    let mut entries: Vec<(&String, &Entry)> = record.files.iter().collect();
    entries.sort_by_key(|(_, entry)| entry.part != Part::Configuration);
    for (path, entry) in entries {
        match back(node, record, path, entry)? {
            Back::To(change) => plan.changes.push(change),
            Back::Already => {}
            Back::Left(why) => plan.left.push(why),
        }
    }
    Ok(plan)
}

/// What becomes of one file.
enum Back {
    To(Change),
    Already,
    Left(String),
}

fn back(node: &Node, record: &Record, path: &str, entry: &Entry) -> Result<Back, InstallError> {
    let Some(current) = held(&node.tree, path)? else { return Ok(Back::Already) };
    if entry.before.as_ref().is_some_and(|before| before.is(&current)) {
        return Ok(Back::Already);
    }
    if let Some(pattern) = &entry.imports {
        let others = others(node, record, path, pattern)?;
        if !others.is_empty() {
            return Ok(Back::Left(format!(
                "{path} imports {pattern}, where others' files are as well ({}): left as it is",
                others.join(", ")
            )));
        }
    }
    let to = |after: Option<Held>| {
        let inserted = entry.inserted.clone().filter(|_| after.is_some());
        let what = What::File(FileChange { before: Some(current.clone()), after, inserted, imports: None });
        Back::To(Change { part: entry.part, path: path.to_owned(), what })
    };
    if record.wrote(path, &current) {
        let before = entry.before.as_ref().map(|content| kept(&node.tree, content)).transpose()?;
        return Ok(to(before));
    }
    let text = current.text().unwrap_or_default();
    let less = entry.inserted.as_deref().and_then(|inserted| edit::without(text, inserted));
    Ok(match less {
        Some(less) => to(Some(current.with(&less))),
        None => Back::Left(format!("{path} is not as it was written: left as it is")),
    })
}

/// Files that a pattern leads to beside our own.
fn others(node: &Node, record: &Record, config: &str, pattern: &str) -> Result<Vec<String>, InstallError> {
    let (directory, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let names = node.tree.list(directory).map_err(InstallError::Look)?.unwrap_or_default();
    let paths = names.iter().filter(|own| matches(name, own)).map(|own| format!("{directory}/{own}"));
    Ok(paths.filter(|path| path != config && !record.files.contains_key(path)).collect())
}

/// What the last upgrade replaced is put back; the record as it is then.
pub(super) fn rollback(node: &Node, record: &Record) -> Result<(Plan, Record), InstallError> {
    let previous = record.previous.as_ref().ok_or(InstallError::NoPrevious)?;
    let mut plan = Plan::default();
    let mut after = record.clone();
    let mut replaced = Previous { version: record.version.clone(), files: Default::default() };
    for (path, old) in &previous.files {
        let Some(entry) = record.files.get(path) else { continue };
        let current = held(&node.tree, path)?;
        let Some(current) = current.filter(|held| entry.written.is(held) || old.written.is(held)) else {
            plan.left.push(format!("{path} is not as it was written: left as it is"));
            continue;
        };
        let then = kept(&node.tree, &old.written)?;
        replaced.files.insert(path.clone(), Entry { written: Content::of(&current), ..entry.clone() });
        after.files.insert(path.clone(), old.clone());
        if current != then {
            let inserted = old.inserted.clone();
            let what = What::File(FileChange { before: Some(current), after: Some(then), inserted, imports: None });
            plan.changes.push(Change { part: entry.part, path: path.clone(), what });
        }
    }
    after.version.clone_from(&previous.version);
    after.previous = Some(replaced);
    Ok((plan, after))
}

/// Handlers that would still be palisade's after a plan of `uninstall`, whose shim would be gone.
pub(super) fn other_handlers(node: &Node, plan: &Plan) -> Vec<String> {
    let removes_shim = plan
        .changes
        .iter()
        .any(|change| change.part == Part::Programs && change.as_file().is_some_and(|file| file.after.is_none()));
    if !removes_shim {
        return Vec::new();
    }
    let changes = plan.changes.iter().filter(|change| change.part == Part::Configuration);
    let taken: Vec<String> = changes.filter_map(Change::as_file).flat_map(handlers_of).collect();
    let own = node.config.handlers().into_iter().filter(Handler::is_palisade);
    own.map(|handler| handler.name).filter(|name| !taken.contains(name)).collect()
}

/// The handlers in what is taken away.
fn handlers_of(file: &FileChange) -> Vec<String> {
    let whole = file.before.as_ref().and_then(Held::text);
    let text = if file.after.is_none() { whole } else { file.inserted.as_deref() };
    let table: Table = text.and_then(|text| text.parse().ok()).unwrap_or_default();
    Config { table, ..Config::default() }.handlers().into_iter().map(|handler| handler.name).collect()
}
