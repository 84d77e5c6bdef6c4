//! The policy file as text: strict TOML, and errors that name the line, the key and the mend.

mod audit;
mod entries;
mod error;
mod images;
mod inherit;
mod limits;
mod lists;
mod quantity;
mod shape;

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use palisade_seccomp::{Library, ProfileError};
use toml::Spanned;

pub use error::{PolicyError, PolicyFilesError};

use crate::action::Action;
use crate::policy::{Policy, RuntimeChoice};
use crate::profile::{Ceiling, Profile};
use crate::rules::{RULES, Rule, RuleId};
use error::Place;
use inherit::Profiles;
use lists::{capability_names, clean_path, set_allow};
use quantity::Unit;
use shape::{File, Quantity, RuleTable};

/// The version of the file's format.
const VERSION: u32 = 1;

/// Seconds that a call of the runtime may be given. Clients of containerd go away after a few minutes at most.
const DEADLINES: RangeInclusive<u64> = 1..=600;

/// Reads the policy file, whose name is empty, and its drop-ins, each as (name, text).
pub(crate) fn read(files: &[(&str, &str)], library: Library) -> Result<Policy, PolicyFilesError> {
    let mut parsed = Vec::new();
    for (index, (name, text)) in files.iter().enumerate() {
        let source = Source { index, name, place: Place::of(text) };
        let file = parse(text, &source.place).map_err(|error| source.error(error))?;
        parsed.push((source, file));
    }
    let mut policy = Policy { library, ..Policy::builtin() };
    let mut set = Vec::new();
    for (source, file) in &parsed {
        set_once(&mut policy, file, &mut set, &source.place).map_err(|error| source.error(error))?;
        switch_on(&mut policy, file, &source.place).map_err(|error| source.error(error))?;
    }
    for profile in Profiles::of(&parsed, &policy.library)?.read()? {
        policy.profiles.retain(|known| known.name() != profile.name());
        policy.profiles.push(profile);
    }
    let mitigations = &policy.mitigations;
    for profile in &mut policy.profiles {
        let chosen = profile.settings.seccomp.clone();
        profile.settings.seccomp = chosen.mitigated(mitigations);
    }
    let known: Vec<String> = policy.profiles.iter().map(|profile| profile.name().to_owned()).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    for (source, file) in &parsed {
        set_default(&mut policy, file, &known, &source.place).map_err(|error| source.error(error))?;
    }
    for (source, file) in &parsed {
        add_entries(&mut policy, file, &known, source).map_err(|error| source.error(error))?;
    }
    check_selectors(&policy, &parsed)?;
    audit::check(&policy, &parsed)?;
    images::check(&policy, &parsed)?;
    Ok(policy)
}

/// A selector is held against those after it, so all of them have to be there.
fn check_selectors(policy: &Policy, files: &[(Source<'_>, File)]) -> Result<(), PolicyFilesError> {
    let tables = files.iter().flat_map(|(source, file)| file.select.iter().map(move |table| (source, table)));
    let mut later = policy.selectors.as_slice();
    for (source, table) in tables {
        let Some((selector, rest)) = later.split_first() else { break };
        later = rest;
        if entries::loosens_by_name(selector, later, policy) {
            let problem = "loosens by names that a pod's author chooses";
            let mend = "add namespace; \"*\" stands for all of them";
            return Err(source.error(source.place.wrong(table.span(), &selector.name, problem, mend)));
        }
    }
    Ok(())
}

/// One of the files.
struct Source<'a> {
    index: usize,
    name: &'a str,
    place: Place,
}

impl Source<'_> {
    fn error(&self, source: PolicyError) -> PolicyFilesError {
        PolicyFilesError { index: self.index, source }
    }

    /// How records call an entry of this file; the policy file itself has no name.
    fn entry(&self, kind: &str, at: usize) -> String {
        if self.name.is_empty() { format!("{kind}[{at}]") } else { format!("{} {kind}[{at}]", self.name) }
    }
}

fn parse(text: &str, place: &Place) -> Result<File, PolicyError> {
    let file: File = toml::from_str(text).map_err(|source| place.syntax(&source))?;
    if let Some(version) = file.version.as_ref().filter(|version| *version.get_ref() != VERSION) {
        let mend = format!("set version = {VERSION}");
        return Err(place.wrong(version.span(), "version", "is of another format", mend));
    }
    Ok(file)
}

