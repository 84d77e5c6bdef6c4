//! The files of a set: what a ConfigMap holds under flat keys, at the places where the shim reads them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use palisade::gate::{DROP_INS, MITIGATIONS, POLICY, PROFILES};
use sha2::{Digest as _, Sha256};

use crate::error::CliError;

/// Link in a mounted ConfigMap that the kubelet exchanges.
const DATA: &str = "..data";
/// How often one that is exchanged while it is read is read anew.
const ATTEMPTS: usize = 8;
/// Most bytes of a file, as of a policy; a ConfigMap has no more in all.
const MOST_BYTES: u64 = 1 << 20;
/// Most files.
const MOST_FILES: usize = 256;

/// By their places in the set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Files(BTreeMap<String, String>);

impl Files {
    /// What the directory of a mounted ConfigMap holds, of one version.
    pub(super) fn wanted(from: &Path) -> Result<Self, CliError> {
        for _ in 0..ATTEMPTS {
            let version = version(from)?;
            let files = Self::keys(&version);
            // An error may come from the version's being removed.
            if self::version(from)? == version {
                return files;
            }
        }
        Err(CliError::Read { path: from.to_owned(), source: std::io::ErrorKind::Interrupted.into() })
    }

    fn keys(dir: &Path) -> Result<Self, CliError> {
        let mut files = BTreeMap::new();
        for entry in list(dir)? {
            let key = name_of(&entry);
            let place = place(&key).ok_or_else(|| CliError::SyncKey { key: key.clone() })?;
            files.insert(place, text(&entry)?);
        }
        bounded(dir, files)
    }

    /// The files of a set that was laid.
    pub(super) fn laid(set: &Path) -> Result<Self, CliError> {
        let mut files = BTreeMap::new();
        for entry in list(set)? {
            let name = name_of(&entry);
            if !entry.is_dir() {
                files.insert(name, text(&entry)?);
                continue;
            }
            for file in list(&entry)? {
                files.insert(format!("{name}/{}", name_of(&file)), text(&file)?);
            }
        }
        bounded(set, files)
    }

    /// Each place with its text.
    pub(super) fn each(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(place, text)| (place.as_str(), text.as_str()))
    }

    /// SHA-256 of the lines that sha256sum(1) prints for the places in the order of their names; of nothing it is that of no line.
    pub(super) fn sha256(&self) -> String {
        let line = |(place, text): (&str, &str)| format!("{}  {place}\n", hex(text));
        hex(&self.each().map(line).collect::<String>())
    }
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key's place: its first dot stands for `.d/`, but in `policy.toml`.
fn place(key: &str) -> Option<String> {
    if key == POLICY {
        return Some(key.to_owned());
    }
    let (directory, name) = key.split_once('.')?;
    let (directory, extension) = match directory {
        "policy" => (DROP_INS, ".toml"),
        "seccomp" => (PROFILES, ".json"),
        "mitigations" => (MITIGATIONS, ".json"),
        _ => return None,
    };
    let stem = name.strip_suffix(extension)?;
    let plain = !stem.is_empty() && !stem.starts_with('.') && !stem.contains('/');
    plain.then(|| format!("{directory}/{name}"))
}

/// Where the files of the version are that is mounted now; in a directory of another kind, itself.
fn version(from: &Path) -> Result<PathBuf, CliError> {
    match fs::canonicalize(from.join(DATA)) {
        Ok(version) => Ok(version),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(from.to_owned()),
        Err(source) => Err(CliError::Read { path: from.to_owned(), source }),
    }
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let unreadable = |source| CliError::Read { path: dir.to_owned(), source };
    let entries = fs::read_dir(dir).map_err(unreadable)?;
    let paths = entries.take(MOST_FILES + 1).map(|entry| Ok(entry.map_err(unreadable)?.path()));
    paths.collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn text(path: &Path) -> Result<String, CliError> {
    let read = || {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        let mut text = String::new();
        file.take(MOST_BYTES + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    if text.len() as u64 > MOST_BYTES { Err(CliError::SyncSize { path: path.to_owned() }) } else { Ok(text) }
}

fn bounded(dir: &Path, files: BTreeMap<String, String>) -> Result<Files, CliError> {
    if files.len() > MOST_FILES { Err(CliError::SyncSize { path: dir.to_owned() }) } else { Ok(Files(files)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_dot_of_a_key_stands_for_a_directory() {
        for (key, wanted) in [
            ("policy.toml", Some("policy.toml")),
            ("policy.10-team.toml", Some("policy.d/10-team.toml")),
            ("seccomp.web.json", Some("seccomp.d/web.json")),
            ("mitigations.mine.json", Some("mitigations.d/mine.json")),
            ("policy.a.b.toml", Some("policy.d/a.b.toml")),
            ("policy..toml", None),
            ("policy..hidden.toml", None),
            ("policy.json", None),
            ("policy.x.json", None),
            ("seccomp.x.toml", None),
            ("seccomp.json", None),
            ("policy.", None),
            ("README", None),
            ("toml", None),
        ] {
            assert_eq!(place(key).as_deref(), wanted, "{key}");
        }
    }
}
