//! `secret.env`.

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
const MOST: usize = 32;

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
    let known: Vec<SecretVariable> = found.iter().flatten().take(MOST).cloned().collect();
    // The same secret as a part of another variable.
    for (entry, slot) in env.iter().zip(&mut found).filter(|(_, slot)| slot.is_none()) {
        let (name, value) = parts(entry);
        if !settings.lets_be_secret(name) && known.iter().any(|secret| secret.is_in(value)) {
            *slot =
                Some(SecretVariable { name: name.to_owned(), value: value.to_owned(), what: "another one's secret" });
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
    Some(SecretVariable { name: name.to_owned(), value: value.to_owned(), what })
}

/// Name and value; an entry without a name is all value.
fn parts(entry: &str) -> (&str, &str) {
    entry.split_once('=').unwrap_or(("", entry))
}

/// An environment is read by every process of the container and by whoever sees its /proc, and is written into logs and reports
/// of crashes; a file is read by those that need it. Under `mutate` a secret becomes a file, and `NAME_FILE` says where it is.
pub(super) fn judge(process: &mut ProcessDraft, scope: &ProcessScope<'_>, sheet: &mut Sheet) {
    let secrets = process.secrets.take().unwrap_or_else(|| secrets_of(&process.env, scope.settings));
    let given: &[String] = if let SecretPlace::Given(names) = scope.secrets { names } else { &[] };
    let mut moved: Vec<SecretVariable> = Vec::new();
    let mut dropped: Vec<String> = Vec::new();
    for (i, (entry, secret)) in process.env.iter().zip(secrets).enumerate() {
        let (name, value) = parts(entry);
        let is_given = given.iter().any(|given| given == name);
        let Some(secret) = secret.or_else(|| {
            is_given.then(|| SecretVariable {
                name: name.to_owned(),
                value: value.to_owned(),
                what: "what the container has as a file",
            })
        }) else {
            continue;
        };
        let found = Found::new(
            format!("/process/env/{i}"),
            name,
            format!("{} holds {}", if name.is_empty() { "a variable without a name" } else { name }, secret.what),
        );
        match (obstacle(name, &process.env, scope), scope.secrets) {
            (Some(obstacle), _) => sheet.refuses(found, format!("a file; {obstacle}")),
            (None, SecretPlace::Given(_)) if !is_given => {
                // Of a container that was made under another policy, which has no file of it.
                if sheet.mends(found, Value::Null) {
                    dropped.push(name.to_owned());
                }
            }
            (None, _) => {
                if sheet.mends(found, file_variable(name)) {
                    moved.push(secret);
                }
            }
        }
    }
    take_out(process, &moved, &dropped);
    if !matches!(scope.secrets, SecretPlace::Given(_)) {
        process.moved = files_of(&moved);
    }
}

/// Why a variable of a new container cannot become a file.
fn obstacle(name: &str, env: &[String], scope: &ProcessScope<'_>) -> Option<String> {
    let is_set = |wanted: &str| env.iter().any(|entry| parts(entry).0 == wanted);
    match scope.secrets {
        // What was decided at create is applied again.
        SecretPlace::Given(_) => None,
        SecretPlace::Taken(at) => Some(format!("something is mounted at {:?}", at.to_string_lossy())),
        SecretPlace::Free if !can_be_file(name) => Some("its name is no file's".to_owned()),
        SecretPlace::Free if is_set(&file_variable(name)) => Some(format!("{} is set as well", file_variable(name))),
        SecretPlace::Free => None,
    }
}

/// In the place of the first entry of a name stands its file. All entries of the name go.
fn take_out(process: &mut ProcessDraft, moved: &[SecretVariable], dropped: &[String]) {
    if moved.is_empty() && dropped.is_empty() {
        return;
    }
    let mut named: Vec<String> = Vec::new();
    let is_moved = |name: &str| moved.iter().any(|secret| secret.name == name);
    // An exec may bring the name of a file of its own.
    let files: Vec<String> = moved.iter().map(|secret| file_variable(&secret.name)).collect();
    let old = std::mem::take(&mut process.env);
    for entry in old {
        let (name, _) = parts(&entry);
        if is_moved(name) {
            if !named.iter().any(|known| known == name) {
                process.env.push(file_entry(name));
                named.push(name.to_owned());
            }
        } else if !dropped.iter().any(|other| other == name) && !files.iter().any(|file| file == name) {
            process.env.push(entry);
        }
    }
}

/// Of several values of a name the last one counts, as it does for runtimes.
fn files_of(moved: &[SecretVariable]) -> Vec<SecretFile> {
    let mut files: Vec<SecretFile> = Vec::new();
    for secret in moved {
        files.retain(|file| file.name() != secret.name);
        files.push(SecretFile::new(&secret.name, &secret.value));
    }
    files
}
