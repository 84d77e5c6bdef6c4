//! What is there now: containers with their cgroups, and the shims.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use palisade::bundle::PrivateDir;
use palisade::cgroup::{LimitHits, Pressure};
use palisade::runtime::{ContainerRecord, RECORD_NAME};
use palisade_policy::Grant;
use serde::{Deserialize, Serialize};

use super::families::{
    CONTAINERS, CREATE_SECONDS, MEMORY, MEMORY_HIGH, MEMORY_MAX, PIDS_REFUSED, PRESSURE, SHIM_MEMORY, SHIMS,
    THROTTLED_PERIODS, THROTTLED_SECONDS,
};
use super::series::Series;
use super::tally::as_float;
use crate::containers::{PRIVATE, bundles};
use crate::error::CliError;

/// The shim's file name, as its command line begins.
const SHIM: &[u8] = b"containerd-shim-palisade-v1";

/// What was counted of each container when it was last looked at.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Seen(BTreeMap<String, OfContainer>);

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct OfContainer {
    /// By the names of counters.
    counts: BTreeMap<String, u64>,
    /// It was not there at the last look. Its last record may still come.
    gone: bool,
    /// The time that it took to be made was told.
    #[serde(default)]
    made: bool,
}

impl Seen {
    /// Adds what has come since.
    pub(super) fn count(&mut self, id: &str, profile: &str, hits: &LimitHits, waited: &Pressure, series: &mut Series) {
        count(hits, waited, profile, &mut self.0.entry(id.to_owned()).or_default().counts, series);
    }

    /// Tells how long a container took to be made, once.
    pub(super) fn made(&mut self, id: &str, profile: &str, took: Duration, series: &mut Series) {
        if !std::mem::replace(&mut self.0.entry(id.to_owned()).or_default().made, true) {
            series.observe(CREATE_SECONDS, &[profile], took.as_secs_f64());
        }
    }

    /// Forgets those that were not there twice.
    fn forget(&mut self, present: &BTreeSet<String>) {
        self.0.retain(|id, of| {
            let was_gone = std::mem::replace(&mut of.gone, !present.contains(id));
            !(was_gone && of.gone)
        });
    }
}

/// Looks at everything and adds to the series; which containers there are.
pub(super) fn look(state: &Path, seen: &mut Seen, series: &mut Series) -> Result<BTreeSet<String>, CliError> {
    let mut containers: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let (mut all, mut present) = (BTreeSet::new(), BTreeSet::new());
    for (namespace, id, bundle) in bundles(state)? {
        all.insert(format!("{namespace}/{id}"));
        // One that is made or removed meanwhile.
        let Ok(dir) = PrivateDir::open(&bundle) else { continue };
        let Ok(grant) = dir.read_record::<Grant>("grant.json") else { continue };
        let profile = grant.profile().to_owned();
        let cgroup = dir.read_record::<ContainerRecord>(RECORD_NAME).ok().and_then(|record| record.cgroup());
        let memory = cgroup.as_ref().and_then(|cgroup| cgroup.memory_usage().ok()?.used).unwrap_or_default();
        let of_profile = containers.entry(profile.clone()).or_default();
        of_profile.0 += 1;
        of_profile.1 += memory;
        let hits = cgroup.as_ref().and_then(|cgroup| cgroup.limit_hits().ok());
        let waited = cgroup.as_ref().and_then(|cgroup| cgroup.pressure().ok());
        if let Some((hits, waited)) = hits.zip(waited) {
            let key = format!("{namespace}/{id}");
            seen.count(&key, &profile, &hits, &waited, series);
            if let Some(took) = time_of_create(&bundle.join(PRIVATE)) {
                seen.made(&key, &profile, took, series);
            }
            present.insert(key);
        }
    }
    seen.forget(&present);
    for family in [CONTAINERS, MEMORY] {
        series.0.remove(family);
    }
    for (profile, (number, memory)) in containers {
        series.set(CONTAINERS, &[&profile], as_float(number));
        series.set(MEMORY, &[&profile], as_float(memory));
    }
    let (shims, resident) = shims();
    series.set(SHIMS, &[], as_float(shims));
    series.set(SHIM_MEMORY, &[], as_float(resident));
    Ok(all)
}

/// From the admission, when the hardened specification was written, until what is known of the made container was.
fn time_of_create(private: &Path) -> Option<Duration> {
    let written = |name| fs::metadata(private.join(name)).and_then(|found| found.modified()).ok();
    written(RECORD_NAME)?.duration_since(written("config.json")?).ok()
}

