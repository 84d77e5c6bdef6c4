//! `palisade monitor`: what the shims of a node did, as metrics for Prometheus.
//!
//! Shims come and go with their pods, so none of them could be asked. The monitor reads the audit log from where it was, looks at the
//! containers that there are, and keeps its counters in a file: they outlive the shims and its own restart. Nothing of it is in the way of
//! a container, and nothing depends on it.

mod confine;
mod exposition;
mod families;
mod kept;
mod live;
mod series;
mod serve;
mod tally;

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use palisade::gate::PolicySource;
use palisade_policy::Day;
use sha2::{Digest as _, Sha256};

use crate::Verdict;
use crate::arguments::MonitorArguments;
use crate::doctor;
use crate::error::CliError;
use crate::log::{LogReader, path_of};
use crate::sync::Status;
use confine::{Places, directory_of};
use exposition::Format;
use families::{
    BUILD, DOCTOR, DOCTOR_TIME, EXEMPTION_END, MISSED, POLICY, POLICY_VALID, SYNC, SYNC_CURRENT, SYNC_SUCCESS,
    SYNC_TIME,
};
use kept::Kept;
pub(crate) use kept::replace;
use series::Series;
use serve::Listeners;

/// What was counted is kept so often at most, and at the end. One that is killed in between reads the same lines again.
const KEPT: Duration = Duration::from_secs(30);

/// Whoever asks more often gets what was gathered last: any local user can ask.
const FRESH: Duration = Duration::from_secs(1);

pub(crate) fn run(arguments: &MonitorArguments, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let mut monitor = Monitor::new(arguments)?;
    // It looks at files that the confinement hides, and asks programs for their versions.
    monitor.node = if arguments.no_doctor { None } else { Checked::now(arguments) };
    if arguments.once {
        confine(arguments, &monitor)?;
        monitor.go_on()?;
        out.extend_from_slice(monitor.text(Format::Prometheus)?.as_bytes());
        return Ok(Verdict::Fine);
    }
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    // What takes root, and what is open before anything is given up.
    let listeners = event_loop.block_on(async { Listeners::open(arguments) })?;
    let confined = confine(arguments, &monitor)?;
    monitor.go_on()?;
    tell(&format!("{listeners}; Landlock keeps it to its places {confined}"));
    event_loop.block_on(listeners.serve(monitor, arguments))?;
    Ok(Verdict::Fine)
}

/// On standard error. Whoever read that may have gone away, which is no reason to end.
fn tell(what: &str) {
    drop(writeln!(io::stderr(), "palisade monitor: {what}"));
}

fn confine(arguments: &MonitorArguments, monitor: &Monitor) -> Result<&'static str, CliError> {
    let kept = directory_of(&arguments.kept);
    own_directory(&kept, arguments.uid)?;
    let mut write = vec![kept];
    if let Some(textfile) = &arguments.textfile {
        let directory = directory_of(textfile);
        own_directory(&directory, arguments.uid)?;
        write.push(directory);
    }
    // The first shim makes it where there was none; what is not there when the monitor begins it could never read.
    log_directory(&directory_of(monitor.reader.log()))?;
    let sync = directory_of(&arguments.sync);
    sync_directory(&sync);
    let read = vec![
        directory_of(monitor.reader.log()),
        directory_of(monitor.policy.path()),
        sync,
        arguments.state.clone(),
        PathBuf::from("/proc"),
        PathBuf::from("/sys/fs/cgroup"),
    ];
    confine::give_up_root(arguments.uid)?;
    let confined = confine::keep_to(&Places { read, write })?;
    confine::filter_calls()?;
    Ok(confined)
}

/// As the first shim would make it.
fn log_directory(path: &Path) -> Result<(), CliError> {
    if path.is_dir() || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| CliError::Replace { path: path.to_owned(), source })
}

/// As the first synchronisation would make it. Where it can't be made none will come.
fn sync_directory(path: &Path) {
    if rustix::process::geteuid().is_root() {
        drop(DirBuilder::new().recursive(true).mode(0o755).create(path));
    }
}

