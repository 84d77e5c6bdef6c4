//! How containerd is told of the handler: by a drop-in where it merges drop-ins (2.x), by an addition to the file where it does not (1.7).
//!
//! containerd 1.7 takes a drop-in that names CRI for CRI's whole section. One that repeats what the admin has now would hide what they write later,
//! so there is none. containerd 2.x reads all files in the format of the last one: a drop-in has the format of the file that imports it, or all
//! settings of that file would be lost. Seen with `containerd config dump` of 1.7.24 and 2.1.9.

use std::path::Path;

use toml::{Table, Value};

use super::change::{Change, FileChange, Part, Plan, What};
use super::edit::{self, Edited, quoted};
use super::error::InstallError;
use super::files::{Held, held};
use super::node::Node;
use super::record::Record;
use crate::arguments::HandlerForm;
use crate::doctor::config::{Handler, PALISADE_TYPE, SHIM, matches, texts};
use crate::doctor::version::Version;

/// Where drop-ins are if nothing is imported yet.
const DROP_INS: &str = "/etc/containerd/conf.d";
const DROP_IN: &str = "palisade.toml";
const RUNC: &str = "io.containerd.runc.v2";
const MODE: u32 = 0o644;

/// What the handler is to be.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub(super) handler: &'a str,
    pub(super) form: HandlerForm,
    pub(super) bin_dir: &'a str,
    /// Whether a file of the admin's may be added to.
    pub(super) edit: bool,
}

pub(super) fn plan(node: &Node, record: &Record, wish: &Wish<'_>) -> Result<Plan, InstallError> {
    let format = format(node)?;
    let own = node.config.handlers().into_iter().find(|handler| handler.name == wish.handler);
    if let Some(handler) = own.as_ref().filter(|handler| !handler.is_palisade()) {
        let kind = [&handler.path, &handler.kind].into_iter().find(|text| !text.is_empty());
        let kind = kind.cloned().unwrap_or_default();
        return Err(InstallError::HandlerTaken { name: handler.name.clone(), kind });
    }
    let tables = Tables { node, wish, format };
    if node.config.deep { drop_in(&tables, record, own.is_some()) } else { addition(&tables, record, own.is_some()) }
}

/// The format of the main file, which is the one that ours must have.
fn format(node: &Node) -> Result<i64, InstallError> {
    let main = node.main();
    let newest = if node.version.major() >= 2 { 3 } else { 2 };
    match main.get("version").and_then(Value::as_integer) {
        None if main.is_empty() => Ok(newest),
        None | Some(..=1) => Err(InstallError::OldFormat { path: node.config_path.clone() }),
        Some(format @ 2..=3) if format <= newest => Ok(format),
        Some(format) => Err(InstallError::UnknownFormat {
            path: node.config_path.clone(),
            format,
            containerd: node.version.to_string(),
        }),
    }
}

/// What is written of the handler.
struct Tables<'a> {
    node: &'a Node,
    wish: &'a Wish<'a>,
    format: i64,
}

impl Tables<'_> {
    fn section(&self) -> &'static str {
        if self.format >= 3 { "io.containerd.cri.v1.runtime" } else { "io.containerd.grpc.v1.cri" }
    }

    /// The tables of the handler.
    fn handler(&self) -> String {
        let head = format!("plugins.{}.containerd.runtimes.{}", quoted(self.section()), self.wish.handler);
        if !by_path(self.wish.form, &self.node.version) {
            return format!("[{head}]\n  runtime_type = {}\n", quoted(PALISADE_TYPE));
        }
        let shim = quoted(&format!("{}/{SHIM}", self.wish.bin_dir));
        let cgroups = if systemd_cgroup(&self.node.config.handlers()) {
            format!("\n[{head}.options]\n  SystemdCgroup = true\n")
        } else {
            String::new()
        };
        format!("[{head}]\n  runtime_type = \"{RUNC}\"\n  runtime_path = {shim}\n{cgroups}")
    }

    /// What a file of our own begins with.
    fn head(&self) -> String {
        format!("{HEAD}version = {}\n", self.format)
    }
}

const HEAD: &str =
    "# Written by `palisade install`. `palisade uninstall` takes it away as long as it is as it was written.\n";

