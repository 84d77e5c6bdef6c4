//! The figures as Markdown, for `docs/benchmarks.md`.

use std::fmt::Write as _;

use palisade_integration::Runtime;
use palisade_integration::footprint::{Footprint, median, quarters};

use crate::Side;

/// A table of the shims' footprints in the first and last quarter, and one of the pods.
pub(crate) fn markdown(sides: &[Side]) -> String {
    let mut text = String::from(
        "| first quarter, last quarter | anonymous MiB | PSS MiB | RSS MiB | descriptors | threads |\n|---|--:|--:|--:|--:|--:|\n",
    );
    for side in sides {
        let parts = [("execs", side.scale.execs, &side.execs), ("containers", side.scale.lifecycles, &side.lifecycles)];
        for (what, count, series) in parts {
            // Writing to a String cannot fail.
            writeln!(text, "| {}, {count} {what} | {} |", name(side.runtime), row(series)).ok();
        }
    }
    text.push_str("\n| pods at once | all run after | all removed after | PSS of a shim, median MiB | PSS of all shims MiB |\n|---|--:|--:|--:|--:|\n");
    for side in sides {
        let crowd = &side.crowd;
        let all: u64 = crowd.shims.iter().map(|shim| shim.pss).sum();
        writeln!(
            text,
            "| {}, {} | {:.1} s | {:.1} s | {:.2} | {:.0} |",
            name(side.runtime),
            crowd.shims.len(),
            crowd.started.as_secs_f64(),
            crowd.removed.as_secs_f64(),
            mebibytes(median(&crowd.shims).pss),
            mebibytes(all),
        )
        .ok();
    }
    text
}

fn name(runtime: Runtime) -> &'static str {
    if runtime == Runtime::Runc { "runc shim" } else { "palisade" }
}

fn row(series: &[Footprint]) -> String {
    let [first, last] = quarters(series);
    let memory = |of: fn(&Footprint) -> u64| format!("{:.2}, {:.2}", mebibytes(of(&first)), mebibytes(of(&last)));
    let count = |of: fn(&Footprint) -> u64| format!("{}, {}", of(&first), of(&last));
    [
        memory(|one| one.anonymous),
        memory(|one| one.pss),
        memory(|one| one.rss),
        count(|one| one.descriptors),
        count(|one| one.threads),
    ]
    .join(" | ")
}

#[allow(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}
