//! The result as Markdown, for `docs/benchmarks.md`.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use palisade_integration::{Containerd, Runtime};

use crate::memory::{Memory, Shim};
use crate::steps::{STEPS, Times};

/// One of a shim's sizes.
type Kind = fn(&Shim) -> u64;

/// Two tables and what they were measured on.
pub(crate) fn markdown(containerd: &Containerd, rounds: u32, times: &[Times], memory: &[Memory]) -> String {
    let mut text = conditions(containerd, rounds);
    text.push_str("\n| ms, median (95th percentile) | runc shim with runc | palisade, embedded runtime | palisade / runc |\n|---|--:|--:|--:|\n");
    for (index, step) in STEPS.iter().enumerate() {
        let of = |side: Runtime| -> Vec<f64> {
            let lives = times.iter().filter(|times| times.side == side).flat_map(|times| &times.lives);
            sorted(lives.filter_map(|life| life.get(index)).map(Duration::as_secs_f64).map(|seconds| seconds * 1000.0))
        };
        let (runc, palisade) = (of(Runtime::Runc), of(Runtime::Palisade));
        let cell = |values: &[f64]| format!("{:.1} ({:.1})", quantile(values, 0.5), quantile(values, 0.95));
        row(&mut text, step, &cell(&runc), &cell(&palisade), quantile(&palisade, 0.5) / quantile(&runc, 0.5));
    }
    text.push_str("\n| MiB of a shim with one container, median of five | runc shim | palisade | palisade / runc |\n|---|--:|--:|--:|\n");
    let kinds: [(&str, Kind); 3] =
        [("PSS", |shim| shim.pss), ("RSS", |shim| shim.rss), ("anonymous", |shim| shim.anonymous)];
    for (name, kind) in kinds {
        let of = |side: Runtime| {
            let shims = memory.iter().filter(|memory| memory.side == side).flat_map(|memory| &memory.shims);
            quantile(&sorted(shims.map(kind).map(mebibytes)), 0.5)
        };
        let (runc, palisade) = (of(Runtime::Runc), of(Runtime::Palisade));
        row(&mut text, name, &format!("{runc:.2}"), &format!("{palisade:.2}"), palisade / runc);
    }
    text
}

fn conditions(containerd: &Containerd, rounds: u32) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let version = containerd.ctr(&["version"]).map(|version| version.stdout).unwrap_or_default();
    let version = version
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Version:"))
        .next_back()
        .unwrap_or_default()
        .trim()
        .to_owned();
    let size = fs::metadata(&containerd.assets().shim).map_or(0, |file| file.len());
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!(
        "containerd {version}, Linux {}, {processors} CPUs, load average at the end {}; {rounds} rounds, interleaved. The shim's binary has {:.1} MiB.\n",
        read("/proc/sys/kernel/osrelease"),
        read("/proc/loadavg"),
        mebibytes(size / 1024),
    )
}

fn row(text: &mut String, name: &str, runc: &str, palisade: &str, ratio: f64) {
    // Writing to a String cannot fail.
    writeln!(text, "| {name} | {runc} | {palisade} | {ratio:.2} |").ok();
}

#[allow(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
pub(crate) fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}

pub(crate) fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value below which that part of the sorted values lies; not a number where there are none.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index of a short list"
)]
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let index = (values.len().saturating_sub(1) as f64 * part).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_sorted_values() {
        let values = sorted([5.0, 1.0, 3.0, 2.0, 4.0].into_iter());
        assert!((quantile(&values, 0.5) - 3.0).abs() < f64::EPSILON);
        assert!((quantile(&values, 0.95) - 5.0).abs() < f64::EPSILON);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