/// Takes what can be there once. `set` holds the keys that an earlier file has set.
fn set_once(policy: &mut Policy, file: &File, set: &mut Vec<&'static str>, place: &Place) -> Result<(), PolicyError> {
    let mut once = |key: &'static str, span: Range<usize>| {
        if set.contains(&key) {
            return Err(place.wrong(span, key, "is set in an earlier file", "set it in one of them"));
        }
        set.push(key);
        Ok(())
    };
    if let Some(binary) = &file.runtime.binary {
        once("runtime.binary", binary.span())?;
        policy.runtime = RuntimeChoice::Binary(clean_path(binary, "runtime.binary", place)?);
    }
    if let Some(deadline) = &file.runtime.deadline {
        once("runtime.deadline", deadline.span())?;
        policy.runtime_deadline = runtime_deadline(deadline, place)?;
    }
    audit::set(policy, file, &mut once, place)?;
    images::set(policy, file, &mut once, place)?;
    if let Some(report) = &file.seccomp.report {
        once("seccomp.report", report.span())?;
        policy.seccomp.report = *report.get_ref();
    }
    if let Some(records) = &file.seccomp.records {
        once("seccomp.records", records.span())?;
        policy.seccomp.records = clean_path(records, "seccomp.records", place)?;
    }
    let node = &mut policy.node;
    for (list, key, slot) in [
        (&file.node.containerd_roots, "node.containerd_roots", &mut node.containerd_roots),
        (&file.node.kubelet_roots, "node.kubelet_roots", &mut node.kubelet_roots),
    ] {
        if let Some(list) = list {
            once(key, list.span())?;
            *slot = list.get_ref().iter().map(|path| clean_path(path, key, place)).collect::<Result<_, _>>()?;
        }
    }
    if let Some(selected) = &file.profile {
        once("profile", selected.span())?;
    }
    Ok(())
}

/// Takes the mitigations, which add up over the files.
fn switch_on(policy: &mut Policy, file: &File, place: &Place) -> Result<(), PolicyError> {
    for id in file.mitigations.iter().flat_map(Spanned::get_ref) {
        let wrong = |problem: &str, mend: String| place.wrong(id.span(), "mitigations", problem, mend);
        let broken = |error: ProfileError| wrong("names one that is broken", error.to_string());
        let found = policy.library.mitigation(id.get_ref()).map_err(broken)?;
        let unknown = || wrong("names no mitigation", format!("choose of {}", policy.library.mitigations().join(", ")));
        let found = found.ok_or_else(unknown)?;
        if !policy.mitigations.iter().any(|known| known.id() == found.id()) {
            policy.mitigations.push(found);
        }
    }
    Ok(())
}

fn runtime_deadline(deadline: &Spanned<Quantity>, place: &Place) -> Result<Duration, PolicyError> {
    match deadline.get_ref() {
        Quantity::Number(seconds) if DEADLINES.contains(seconds) => Ok(Duration::from_secs(*seconds)),
        _ => {
            let mend = format!("write seconds, {} to {}", DEADLINES.start(), DEADLINES.end());
            Err(place.wrong(deadline.span(), "runtime.deadline", "is not a time for a call", mend))
        }
    }
}

/// Takes the name of the default profile.
fn set_default(policy: &mut Policy, file: &File, known: &[&str], place: &Place) -> Result<(), PolicyError> {
    if let Some(selected) = &file.profile {
        if !known.contains(&selected.get_ref().as_str()) {
            let mend = format!("choose one of {}", known.join(", "));
            return Err(place.wrong(selected.span(), "profile", "names no profile", mend));
        }
        policy.selected.clone_from(selected.get_ref());
    }
    Ok(())
}

/// Takes what adds up. The default profile is known by now.
fn add_entries(policy: &mut Policy, file: &File, known: &[&str], source: &Source<'_>) -> Result<(), PolicyError> {
    let place = &source.place;
    for (at, table) in file.select.iter().enumerate() {
        policy.selectors.push(entries::selector(table, source.entry("select", at), known, place)?);
    }
    for (at, table) in file.exempt.iter().enumerate() {
        policy.exemptions.push(entries::exemption(table, source.entry("exempt", at), place)?);
    }
    Ok(())
}

