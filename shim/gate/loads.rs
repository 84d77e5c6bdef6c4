//! Which policy is in force, on record.

use std::sync::{Mutex, PoisonError};

use palisade_policy::AuditSettings;
use serde::Serialize;

use super::source::{LoadedPolicy, PolicyFileError};
use crate::audit;

/// What this shim last put on record.
#[derive(Debug, Default)]
pub(super) struct Loads(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    /// Of the last policy that could be read, and where its records go.
    good: Option<(String, AuditSettings)>,
    /// The last attempt failed.
    failed: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    policy_sha256: &'a str,
    /// The profile of containers that no selector covers.
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Loads {
    /// Records a policy that is another one than before, or can't be read any more. While none could be read nobody knows where
    /// records go. A record that can't be written holds up nothing, and waits.
    pub(super) fn note(&self, loaded: &Result<LoadedPolicy, PolicyFileError>) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Last { good, failed } = &mut *last;
        match (loaded, &*good) {
            (Ok(policy), Some((sha256, _))) if !*failed && sha256 == policy.sha256() => return,
            (Ok(policy), _) => {
                let told =
                    Told { policy_sha256: policy.sha256(), profile: Some(policy.policy().profile()), error: None };
                put(policy.policy().audit(), &told);
                *good = Some((policy.sha256().to_owned(), policy.policy().audit().clone()));
            }
            (Err(error), Some((sha256, settings))) if !*failed => {
                let told = Told { policy_sha256: sha256, profile: None, error: Some(crate::log::chain(error)) };
                put(settings, &told);
            }
            (Err(_), _) => {}
        }
        *failed = loaded.is_err();
    }
}

fn put(settings: &AuditSettings, told: &Told<'_>) {
    if let Err(error) = audit::tell_own(settings, "policy_load", told) {
        crate::warn!("{}", crate::log::chain(&error));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::source::PolicySource;
    use super::*;

    #[test]
    fn each_policy_is_told_of_once_and_one_that_is_wrong_too() {
        let dir = std::env::temp_dir().join(format!("palisade-loads-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        let (file, log) = (dir.join("policy.toml"), dir.join("audit.jsonl"));
        let (source, loads) = (PolicySource::at(file.clone()), Loads::default());
        let load = |text: &str| {
            fs::write(&file, format!("{text}\n[audit]\npath = {log:?}\n")).unwrap();
            (0..2).for_each(|_| loads.note(&source.load()));
        };
        load("profile = 'baseline'");
        load("profile = 'wrong'");
        load("profile = 'baseline'");
        load("profile = 'restricted'");
        let lines = fs::read_to_string(&log).unwrap();
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told: Vec<_> = lines.iter().map(|line| (line["profile"].as_str(), line["error"].is_string())).collect();
        assert_eq!(
            told,
            [(Some("baseline"), false), (None, true), (Some("baseline"), false), (Some("restricted"), false)]
        );
        assert!(lines.iter().all(|line| line["event"] == "policy_load"));
        fs::remove_dir_all(dir).unwrap();
    }
}