/// Made by root for the user that the monitor becomes; one that is there and another's is left as it is.
fn own_directory(path: &Path, uid: u32) -> Result<(), CliError> {
    if path.is_dir() {
        return Ok(());
    }
    let make = || {
        fs::create_dir_all(path)?;
        if rustix::process::geteuid().is_root() {
            chown(path, Some(uid), Some(uid))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
    };
    make().map_err(|source| CliError::Replace { path: path.to_owned(), source })
}

/// What is measured, and of what.
struct Monitor {
    reader: LogReader,
    policy: PolicySource,
    state: PathBuf,
    sync: PathBuf,
    file: PathBuf,
    kept: Kept,
    gathered: Option<Instant>,
    /// Of the node, when the monitor started.
    node: Option<Checked>,
    kept_at: Option<Instant>,
    kept_digest: Option<[u8; 32]>,
}

/// What `palisade doctor` found.
struct Checked {
    results: Vec<doctor::Result>,
    at: SystemTime,
}

impl Checked {
    /// A node that can't be looked at is one without these metrics, and no reason not to count what containers do.
    fn now(arguments: &MonitorArguments) -> Option<Self> {
        let checked = doctor::of_this_node(&arguments.log.policy);
        let results = checked.inspect_err(|error| tell(&error.chain())).ok()?;
        Some(Self { results, at: SystemTime::now() })
    }

    fn show(&self, series: &mut Series) {
        for result in &self.results {
            let labels = [result.check.id, result.check.severity.word(), result.outcome().word()];
            series.set(DOCTOR, &labels, 1.0);
        }
        let at = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        series.set(DOCTOR_TIME, &[], tally::as_float(at.as_secs()));
    }
}

fn show_sync(status: &Status, series: &mut Series) {
    let outcome = &status.outcome;
    let name = |sha256: &Option<String>| sha256.clone().unwrap_or_else(|| "none".to_owned());
    series.set(SYNC, &[&name(&outcome.wanted), &name(&outcome.in_force)], 1.0);
    series.set(SYNC_CURRENT, &[], if outcome.error.is_none() { 1.0 } else { 0.0 });
    series.set(SYNC_TIME, &[], tally::as_float(status.looked));
    series.set(SYNC_SUCCESS, &[], tally::as_float(status.succeeded));
}

impl Monitor {
    fn new(arguments: &MonitorArguments) -> Result<Self, CliError> {
        let policy = match &arguments.log.policy.file {
            Some(path) => PolicySource::at(std::path::absolute(path)?),
            None => PolicySource::from_env(),
        };
        let kept = Kept::default();
        let reader = LogReader::new(path_of(&arguments.log)?, None);
        let (state, file, sync) = (arguments.state.clone(), arguments.kept.clone(), arguments.sync.clone());
        let (gathered, kept_at, kept_digest, node) = (None, None, None, None);
        Ok(Self { reader, policy, state, sync, file, kept, gathered, kept_at, kept_digest, node })
    }

    /// Goes on where it ended the last time. What is read for that its own user can write, so nothing is read before root was given up.
    fn go_on(&mut self) -> Result<(), CliError> {
        self.kept = Kept::read(&self.file)?;
        self.kept.tally.series.begin();
        self.reader = LogReader::new(self.reader.log().to_owned(), self.kept.position.clone());
        Ok(())
    }

    /// Everything as it is now, in a format.
    fn text(&mut self, format: Format) -> Result<String, CliError> {
        self.gather()?;
        Ok(format.text(&self.kept.tally.series))
    }

    /// Reads what has come, looks at what is there, and keeps what was counted.
    fn gather(&mut self) -> Result<(), CliError> {
        if self.gathered.is_some_and(|gathered| gathered.elapsed() < FRESH) {
            return Ok(());
        }
        let Kept { position, tally, seen, .. } = &mut self.kept;
        let missed = self.reader.missed();
        self.reader.read(|line| tally.take(line, seen))?;
        tally.series.add(MISSED, &[], tally::as_float(self.reader.missed() - missed));
        *position = self.reader.position().cloned();
        let present = live::look(&self.state, seen, &mut tally.series)?;
        // Without containerd's state, or that of another one, nobody can be said to have gone.
        if self.state.is_dir() {
            tally.forget(&present);
        }
        tally.series.set(BUILD, &[env!("CARGO_PKG_VERSION")], 1.0);
        for family in [POLICY, SYNC, SYNC_CURRENT, SYNC_TIME, SYNC_SUCCESS, EXEMPTION_END, DOCTOR, DOCTOR_TIME] {
            tally.series.0.remove(family);
        }
        if let Some(node) = &self.node {
            node.show(&mut tally.series);
        }
        if let Some(status) = Status::written(&self.sync) {
            show_sync(&status, &mut tally.series);
        }
        let policy = self.policy.load();
        tally.series.set(POLICY_VALID, &[], if policy.is_ok() { 1.0 } else { 0.0 });
        if let Ok(policy) = policy {
            tally.series.set(POLICY, &[policy.sha256(), policy.policy().profile()], 1.0);
            for exemption in policy.policy().exemptions() {
                let end = Day::from_iso(&exemption.expires).map_or(0, Day::unix_seconds);
                let labels = [exemption.rule.as_str(), &exemption.entry];
                tally.series.set(EXEMPTION_END, &labels, tally::as_float(end.unsigned_abs()));
            }
        }
        self.gathered = Some(Instant::now());
        if self.kept_at.is_some_and(|kept| kept.elapsed() < KEPT) { Ok(()) } else { self.keep() }
    }

    /// Keeps what was counted, if it is not what is kept already.
    fn keep(&mut self) -> Result<(), CliError> {
        let text = self.kept.text()?;
        let digest = <[u8; 32]>::from(Sha256::digest(&text));
        if self.kept_digest != Some(digest) {
            replace(&self.file, &text, 0o600)?;
            self.kept_digest = Some(digest);
        }
        self.kept_at = Some(Instant::now());
        Ok(())
    }
}
