//! What a shim takes of the machine, and whether that stays the same.

use std::fs;

use crate::Failure;

/// A process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// KiB of proportional set size: what is shared is counted in parts.
    pub pss: u64,
    /// KiB of resident set size.
    pub rss: u64,
    /// KiB that are private and not a file's.
    pub anonymous: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// One of a footprint's numbers, with its name and how much more of it is no growth: of memory, what an allocator rounds up to.
type Measure = (&'static str, fn(&Footprint) -> u64, fn(u64) -> u64);

const MEASURES: [Measure; 4] = [
    ("KiB of anonymous memory", |one| one.anonymous, |first| (first / 10).max(128)),
    ("KiB of resident memory", |one| one.rss, |first| (first / 10).max(256)),
    ("descriptors", |one| one.descriptors, |_| 0),
    ("threads", |one| one.threads, |_| 0),
];

impl Footprint {
    /// Looks at a process.
    ///
    /// # Errors
    /// It is gone.
    pub fn of(pid: u32) -> Result<Self, Failure> {
        let rollup = format!("/proc/{pid}/smaps_rollup");
        let folder = format!("/proc/{pid}/fd");
        let descriptors = fs::read_dir(&folder).map_err(Failure::io("list", folder.as_ref()))?.count();
        Ok(Self {
            pss: field(&rollup, "Pss:")?,
            rss: field(&rollup, "Rss:")?,
            anonymous: field(&rollup, "Anonymous:")?,
            descriptors: u64::try_from(descriptors).unwrap_or(u64::MAX),
            threads: field(&format!("/proc/{pid}/status"), "Threads:")?,
        })
    }

    /// The shim of an init process, which is its child.
    ///
    /// # Errors
    /// The process is gone.
    pub fn shim_of(init: u32) -> Result<u32, Failure> {
        let parent = field(&format!("/proc/{init}/status"), "PPid:")?;
        u32::try_from(parent).map_err(|error| Failure::unreadable("a parent's pid", &error))
    }
}

fn field(path: &str, name: &str) -> Result<u64, Failure> {
    let text = fs::read_to_string(path).map_err(Failure::io("read", path.as_ref()))?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| Failure::unreadable(path, &format!("no {name}")))
}

/// The median of each number over some footprints; zeros of none.
#[must_use]
pub fn median(footprints: &[Footprint]) -> Footprint {
    let of = |measure: fn(&Footprint) -> u64| {
        let mut values: Vec<u64> = footprints.iter().map(measure).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    };
    Footprint {
        pss: of(|one| one.pss),
        rss: of(|one| one.rss),
        anonymous: of(|one| one.anonymous),
        descriptors: of(|one| one.descriptors),
        threads: of(|one| one.threads),
    }
}

/// The medians of the first and of the last quarter of a series.
#[must_use]
pub fn quarters(series: &[Footprint]) -> [Footprint; 2] {
    let quarter = series.len().div_ceil(4);
    let (first, last) = (series.get(..quarter), series.get(series.len().saturating_sub(quarter)..));
    [first, last].map(|part| median(part.unwrap_or_default()))
}

/// Fails unless the last quarter of a series takes no more than the first.
///
/// # Errors
/// What has grown.
pub fn expect_flat(what: &str, series: &[Footprint]) -> Result<(), Failure> {
    let [first, last] = quarters(series);
    let grown: Vec<String> = MEASURES
        .iter()
        .filter(|(_, of, allowed)| of(&last) > of(&first) + allowed(of(&first)))
        .map(|(name, of, _)| format!("{name}: {} at first, {} at last", of(&first), of(&last)))
        .collect();
    if grown.is_empty() { Ok(()) } else { Err(Failure::unreadable(what, &grown.join("; "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(anonymous: u64, descriptors: u64) -> Footprint {
        Footprint { pss: 2000, rss: 6000, anonymous, descriptors, threads: 1 }
    }

    #[test]
    fn a_leak_is_found_and_a_peak_is_none() {
        let flat =
            [at(1000, 9), at(1050, 12), at(1020, 9), at(1010, 9), at(1000, 9), at(1100, 9), at(1000, 9), at(1080, 9)];
        assert!(expect_flat("flat", &flat).is_ok());
        let leaks: Vec<Footprint> = (0..100).map(|turn| at(1000 + 4 * turn, 9)).collect();
        assert!(expect_flat("memory", &leaks).is_err());
        let leaks: Vec<Footprint> = (0..100).map(|turn| at(1000, 9 + turn / 50)).collect();
        assert!(expect_flat("descriptors", &leaks).is_err());
    }

    #[test]
    fn this_process_has_a_footprint() {
        let own = Footprint::of(std::process::id()).unwrap();
        assert!(own.rss > 0 && own.descriptors >= 3 && own.threads >= 1, "{own:?}");
    }
}
