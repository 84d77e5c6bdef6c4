//! `palisade learn`.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxSeccomp;
use palisade::watch::{CallRecord, RECORD_VERSION};
use palisade_seccomp::Seen;

use crate::Verdict;
use crate::arguments::{LearnCommand, Records};
use crate::error::CliError;
use crate::policy;
use crate::report::plain;

pub(crate) fn run(command: &LearnCommand, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    match command {
        LearnCommand::List { records } => list(&directory(records)?, out)?,
        LearnCommand::Show { of, records } => show(&Found::of(&directory(records)?, of)?, out)?,
        LearnCommand::Write { of, records } => {
            let found = Found::of(&directory(records)?, of)?;
            out.extend_from_slice(found.seen.profile(&found.comment(of), &found.in_force)?.as_bytes());
        }
    }
    Ok(Verdict::Fine)
}

fn directory(records: &Records) -> Result<PathBuf, CliError> {
    match &records.records {
        Some(directory) => Ok(directory.clone()),
        None => Ok(policy::load(&records.policy)?.policy().call_records().to_owned()),
    }
}

fn list(directory: &Path, out: &mut Vec<u8>) -> Result<(), CliError> {
    for record in read_all(directory)? {
        let CallRecord { namespace, container, identity, profile, seen, .. } = &record;
        let pod = format!("{}/{}/{}", identity.pod_namespace, identity.pod_name, identity.container_name);
        let (image, calls) = (&identity.image_name, seen.calls().count());
        writeln!(out, "{}", plain(&format!("{namespace} {container} {pod} {image} profile {profile}, {calls} calls")))?;
    }
    Ok(())
}

fn show(found: &Found, out: &mut Vec<u8>) -> Result<(), CliError> {
    for (name, values) in found.seen.calls() {
        let values = match values.listed() {
            Some(values) => values.iter().map(|value| format!(" {value:#x}")).collect(),
            None => " any".to_owned(),
        };
        writeln!(out, "{}", plain(&format!("{name}{values}")))?;
    }
    Ok(())
}

/// What records of one container or image say together.
struct Found {
    seen: Seen,
    containers: usize,
    in_force: Vec<LinuxSeccomp>,
}

impl Found {
    fn of(directory: &Path, wanted: &str) -> Result<Self, CliError> {
        let mut found = Self { seen: Seen::default(), containers: 0, in_force: Vec::new() };
        let is_it = |record: &CallRecord| record.container.starts_with(wanted) || record.identity.image_name == wanted;
        for record in read_all(directory)?.into_iter().filter(is_it) {
            found.seen.merge(record.seen);
            found.containers += 1;
            found.in_force.extend(record.seccomp.filter(|profile| !found.in_force.contains(profile)));
        }
        if found.containers == 0 {
            return Err(CliError::NoCalls { what: wanted.to_owned(), directory: directory.into() });
        }
        Ok(found)
    }

    fn comment(&self, of: &str) -> String {
        format!("What {of} was seen to call, from {} container(s).", self.containers)
    }
}

/// The records of a directory; none where there is no directory.
fn read_all(directory: &Path) -> Result<Vec<CallRecord>, CliError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CliError::Read { path, source }
    };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed(directory))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed(directory))?.path());
    }
    // What a shim is about to write begins with a dot.
    let hidden = |path: &PathBuf| path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    paths.retain(|path| !hidden(path));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<CallRecord, CliError> {
    let bytes = fs::read(path).map_err(|source| CliError::Read { path: path.into(), source })?;
    let record: CallRecord =
        serde_json::from_slice(&bytes).map_err(|source| CliError::Json { path: path.into(), source })?;
    if record.version == RECORD_VERSION { Ok(record) } else { Err(CliError::OtherVersion { path: path.into() }) }
}
