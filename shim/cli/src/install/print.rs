//! What was or would be done, as text and as JSON.

use std::io::Write as _;

use serde_json::{Value, json};

use super::apply::Reload;
use super::change::{Change, Plan, What};
use super::node::Node;
use super::reload::Restart;
use crate::arguments::{InstallPlace, ListFormat};
use crate::error::CliError;
use crate::report::{plain, write_json};

/// Of the JSON output. Goes up when a field changes its meaning or goes.
const FORMAT: u32 = 1;

/// What is told at the end.
pub(super) struct Told<'a> {
    pub(super) node: &'a Node,
    pub(super) plan: &'a Plan,
    pub(super) reload: Reload,
    pub(super) version: &'a str,
    pub(super) handler: &'a str,
    /// What the doctor has found, in short.
    pub(super) doctor: Vec<String>,
}

impl Told<'_> {
    pub(super) fn print(&self, place: &InstallPlace, out: &mut Vec<u8>) -> Result<(), CliError> {
        match place.format {
            ListFormat::Text => self.text(place.dry_run, out),
            ListFormat::Json => self.json(place.dry_run, out),
        }
    }

    fn text(&self, dry_run: bool, out: &mut Vec<u8>) -> Result<(), CliError> {
        for change in &self.plan.changes {
            writeln!(out, "{}", plain(&line(change)))?;
            for added in inserted(change).lines() {
                let sign = if change.verb() == "take from" { '-' } else { '+' };
                writeln!(out, "    {sign} {}", plain(added))?;
            }
        }
        for note in &self.plan.notes {
            writeln!(out, "note: {}", plain(note))?;
        }
        for left in &self.plan.left {
            writeln!(out, "left: {}", plain(left))?;
        }
        let (version, handler) = (self.version, self.handler);
        match (self.plan.changes.is_empty(), dry_run) {
            (true, _) => writeln!(out, "nothing to do: palisade {version}, handler {handler}")?,
            (false, true) => writeln!(out, "nothing was done: this is the plan")?,
            (false, false) => writeln!(out, "done: palisade {version}, handler {handler}")?,
        }
        match self.reload {
            Reload::NotNeeded => {}
            Reload::Done => writeln!(out, "containerd was restarted and answers")?,
            Reload::Due => writeln!(out, "containerd has to be restarted: {}", Restart::shown(self.node))?,
        }
        for line in &self.doctor {
            writeln!(out, "{}", plain(line))?;
        }
        Ok(())
    }

    fn json(&self, dry_run: bool, out: &mut Vec<u8>) -> Result<(), CliError> {
        let changes: Vec<Value> = self
            .plan
            .changes
            .iter()
            .map(|change| {
                let after = change.as_file().and_then(|file| file.after.as_ref());
                json!({
                    "part": change.part,
                    "action": change.verb(),
                    "path": change.path,
                    "sha256": after.map(super::files::Held::sha256),
                    "inserted": change.as_file().and_then(|file| file.inserted.as_ref()),
                })
            })
            .collect();
        let told = json!({
            "format": FORMAT,
            "palisade": self.version,
            "handler": self.handler,
            "root": self.node.root,
            "containerd": { "version": self.node.version.to_string(), "config": self.node.config_path, "distribution": self.node.distribution.name },
            "dry_run": dry_run,
            "changes": changes,
            "notes": self.plan.notes,
            "left": self.plan.left,
            "restart": self.reload,
            "doctor": self.doctor,
        });
        write_json(&serde_json::to_string_pretty(&told)?, out)
    }
}

fn line(change: &Change) -> String {
    let detail = match &change.what {
        What::MakeDirectory(mode) => format!(" (mode {mode:04o})"),
        What::File(file) => match &file.after {
            Some(after) => {
                let digest = after.sha256();
                format!(" ({} bytes, sha256 {})", after.bytes.len(), digest.get(..12).unwrap_or_default())
            }
            None => String::new(),
        },
    };
    format!("{:<9} {}{detail}", change.verb(), change.path)
}

/// What is put into a file of somebody else's.
fn inserted(change: &Change) -> &str {
    let file = change.as_file().filter(|file| file.before.is_some() && file.after.is_some());
    file.and_then(|file| file.inserted.as_deref()).unwrap_or_default()
}
