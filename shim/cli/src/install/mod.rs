//! `palisade install` and `uninstall`: on a node, or on a node's tree that is mounted elsewhere.
//!
//! [`node`] reads the node; [`steps`] is the table of what an installation consists of, each of which plans [`change`]s; [`undo`] plans the way back;
//! [`apply`] carries a plan out or leaves everything as it was, with [`record`] telling what was there before. [`configuration`] knows how
//! containerd is told, [`edit`] how a file is added to, [`reload`] how containerd is started anew.

mod apply;
mod change;
mod configuration;
mod cri;
mod dump;
mod edit;
mod error;
mod files;
mod lock;
mod node;
mod print;
mod programs;
mod record;
mod reload;
mod steps;
mod undo;

use std::path::Path;
use std::time::Duration;

pub(crate) use error::InstallError;
pub(crate) use programs::within;

use crate::Verdict;
use crate::arguments::{DoctorArguments, InstallArguments, InstallPlace, UninstallArguments};
use crate::containers;
use crate::doctor;
use crate::error::CliError;
use apply::{Reload, Work, monitor_commands};
use change::{Part, Plan};
use lock::Lock;
use node::Node;
use print::Told;
use record::{Previous, Record};

/// systemd does what it is asked in this time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Containers that are named where there are more.
const MOST_NAMED: usize = 10;

pub(crate) fn install(arguments: &InstallArguments, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let place = &arguments.place;
    check_name(&arguments.handler)?;
    under_lock(place, |made| install_on(&Node::read(place)?, arguments, made, out))
}

/// One run at a time: what it goes by is read when no other one can change it. A dry run writes nothing, and takes no lock. What is run is given the
/// directories that were made for the lock, and names in their place those that go with it when nothing is installed any more.
fn under_lock(
    place: &InstallPlace,
    run: impl FnOnce(&mut Vec<String>) -> Result<Verdict, CliError>,
) -> Result<Verdict, CliError> {
    if place.dry_run {
        return run(&mut Vec::new());
    }
    let lock = Lock::take(Node::tree(place)?.1)?;
    let mut directories = lock.made.clone();
    let ran = run(&mut directories);
    let released = lock.release(&directories);
    let verdict = ran?;
    released?;
    Ok(verdict)
}

fn install_on(
    node: &Node,
    arguments: &InstallArguments,
    made: &[String],
    out: &mut Vec<u8>,
) -> Result<Verdict, CliError> {
    let place = &arguments.place;
    let before = Record::read(&node.tree)?;
    let known = before.clone().unwrap_or_else(|| Record::new(&arguments.handler));
    let (mut plan, mut after) = if arguments.rollback {
        Record::installed(&node.tree)?;
        undo::rollback(node, &known)?
    } else {
        planned(node, &known, arguments)?
    };
    after.directories.extend_from_slice(made);
    if place.dry_run {
        return told(node, &plan, dry(&plan, &known), &after, place, Vec::new(), out);
    }
    let work = Work { node, place, plan: &plan, before, after, wanted: true };
    let (after, reload) = work.run()?;
    monitor(node, &mut plan, true);
    told(node, &plan, reload, &after, place, looked_at(node)?, out)
}

pub(crate) fn uninstall(arguments: &UninstallArguments, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let place = &arguments.place;
    // Where nothing is installed, nothing is made for a lock either.
    Record::installed(&Node::tree(place)?.1)?;
    under_lock(place, |directories| uninstall_from(&Node::read(place)?, arguments, directories, out))
}

fn uninstall_from(
    node: &Node,
    arguments: &UninstallArguments,
    directories: &mut Vec<String>,
    out: &mut Vec<u8>,
) -> Result<Verdict, CliError> {
    let place = &arguments.place;
    let before = Record::installed(&node.tree)?;
    let mut plan = undo::uninstall(node, &before)?;
    let used = in_use(node)?;
    match used {
        Some(used) if !arguments.force => return Err(used.into()),
        Some(used) => plan.leave_programs(&used.to_string()),
        None => {}
    }
    let names = undo::other_handlers(node, &plan).join(", ");
    if !arguments.force && !names.is_empty() {
        return Err(InstallError::OtherHandlers { names }.into());
    }
    if place.dry_run {
        return told(node, &plan, dry(&plan, &before), &before, place, Vec::new(), out);
    }
    monitor(node, &mut plan, false);
    let mut after = Record { previous: None, ..before.clone() };
    after.files.retain(|path, _| plan.left_paths.contains(path));
    let work = Work { node, place, plan: &plan, before: Some(before), after, wanted: false };
    let (after, reload) = match work.run() {
        Ok(done) => done,
        Err(error) => {
            monitor(node, &mut plan, true);
            return Err(error.into());
        }
    };
    // What was left because containers need it is taken away by the next run; other files that were left are the admin's by now.
    if plan.left_paths.is_empty() {
        // The record last: as long as it is there a run that is killed can be taken up.
        apply::remove_directories(&node.tree, &after.directories)?;
        record::remove(&node.tree)?;
        directories.clone_from(&after.directories);
    }
    if node.systemd && plan.changes(Part::Monitor) {
        systemctl(node, &mut plan, &["systemctl", "daemon-reload"]);
    }
    told(node, &plan, reload, &after, place, Vec::new(), out)
}