/// Since 2.2 CRI asks every handler's shim for its features; before that only one of runc's type.
fn by_path(form: HandlerForm, version: &Version) -> bool {
    match form {
        HandlerForm::Path => true,
        HandlerForm::Type => false,
        HandlerForm::Auto => Version::parse("2.2.0").is_some_and(|since| *version < since),
    }
}

/// Whether runc's containers are under systemd here: palisade's have to be then as well.
fn systemd_cgroup(handlers: &[Handler]) -> bool {
    let runc = handlers.iter().find(|handler| handler.name == "runc" && !handler.is_palisade());
    runc.and_then(|runc| runc.table.get("options")?.get("SystemdCgroup")?.as_bool()).unwrap_or(false)
}

/// containerd 2.x.
fn drop_in(tables: &Tables<'_>, record: &Record, configured: bool) -> Result<Plan, InstallError> {
    let node = tables.node;
    let mut plan = Plan::default();
    let covered = covering(node);
    let path = covered.clone().unwrap_or_else(|| format!("{DROP_INS}/{DROP_IN}"));
    let before = held(&node.tree, &path)?;
    let ours = before.as_ref().is_some_and(|held| record.wrote(&path, held));
    if configured && !ours {
        plan.notes.push(by_hand(tables.wish.handler));
        return Ok(plan);
    }
    if before.is_some() && !ours {
        return Err(InstallError::Foreign { path });
    }
    let after = Held::roots(format!("{}\n{}", tables.head(), tables.handler()), MODE);
    if before.as_ref() != Some(&after) {
        plan.changes.push(Change::file(Part::Configuration, &path, before, Some(after)));
    }
    if covered.is_none() {
        plan.changes.push(imported(tables)?);
    }
    Ok(plan)
}

/// Where a drop-in is read: the first of the main file's `imports` that our name fits.
fn covering(node: &Node) -> Option<String> {
    let directory = Path::new(&node.config_path).parent().unwrap_or_else(|| Path::new("/"));
    let patterns = node.main().get("imports").map(texts).unwrap_or_default();
    let fitting = patterns.iter().filter_map(|pattern| {
        let (parent, name) = pattern.rsplit_once('/').unwrap_or((".", pattern));
        if parent.contains(['*', '?', '[']) || name.contains(['?', '[']) || !matches(name, DROP_IN) {
            return None;
        }
        let path = directory.join(parent).join(DROP_IN);
        Some(path.components().collect::<std::path::PathBuf>().to_string_lossy().into_owned())
    });
    fitting.into_iter().next()
}

/// The line that makes containerd read the drop-in.
fn imported(tables: &Tables<'_>) -> Result<Change, InstallError> {
    let node = tables.node;
    let pattern = format!("{DROP_INS}/*.toml");
    let line = format!("imports = [{}]", quoted(&pattern));
    let Some(text) = &node.text else {
        let text = format!("{}{line}\n", tables.head());
        return Ok(change(node, None, Held::roots(text, MODE), None, Some(pattern)));
    };
    unless_generated(tables, &tables.handler())?;
    if !tables.wish.edit {
        let directory = DROP_INS.to_owned();
        return Err(InstallError::NotImported { path: node.config_path.clone(), directory, line });
    }
    let edited = if node.main().is_empty() {
        edit::append(text, &format!("version = {}\n{line}\n", tables.format))
    } else {
        edit::import(text, &pattern)
    };
    let edited = edited.map_err(|why| not_edited(&node.config_path, why, &format!("{line}\n")))?;
    edited_change(node, &node.config_path, edited, Some(pattern))
}

