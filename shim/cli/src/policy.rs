//! `palisade policy`.

use std::io::Write as _;

use palisade::gate::{LoadedPolicy, PolicySource};
use palisade_policy::{Policy, ProfileView, RuleView};
use serde_json::{Map, Value};

use crate::Verdict;
use crate::arguments::{PolicyCommand, PolicyFile};
use crate::error::CliError;
use crate::{image, schema, sync};

/// The policy that a command is about.
pub(crate) fn load(file: &PolicyFile) -> Result<LoadedPolicy, CliError> {
    let source = match &file.file {
        // The shim opens what its environment names as it stands; here a relative path is one from where the admin is.
        Some(path) => PolicySource::at(std::path::absolute(path)?),
        None => PolicySource::from_env(),
    };
    Ok(source.load()?)
}

pub(crate) fn run(command: PolicyCommand, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    match command {
        PolicyCommand::Validate { policy } => {
            let loaded = load(&policy)?;
            image::check_keys(loaded.policy().images())?;
            let names: Vec<String> = loaded.policy().profiles().into_iter().map(|profile| profile.name).collect();
            let (default, sha256) = (loaded.policy().profile(), loaded.sha256());
            writeln!(out, "valid; default profile {default}; profiles {}; sha256 {sha256}", names.join(", "))?;
            Ok(Verdict::Fine)
        }
        PolicyCommand::Show { policy, profile } => show(load(&policy)?.policy(), profile.as_deref(), out),
        PolicyCommand::Schema => {
            serde_json::to_writer_pretty(&mut *out, &schema::schema())?;
            writeln!(out)?;
            Ok(Verdict::Fine)
        }
        PolicyCommand::Diff { old, new } => {
            let (old, new) = (load(&PolicyFile { file: Some(old) })?, load(&PolicyFile { file: Some(new) })?);
            diff(old.policy(), new.policy(), out)
        }
        PolicyCommand::Sync(arguments) => sync::run(&arguments, out),
    }
}

fn show(policy: &Policy, only: Option<&str>, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let all = policy.profiles();
    if let Some(name) = only.filter(|name| !all.iter().any(|profile| profile.name == *name)) {
        let known = all.iter().map(|profile| profile.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(CliError::NoProfile { name: name.to_owned(), known });
    }
    if !policy.mitigations().is_empty() {
        writeln!(out, "mitigations {}", mitigations(policy))?;
    }
    for profile in all.iter().filter(|profile| only.is_none_or(|name| profile.name == name)) {
        let default = if profile.name == policy.profile() { ", the default" } else { "" };
        let learn = if profile.learn { ", learns" } else { "" };
        writeln!(out, "profile {} ({:?}{learn}{default})", profile.name, profile.mode)?;
        for rule in &profile.rules {
            let settings = settings(&rule.settings);
            writeln!(out, "  {:<22} {:<7}{settings}", rule.rule.as_str(), rule.action.to_string())?;
        }
    }
    Ok(Verdict::Fine)
}

fn settings(settings: &Map<String, Value>) -> String {
    settings.iter().map(|(key, value)| format!(" {key}={value}")).collect()
}

/// What two policies treat differently; objections if the new one is looser.
pub(crate) fn diff(old: &Policy, new: &Policy, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let (before, after) = (old.profiles(), new.profiles());
    let mut looser = false;
    for difference in new.differences_from(old) {
        looser |= difference.looser;
        writeln!(out, "{difference}")?;
    }
    let (were, are) = (mitigations(old), mitigations(new));
    if were != are {
        writeln!(out, "mitigations: {were} -> {are}")?;
    }
    for gone in before.iter().filter(|known| !after.iter().any(|other| other.name == known.name)) {
        writeln!(out, "profile {}: gone", gone.name)?;
    }
    for profile in &after {
        let Some(known) = before.iter().find(|known| known.name == profile.name) else {
            writeln!(out, "profile {}: new", profile.name)?;
            continue;
        };
        // Also where the same words stand there: the system call profile of that name may be another, and mitigations fewer.
        let why = new.looser_than(old, &profile.name);
        if known == profile && why.is_none() {
            continue;
        }
        looser |= why.is_some();
        match why {
            Some(why) => writeln!(out, "profile {}: LOOSER, {why}", profile.name)?,
            None => writeln!(out, "profile {}: at least as strict", profile.name)?,
        }
        changes(known, profile, out)?;
    }
    Ok(if looser { Verdict::Objections } else { Verdict::Fine })
}

/// The ids of what is switched on.
fn mitigations(policy: &Policy) -> String {
    let ids: Vec<&str> = policy.mitigations().iter().map(|mitigation| mitigation.id()).collect();
    if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
}

fn changes(old: &ProfileView, new: &ProfileView, out: &mut Vec<u8>) -> Result<(), CliError> {
    if old.mode != new.mode {
        writeln!(out, "  mode: {:?} -> {:?}", old.mode, new.mode)?;
    }
    if old.learn != new.learn {
        writeln!(out, "  learn: {} -> {}", old.learn, new.learn)?;
    }
    for (before, after) in old.rules.iter().zip(&new.rules).filter(|(before, after)| before != after) {
        if before.action != after.action {
            writeln!(out, "  {}: {} -> {}", after.rule, before.action, after.action)?;
        }
        let gone = before.settings.keys().filter(|key| !after.settings.contains_key(*key));
        for key in after.settings.keys().chain(gone) {
            let of = |rule: &RuleView| rule.settings.get(key).cloned().unwrap_or_default();
            if of(before) != of(after) {
                writeln!(out, "  {}.{key}: {} -> {}", after.rule, of(before), of(after))?;
            }
        }
    }
    Ok(())
}