/// A handler's name is a RuntimeClass' `handler`: an RFC 1123 label.
fn check_name(name: &str) -> Result<(), InstallError> {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_label = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if is_label && name.len() <= 63 && is_end(name.chars().next()) && is_end(name.chars().last()) && name != "runc" {
        Ok(())
    } else {
        Err(InstallError::HandlerName(name.to_owned()))
    }
}

/// The plan of all steps, and the record when it is carried out.
fn planned(node: &Node, known: &Record, arguments: &InstallArguments) -> Result<(Plan, Record), InstallError> {
    let mut plan = Plan::default();
    for step in steps::STEPS {
        plan.add(step.plan(node, known, arguments)?);
    }
    let mut after = known.clone();
    let replaced = known.replaced_by(&plan.changes);
    if replaced.values().any(|entry| entry.part == Part::Programs) && !known.unfinished {
        after.previous = Some(Previous { version: known.version.clone(), files: replaced });
    }
    after.take_up(&plan.changes);
    after.version = env!("CARGO_PKG_VERSION").to_owned();
    after.handler.clone_from(&arguments.handler);
    Ok((plan, after))
}

/// Whether containerd would have to be started anew.
fn dry(plan: &Plan, record: &Record) -> Reload {
    if plan.changes_configuration() || record.reload_due { Reload::Due } else { Reload::NotNeeded }
}

/// Containers that palisade's shims hold: containerd forgets them without the shim, and can't end them.
fn in_use(node: &Node) -> Result<Option<InstallError>, CliError> {
    let Some((_open, by)) = node.tree.directory(Path::new(&node.state())).map_err(InstallError::Look)? else {
        return Ok(None);
    };
    let bundles = containers::bundles(&by)?;
    if bundles.is_empty() {
        return Ok(None);
    }
    let named = bundles.iter().take(MOST_NAMED).map(|(namespace, id, _)| format!("{namespace}/{id}"));
    let mut which = named.collect::<Vec<_>>().join(", ");
    if bundles.len() > MOST_NAMED {
        which.push_str(" and others");
    }
    let running = match bundles.len() {
        1 => "1 container".to_owned(),
        number => format!("{number} containers"),
    };
    Ok(Some(InstallError::InUse { running, which }))
}

/// Starts or ends the monitor where systemd runs. One that does not start is told of: containers do without it.
fn monitor(node: &Node, plan: &mut Plan, wanted: bool) {
    let commands = monitor_commands(plan, wanted);
    if commands.is_empty() {
        return;
    }
    if !node.systemd {
        if plan.changes(Part::Monitor) && wanted {
            plan.notes.push(format!("systemd does not run here: {} was not started", steps::MONITOR));
        }
        return;
    }
    for words in commands {
        systemctl(node, plan, &words);
    }
}

fn systemctl(node: &Node, plan: &mut Plan, words: &[&str]) {
    let command = words.join(" ");
    match programs::run(&node.root, words, PATIENCE) {
        Ok(ran) if ran.status.success() => {}
        Ok(ran) => plan.notes.push(format!("{command} failed: {}", ran.said())),
        Err(error) => plan.notes.push(error.to_string()),
    }
}

fn told(
    node: &Node,
    plan: &Plan,
    reload: Reload,
    record: &Record,
    place: &InstallPlace,
    doctor: Vec<String>,
    out: &mut Vec<u8>,
) -> Result<Verdict, CliError> {
    let told = Told { node, plan, reload, version: &record.version, handler: &record.handler, doctor };
    told.print(place, out)?;
    let is_left = reload == Reload::Due || !plan.left.is_empty() || (place.dry_run && !plan.changes.is_empty());
    Ok(if is_left { Verdict::Objections } else { Verdict::Fine })
}

/// What `palisade doctor` objects to, in short.
fn looked_at(node: &Node) -> Result<Vec<String>, CliError> {
    let arguments = DoctorArguments {
        root: node.root.clone(),
        containerd_config: node.text.as_ref().map(|_| node.config_path.clone().into()),
        ..DoctorArguments::of_this_node(&crate::arguments::PolicyFile { file: None })
    };
    doctor::in_short(&arguments)
}