/// containerd 1.7.
fn addition(tables: &Tables<'_>, record: &Record, configured: bool) -> Result<Plan, InstallError> {
    let node = tables.node;
    let mut plan = Plan::default();
    let path = in_force(node, tables.section())?;
    let Some(current) = held(&node.tree, &path)? else {
        let block = block(tables, "");
        let text = format!("{}\n{block}", tables.head());
        plan.changes.push(change(node, None, Held::roots(text, MODE), Some(block), None));
        return Ok(plan);
    };
    let text = current.text().unwrap_or_default().to_owned();
    let put_in = record.files.get(&path).and_then(|entry| entry.inserted.clone()).filter(|old| text.contains(old));
    let text = match (put_in, configured) {
        (Some(old), _) => edit::without(&text, &old).ok_or_else(|| InstallError::Foreign { path: path.clone() })?,
        (None, true) => {
            plan.notes.push(by_hand(tables.wish.handler));
            return Ok(plan);
        }
        (None, false) => {
            let lines = block(tables, &text);
            unless_generated(tables, &lines)?;
            if !tables.wish.edit {
                return Err(InstallError::NoDropIn { version: node.version.to_string(), path, lines });
            }
            text
        }
    };
    let block = block(tables, &text);
    let is_empty = text.parse::<Table>().is_ok_and(|table| table.is_empty());
    let all = if is_empty { format!("version = {}\n\n{block}", tables.format) } else { block.clone() };
    let edited = edit::append(&text, &all).map_err(|why| not_edited(&path, why, &block))?;
    if edited.text.as_bytes() != current.bytes {
        plan.changes.push(edited_change(node, &path, edited, None)?);
    }
    Ok(plan)
}

fn by_hand(handler: &str) -> String {
    format!("handler {handler} is palisade's already, by the admin's own hand: left as it is")
}

/// The handler, and runc's where the file has no handlers: with one of its own in it, containerd 1.7 forgets the one that is built in.
fn block(tables: &Tables<'_>, file: &str) -> String {
    let file: Table = file.parse().unwrap_or_default();
    let runtimes = file
        .get("plugins")
        .and_then(|plugins| plugins.get(tables.section())?.get("containerd")?.get("runtimes")?.as_table());
    let built_in = if runtimes.is_some_and(|table| !table.is_empty()) {
        String::new()
    } else {
        let head = format!("plugins.{}.containerd.runtimes.runc", quoted(tables.section()));
        format!(
            "# As containerd has it built in, but forgets it when another handler is configured.\n\
             [{head}]\n  runtime_type = \"{RUNC}\"\n  sandbox_mode = \"podsandbox\"\n\n[{head}.options]\n\n"
        )
    };
    let handler = tables.handler();
    format!(
        "# Added by `palisade install`; `palisade uninstall` takes it out.\n{built_in}{handler}# The end of what was added.\n"
    )
}

/// The file whose section of CRI's counts in containerd 1.7: the last one that has it.
fn in_force(node: &Node, section: &str) -> Result<String, InstallError> {
    let mut found = node.config_path.clone();
    for path in &node.config.files {
        let text = node.tree.text(path).map_err(InstallError::Look)?.unwrap_or_default();
        let table: Table = text.parse().unwrap_or_default();
        if table.get("plugins").and_then(|plugins| plugins.get(section)).is_some() {
            found.clone_from(path);
        }
    }
    Ok(found)
}

/// What is written anew at each start is not to be changed.
fn unless_generated(tables: &Tables<'_>, lines: &str) -> Result<(), InstallError> {
    let node = tables.node;
    let Some(mend) = node.distribution.written_from else { return Ok(()) };
    let (path, by) = (node.config_path.clone(), node.distribution.name);
    Err(InstallError::Generated { path, by, mend: mend.to_owned(), lines: lines.to_owned() })
}

fn not_edited(path: &str, why: String, lines: &str) -> InstallError {
    InstallError::NotEdited { path: path.to_owned(), why, lines: lines.to_owned() }
}

fn edited_change(node: &Node, path: &str, edited: Edited, imports: Option<String>) -> Result<Change, InstallError> {
    let before = held(&node.tree, path)?;
    let after = before.as_ref().map_or_else(|| Held::roots("", MODE), Clone::clone).with(&edited.text);
    let inserted = Some(edited.inserted);
    let what = What::File(FileChange { before, after: Some(after), inserted, imports });
    Ok(Change { part: Part::Configuration, path: path.to_owned(), what })
}

fn change(node: &Node, before: Option<Held>, after: Held, inserted: Option<String>, imports: Option<String>) -> Change {
    let what = What::File(FileChange { before, after: Some(after), inserted, imports });
    Change { part: Part::Configuration, path: node.config_path.clone(), what }
}
