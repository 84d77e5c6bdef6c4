//! `secret.env`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::draft::ProcessDraft;
use crate::moved::{SecretFile, SecretPlace, can_be_file, file_entry, file_variable};
use crate::profile::Settings;
use crate::rules::ProcessScope;
use crate::secrets::secret_in_variable;
use crate::sheet::{Found, Sheet};

/// Shortest value that is looked for in other values: shorter ones stand in them by chance.
const TELLING: usize = 12;
/// How many values are looked for in the others.
pub(super) const MOST: usize = 32;
/// How many secrets of one environment are told one by one, and moved.
const MOST_FOUND: usize = 256;

/// A variable whose value is or holds a secret.
#[derive(Clone)]
pub(crate) struct SecretVariable {
    name: String,
    value: String,
    pub(super) what: &'static str,
}

impl fmt::Debug for SecretVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretVariable").field("name", &self.name).field("what", &self.what).finish_non_exhaustive()
    }
}

impl SecretVariable {
    fn new(name: &str, value: &str, what: &'static str) -> Self {
        Self { name: name.to_owned(), value: value.to_owned(), what }
    }

    /// Whether another text holds this secret as it is.
    pub(super) fn is_in(&self, text: &str) -> bool {
        self.value.len() >= TELLING && text.contains(&self.value)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// What of an environment is secret, entry by entry.
pub(super) fn secrets_of(env: &[String], settings: &Settings) -> Vec<Option<SecretVariable>> {
    let mut found: Vec<Option<SecretVariable>> = env.iter().map(|entry| secret_of(entry, settings)).collect();
    // Of several values of a name the last one counts: it is what a file holds, whatever it looks like.
    let last: BTreeMap<&str, &str> = env.iter().map(|entry| parts(entry)).collect();
    let held = |secret: &SecretVariable| {
        let value = last.get(secret.name()).copied().unwrap_or(&secret.value);
        [secret.clone(), SecretVariable::new(&secret.name, value, secret.what)]
    };
    let mut known: Vec<SecretVariable> = found.iter().flatten().take(MOST).flat_map(held).collect();
    // The same secret as a part of another variable, whose last value becomes one with it.
    let mut next = 0;
    while let Some(secret) = known.get(next).cloned() {
        next += 1;
        for (entry, slot) in env.iter().zip(&mut found).filter(|(_, slot)| slot.is_none()) {
            let (name, value) = parts(entry);
            if !settings.lets_be_secret(name) && secret.is_in(value) {
                let other = SecretVariable::new(name, value, "another one's secret");
                if known.len() < 2 * MOST {
                    known.extend(held(&other));
                }
                *slot = Some(other);
            }
        }
    }
    found
}

fn secret_of(entry: &str, settings: &Settings) -> Option<SecretVariable> {
    let (name, value) = parts(entry);
    if settings.lets_be_secret(name) {
        return None;
    }
    let what = secret_in_variable(name, value)?;
    Some(SecretVariable::new(name, value, what))
}

/// Name and value; an entry without a name is all value.
fn parts(entry: &str) -> (&str, &str) {
    entry.split_once('=').unwrap_or(("", entry))
}

/// An environment is read by every process of the container and by whoever sees its /proc, and is written into logs and reports
/// of crashes; a file is read by those that need it. Under `mutate` a secret becomes a file, and `NAME_FILE` says where it is.
pub(super) fn judge(process: &mut ProcessDraft, scope: &ProcessScope<'_>, sheet: &mut Sheet) {
    let secrets = process.secrets.take().unwrap_or_else(|| secrets_of(&process.env, scope.settings));
    let given: BTreeSet<&str> = match scope.secrets {
        SecretPlace::Given(names) => names.iter().map(String::as_str).collect(),
        SecretPlace::Free | SecretPlace::Taken(_) => BTreeSet::new(),
    };
    // Of several values of a name the last one counts, as it does for runtimes.
    let names: BTreeMap<&str, &str> = process.env.iter().map(|entry| parts(entry)).collect();
    let mut changes = Changes::default();
    let mut found = 0_usize;
    for (i, (entry, secret)) in process.env.iter().zip(secrets).enumerate() {
        let (name, value) = parts(entry);
        let is_given = given.contains(name);
        let as_given = || is_given.then(|| SecretVariable::new(name, value, "what the container has as a file"));
        let Some(secret) = secret.or_else(as_given) else { continue };
        found += 1;
        if found > MOST_FOUND {
            let found = Found::new("/process/env", Value::Null, "more variables with secrets than are moved");
            sheet.refuses(found, format!("{MOST_FOUND} variables with secrets"));
            break;
        }
        let shown = if name.is_empty() { "a variable without a name" } else { name };
        let found = Found::new(format!("/process/env/{i}"), name, format!("{shown} holds {}", secret.what));
        match (obstacle(name, &names, scope), scope.secrets) {
            (Some(obstacle), _) => sheet.refuses(found, format!("a file; {obstacle}")),
            (None, SecretPlace::Given(_)) if !is_given => {
                // Of a container that was made under another policy, which has no file of it.
                if sheet.mends(found, Value::Null) {
                    changes.dropped.insert(name.to_owned());
                }
            }
            (None, _) => {
                if sheet.mends(found, file_variable(name)) {
                    let value = names.get(name).copied().unwrap_or(value);
                    changes.moved.insert(name.to_owned(), SecretVariable::new(name, value, secret.what));
                }
            }
        }
    }
    changes.make(process);
    if !matches!(scope.secrets, SecretPlace::Given(_)) {
        process.moved = changes.moved.values().map(|secret| SecretFile::new(&secret.name, &secret.value)).collect();
    }
}

/// Why a variable of a new container cannot become a file.
fn obstacle(name: &str, names: &BTreeMap<&str, &str>, scope: &ProcessScope<'_>) -> Option<String> {
    match scope.secrets {
        // What was decided at create is applied again.
        SecretPlace::Given(_) => None,
        SecretPlace::Taken(at) => Some(format!("something is mounted at {:?}", at.to_string_lossy())),
        SecretPlace::Free if !can_be_file(name) => Some("its name is no file's".to_owned()),
        SecretPlace::Free if names.contains_key(file_variable(name).as_str()) => {
            Some(format!("{} is set as well", file_variable(name)))
        }
        SecretPlace::Free => None,
    }
}

/// What becomes of an environment.
#[derive(Default)]
struct Changes {
    moved: BTreeMap<String, SecretVariable>,
    dropped: BTreeSet<String>,
}

impl Changes {
    /// In the place of the first entry of a name stands its file. All entries of the name go.
    fn make(&self, process: &mut ProcessDraft) {
        if self.moved.is_empty() && self.dropped.is_empty() {
            return;
        }
        // An exec may bring the name of a file of its own.
        let files: BTreeSet<String> = self.moved.keys().map(|name| file_variable(name)).collect();
        let mut named: BTreeSet<String> = BTreeSet::new();
        for entry in std::mem::take(&mut process.env) {
            let (name, _) = parts(&entry);
            if self.moved.contains_key(name) {
                if named.insert(name.to_owned()) {
                    process.env.push(file_entry(name));
                }
            } else if !self.dropped.contains(name) && !files.contains(name) {
                process.env.push(entry);
            }
        }
    }
}