fn count(hits: &LimitHits, waited: &Pressure, profile: &str, seen: &mut BTreeMap<String, u64>, series: &mut Series) {
    let micros = 1e6;
    let counters: [(&str, &[&str], Option<u64>, f64); 8] = [
        (PIDS_REFUSED, &[profile], Some(hits.pids_refused), 1.0),
        (MEMORY_MAX, &[profile], Some(hits.memory_max), 1.0),
        (MEMORY_HIGH, &[profile], Some(hits.memory_high), 1.0),
        (THROTTLED_PERIODS, &[profile], Some(hits.cpu_throttled_periods), 1.0),
        (THROTTLED_SECONDS, &[profile], Some(hits.cpu_throttled_us), micros),
        (PRESSURE, &[profile, "cpu"], waited.cpu_us, micros),
        (PRESSURE, &[profile, "memory"], waited.memory_us, micros),
        (PRESSURE, &[profile, "io"], waited.io_us, micros),
    ];
    for (family, labels, value, unit) in counters {
        let Some(value) = value else { continue };
        let key = [&[family], labels.get(1..).unwrap_or_default()].concat().join(" ");
        let before = seen.insert(key, value).unwrap_or_default();
        // A container of the same name has a new cgroup.
        let more = if value < before { value } else { value - before };
        series.add(family, labels, as_float(more) / unit);
    }
}

/// How many, and how many bytes of them are resident. What ends meanwhile is not counted.
fn shims() -> (u64, u64) {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let resident = processes.filter_map(|process| {
        let path = process.path();
        path.file_name()?.to_str()?.parse::<u32>().ok()?;
        let command = fs::read(path.join("cmdline")).ok()?;
        let mut words = command.split(|byte| *byte == 0);
        let program = words.next()?.rsplit(|byte| *byte == b'/').next()?;
        // The runtime is the same program, and says so in its next word.
        (program == SHIM && words.next() != Some(b"runtime")).then_some(())?;
        let pages: u64 = fs::read_to_string(path.join("statm")).ok()?.split(' ').nth(1)?.parse().ok()?;
        Some(pages * rustix::param::page_size() as u64)
    });
    resident.fold((0, 0), |(number, sum), bytes| (number + 1, sum + bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_create_is_that_between_two_files_and_told_once() {
        let dir = std::env::temp_dir().join(format!("palisade-monitor-made-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let begun = std::time::SystemTime::now() - Duration::from_secs(60);
        for (name, after) in [("config.json", 0), (RECORD_NAME, 24)] {
            let file = fs::File::create(dir.join(name)).unwrap();
            file.set_modified(begun + Duration::from_millis(after)).unwrap();
        }
        let took = time_of_create(&dir).unwrap();
        assert_eq!(took, Duration::from_millis(24));
        fs::remove_dir_all(dir).unwrap();
        let (mut seen, mut series) = (Seen::default(), Series::default());
        (0..2).for_each(|_| seen.made("n/c", "p", took, &mut series));
        let made = &series.0[CREATE_SECONDS].histograms[&vec!["p".to_owned()]];
        assert_eq!(made.counts.iter().sum::<u64>(), 1);
    }

    #[test]
    fn one_that_is_gone_is_remembered_until_its_last_record_was_read() {
        let (mut seen, mut series, nobody) = (Seen::default(), Series::default(), BTreeSet::new());
        let hits = LimitHits { pids_refused: 3, ..LimitHits::default() };
        seen.count("n/c", "p", &hits, &Pressure::default(), &mut series);
        seen.forget(&BTreeSet::from(["n/c".to_owned()]));
        seen.forget(&nobody);
        assert_eq!(seen.0.len(), 1);
        seen.forget(&nobody);
        assert!(seen.0.is_empty());
    }

    #[test]
    fn what_a_container_was_counted_is_added_once_and_a_new_one_begins_anew() {
        let (mut seen, mut series) = (BTreeMap::new(), Series::default());
        for micros in [1_000_000, 1_500_000, 1_500_000, 500_000] {
            let hits = LimitHits { cpu_throttled_us: micros, ..LimitHits::default() };
            let waited = Pressure { memory_us: Some(micros), ..Pressure::default() };
            count(&hits, &waited, "p", &mut seen, &mut series);
        }
        let value = |family: &str| series.0[family].values.values().next().copied().unwrap();
        assert!((value(THROTTLED_SECONDS) - 2.0).abs() < 1e-9);
        assert!((value(PRESSURE) - 2.0).abs() < 1e-9);
        assert_eq!(series.0[PRESSURE].values.len(), 1, "what the kernel does not count is not zero");
    }
}
