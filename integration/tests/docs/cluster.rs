//! Commands that need a cluster: they are not run, but what they name is there.

use std::path::Path;

use libtest_mimic::Failed;

/// Programs that such a command may begin with.
const PROGRAMS: &[&str] = &["kubectl", "kustomize", "helm", "kind", "docker", "k3s", "cd", "palisade", "rm"];
/// Folders of this repository.
const FOLDERS: &[&str] = &["deploy/", "docs/", "scripts/", "./"];

pub(crate) fn names_what_is_there(command: &str, root: &Path) -> Result<(), Failed> {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    if !PROGRAMS.contains(&program) {
        return Err(format!("{program} is no program of a cluster's: run it").into());
    }
    let missing: Vec<&str> = words
        .take_while(|word| *word != "#")
        .map(|word| word.rsplit_once('=').map_or(word, |(_, value)| value))
        .filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)) && !root.join(word).exists())
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not there: {missing:?}").into()) }
}
