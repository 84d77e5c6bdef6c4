//! The containers that palisade's shims hold, by their bundles.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use palisade::attest::{Finding, Summary, Verified, verify};
use palisade::bundle::PrivateDirError;
use palisade_policy::Grant;
use serde_json::{Value, json};

use crate::arguments::Places;
use crate::error::CliError;

/// containerd's runtime v2 plugin; bundles are below it as `<namespace>/<id>`.
const TASKS: &str = "io.containerd.runtime.v2.task";
/// The shim's own directory in a bundle.
pub(crate) const PRIVATE: &str = "palisade";

/// A container that was looked at.
pub(crate) struct Container {
    pub(crate) namespace: String,
    pub(crate) id: String,
    /// Or why nothing is known of it.
    pub(crate) verified: Result<Verified, Untold>,
}

/// Why nothing is known of a container.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Untold {
    #[error(transparent)]
    Unreadable(#[from] PrivateDirError),
    #[error("no answer within {LOOK:?}: a volume's file server may hang")]
    NoAnswer,
    #[error("there is no thread to look with")]
    NoThread(#[source] io::Error),
}

/// Longest look at one container.
const LOOK: Duration = Duration::from_secs(10);

/// The look, on a thread of its own: one that hangs in the kernel keeps no other container from being told of.
fn in_time<T: Send + 'static>(
    longest: Duration,
    look: impl FnOnce() -> Result<T, PrivateDirError> + Send + 'static,
) -> Result<T, Untold> {
    let (sender, seen) = mpsc::channel();
    // Whoever asked may have stopped waiting.
    thread::Builder::new().spawn(move || drop(sender.send(look()))).map_err(Untold::NoThread)?;
    seen.recv_timeout(longest).map_err(|_| Untold::NoAnswer)?.map_err(Untold::from)
}

/// Those whose ids begin like that, in the order of namespace and id. One that is removed meanwhile is left out.
pub(crate) fn look(places: &Places, beginning: &str) -> Result<Vec<Container>, CliError> {
    let tasks = places.state.join(TASKS);
    let mut found = Vec::new();
    for namespace in names(&tasks)? {
        if places.namespace.as_ref().is_some_and(|only| *only != namespace) {
            continue;
        }
        for id in names(&tasks.join(&namespace))?.into_iter().filter(|id| id.starts_with(beginning)) {
            found.extend(one(&tasks, &namespace, &id)?);
        }
    }
    Ok(found)
}

/// Every bundle of palisade's, as (namespace, id, directory).
pub(crate) fn bundles(state: &Path) -> Result<Vec<(String, String, PathBuf)>, CliError> {
    let tasks = state.join(TASKS);
    let mut found = Vec::new();
    for namespace in names(&tasks)? {
        for id in names(&tasks.join(&namespace))? {
            let bundle = tasks.join(&namespace).join(&id);
            if bundle.join(PRIVATE).is_dir() {
                found.push((namespace.clone(), id, bundle));
            }
        }
    }
    Ok(found)
}

fn one(tasks: &Path, namespace: &str, id: &str) -> Result<Option<Container>, CliError> {
    let bundle = tasks.join(namespace).join(id);
    // Another shim's.
    if !bundle.join(PRIVATE).join("grant.json").exists() {
        return Ok(None);
    }
    let looked_at = bundle.clone();
    match in_time(LOOK, move || verify(&looked_at)) {
        Err(_) if !bundle.exists() => Ok(None),
        // Others are told all the same.
        verified => Ok(Some(Container { namespace: namespace.into(), id: id.into(), verified })),
    }
}

fn names(directory: &PathBuf) -> Result<Vec<String>, CliError> {
    let failed = |source| CliError::Read { path: directory.clone(), source };
    let listing = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in listing {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

impl Container {
    /// In one word.
    pub(crate) fn verdict(&self) -> &'static str {
        match self.finding() {
            Some(Finding::Verified) => "verified",
            Some(Finding::Drift(_)) => "drift",
            Some(Finding::Creating) => "creating",
            Some(Finding::Ended) => "ended",
            Some(Finding::Unknown) => "unknown",
            None => "unreadable",
        }
    }

    pub(crate) fn finding(&self) -> Option<&Finding> {
        self.verified.as_ref().ok().map(|verified| &verified.finding)
    }

    /// What it is, in words.
    pub(crate) fn summary(&self) -> Option<Summary> {
        self.verified.as_ref().ok()?.seen.as_ref()?.summary()
    }

    /// Why nothing is known of it.
    pub(crate) fn error(&self) -> Option<String> {
        self.verified.as_ref().err().map(|error| palisade::log::chain(error))
    }

    /// Whether there is anything to object to.
    pub(crate) fn is_fine(&self) -> bool {
        matches!(self.finding(), Some(Finding::Verified | Finding::Creating | Finding::Ended))
    }

    pub(crate) fn json(&self) -> Value {
        let mismatches = match self.finding() {
            Some(Finding::Drift(found)) => json!(found),
            _ => json!([]),
        };
        let grant = self.verified.as_ref().ok().map(|verified| &verified.grant);
        json!({
            "container": self.id,
            "namespace": self.namespace,
            "identity": grant.map(Grant::identity),
            "profile": grant.map(Grant::profile),
            "verdict": self.verdict(),
            "mismatches": mismatches,
            "error": self.error(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_hangs_is_told_and_waited_for_no_longer() {
        let (_hanging, never) = mpsc::channel::<()>();
        let looked = in_time(Duration::from_millis(20), move || Ok(never.recv()));
        assert!(matches!(looked, Err(Untold::NoAnswer)), "{looked:?}");
        assert_eq!(in_time(LOOK, || Ok(1)).unwrap(), 1);
    }
}