fn set_rule(
    profile: &mut Profile,
    name: &Spanned<String>,
    table: &RuleTable,
    library: &Library,
    place: &Place,
) -> Result<(), PolicyError> {
    let key = format!("{}.rules.\"{}\"", place.key, name.get_ref());
    let Some(rule) = RuleId::named(name.get_ref()) else {
        return Err(place.wrong(name.span(), &key, "is no rule", closest(name.get_ref())));
    };
    for (setting, span) in table.present() {
        if !rule.settings.contains(&setting) {
            let known: Vec<&str> = std::iter::once("action").chain(rule.settings.iter().map(|s| s.key())).collect();
            let mend = format!("remove it; this rule takes {}", known.join(", "));
            return Err(place.wrong(span, &format!("{key}.{}", setting.key()), "does not belong to this rule", mend));
        }
    }
    if let Some(action) = &table.action {
        check_action(rule, *action.get_ref(), action.span(), &key, place)?;
        profile.set(rule.id, *action.get_ref());
    }
    set_values(profile, rule, table, library, &key, place)
}

fn check_action(rule: &Rule, action: Action, span: Range<usize>, key: &str, place: &Place) -> Result<(), PolicyError> {
    let key = format!("{key}.action");
    if rule.essential && action != Action::Deny {
        return Err(place.wrong(span, &key, "cannot be changed, this rule holds in every profile", "remove it"));
    }
    if action == Action::Mutate && !rule.mutable {
        let mend = "set deny, audit or off";
        return Err(place.wrong(span, &key, "is mutate, but there is no change that helps", mend));
    }
    Ok(())
}

fn set_values(
    profile: &mut Profile,
    rule: &Rule,
    table: &RuleTable,
    library: &Library,
    key: &str,
    place: &Place,
) -> Result<(), PolicyError> {
    let settings = &mut profile.settings;
    for (slot, id, name) in [(&mut settings.user.uid, &table.uid, "uid"), (&mut settings.user.gid, &table.gid, "gid")] {
        if let Some(id) = id {
            if *id.get_ref() == 0 || *id.get_ref() > i32::MAX as u32 {
                let mend = format!("choose a number from 1 to {}", i32::MAX);
                return Err(place.wrong(id.span(), &format!("{key}.{name}"), "is not an ordinary user", mend));
            }
            *slot = *id.get_ref();
        }
    }
    if let Some(names) = &table.capabilities {
        settings.capabilities = capability_names(names, key, place)?;
    }
    if let Some(name) = &table.profile {
        settings.seccomp = library.profile(name.get_ref()).map_err(|error| {
            let mend = format!("choose one of {}", error.known.join(", "));
            place.wrong(name.span(), &format!("{key}.profile"), "is no system call profile", mend)
        })?;
    }
    let ceiling = match rule.id.as_str() {
        "res.memory" => Some((&mut settings.memory, Unit::Bytes)),
        "res.cpu" => Some((&mut settings.cpu, Unit::MilliCpu)),
        "res.pids" => Some((&mut settings.pids, Unit::Count)),
        "mount.size" => Some((&mut settings.tmpfs, Unit::Bytes)),
        _ => None,
    };
    if let Some((ceiling, unit)) = ceiling {
        set_ceiling(ceiling, unit, table, key, place)?;
    }
    limits::set(settings, rule, table, key, place)?;
    images::set_rule(settings, rule, table, key, place)?;
    if let Some(allow) = &table.allow {
        set_allow(profile, rule, allow, key, place)?;
    }
    Ok(())
}

fn set_ceiling(
    ceiling: &mut Ceiling,
    unit: Unit,
    table: &RuleTable,
    key: &str,
    place: &Place,
) -> Result<(), PolicyError> {
    let read = |value: &Option<Spanned<shape::Quantity>>, name: &str| {
        value.as_ref().map(|value| quantity::read(value, unit, &format!("{key}.{name}"), place)).transpose()
    };
    let (default, max) = (read(&table.default, "default")?, read(&table.max, "max")?);
    ceiling.max = max.unwrap_or(ceiling.max);
    // A lower maximum alone takes the built-in default down with it.
    ceiling.default = default.unwrap_or_else(|| ceiling.default.min(ceiling.max));
    match &table.default {
        Some(default) if ceiling.default > ceiling.max => {
            let mend = "lower default, or raise max";
            Err(place.wrong(default.span(), &format!("{key}.default"), "is above max", mend))
        }
        _ => Ok(()),
    }
}

/// The rules that share the beginning of a mistyped name, or all sections.
fn closest(name: &str) -> String {
    let section = name.split(['.', '-']).next().unwrap_or_default();
    let near: Vec<&str> = RULES.iter().map(|rule| rule.id.as_str()).filter(|id| id.starts_with(section)).collect();
    if near.is_empty() || section.is_empty() {
        "see docs/policy.md for the rules".to_owned()
    } else {
        format!("known are {}", near.join(", "))
    }
}

#[cfg(test)]
mod tests;
