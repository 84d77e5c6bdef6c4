//! `palisade check`.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use palisade::gate::{facts_of, today};
use palisade_policy::{
    CreateRequest, Denial, HostFacts, ImageAnswer, ParsedSpec, Policy, Record, TaskFacts, judge_create,
    judge_unreadable,
};

use crate::Verdict;
use crate::arguments::{CheckArguments, CheckFormat};
use crate::error::CliError;
use crate::{kubernetes, policy, report};

/// What became of one specification.
pub(crate) struct Checked {
    /// Where it was read.
    pub(crate) path: PathBuf,
    pub(crate) record: Record,
    pub(crate) denial: Option<Denial>,
}

pub(crate) fn run(arguments: &CheckArguments, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let loaded = policy::load(&arguments.policy)?;
    let mut policy = loaded.policy().clone();
    if let Some(name) = &arguments.profile {
        policy = policy.with_profile(name).ok_or_else(|| {
            let known = policy.profiles().into_iter().map(|profile| profile.name).collect::<Vec<_>>().join(", ");
            CliError::NoProfile { name: name.clone(), known }
        })?;
    }
    if arguments.kubernetes.kubernetes {
        return kubernetes::run(arguments, &policy, out);
    }
    let mut checked = Vec::new();
    for path in &arguments.paths {
        for (path, bytes) in documents(path)? {
            checked.push(judge(path, &bytes, &policy, arguments.offline)?);
        }
    }
    match arguments.format {
        CheckFormat::Text => report::text(&checked, out)?,
        CheckFormat::Json => report::json(&checked, out)?,
        CheckFormat::Sarif => report::sarif(&checked, out)?,
    }
    let refused = checked.iter().any(|one| one.denial.is_some());
    Ok(if refused { Verdict::Objections } else { Verdict::Fine })
}

/// The specifications that a path stands for.
fn documents(path: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, CliError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CliError::Read { path, source }
    };
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map_err(failed(path))?;
        return Ok(vec![(path.to_owned(), bytes)]);
    }
    if !fs::metadata(path).map_err(failed(path))?.is_dir() {
        return Ok(vec![(path.to_owned(), fs::read(path).map_err(failed(path))?)]);
    }
    let own = path.join("config.json");
    if own.is_file() {
        let bytes = fs::read(&own).map_err(failed(&own))?;
        return Ok(vec![(own, bytes)]);
    }
    let entries = fs::read_dir(path).map_err(failed(path))?;
    let mut files: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path().join("config.json")).collect();
    files.retain(|file| file.is_file());
    files.sort();
    if files.is_empty() {
        return Err(CliError::NoBundle { path: path.to_owned() });
    }
    let read = |file: PathBuf| fs::read(&file).map_err(failed(&file)).map(|bytes| (file, bytes));
    files.into_iter().map(read).collect()
}

/// Judges as a create would, with the host's facts as they are here. Streams, layers and options are those of a
/// request that has nothing wrong with it.
fn judge(path: PathBuf, bytes: &[u8], policy: &Policy, offline: bool) -> Result<Checked, CliError> {
    let spec = match ParsedSpec::parse(bytes) {
        Ok(spec) => spec,
        Err(error) => {
            let decision = judge_unreadable(&error, policy);
            return Ok(Checked { path, denial: decision.outcome.denial().cloned(), record: decision.record });
        }
    };
    let host = if offline { HostFacts::by_name(&spec, policy) } else { facts_of(&spec, policy)? };
    let cgroup = spec.cgroups_path().to_string_lossy().into_owned();
    let id = cgroup.rsplit(['/', ':']).next().filter(|id| !id.is_empty()).unwrap_or("check").to_owned();
    let bundle = path.parent().filter(|bundle| !bundle.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let pod = [spec.identity()];
    // A specification alone does not show in which pod it would be made.
    let task = TaskFacts::plain(&id, bundle, &pod);
    let decision =
        judge_create(CreateRequest { spec, host, task, today: today(), image: ImageAnswer::Offline }, policy);
    Ok(Checked { path, denial: decision.outcome.denial().cloned(), record: decision.record })
}
