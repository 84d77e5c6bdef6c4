//! What the plot shows, in groups.

use crate::bare;
use crate::lives::WHOLE;
use crate::memory::{EACH, SHIMS};
use crate::raw::Raw;
use crate::report;
use crate::shim_start::ANSWERED;
use crate::side::Side;
use crate::statistics::{Summary, median};

/// One measure.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) bars: Vec<Bar>,
}

/// One side's, as parts of the median of runc's shim with runc.
pub(super) struct Bar {
    pub(super) name: &'static str,
    pub(super) colour: &'static str,
    pub(super) median: f64,
    pub(super) p95: f64,
    /// The median with its unit.
    pub(super) label: String,
}

/// Names of all bars, in their order.
pub(super) const NAMES: [&str; 6] = [
    report::title(Side::Embedded),
    report::title(Side::PalisadeRunc),
    report::title(Side::PalisadeCrun),
    report::title(Side::Runc),
    report::title(Side::Crun),
    report::KERNEL,
];

const STEPS: [(&str, &str); 6] = [
    ("shim start to an answer", ANSWERED),
    ("create", "create_ms"),
    ("start", "start_ms"),
    ("exec", "exec_ms"),
    ("exit to event", "exit_ms"),
    ("delete", "delete_ms"),
];

/// Those that there are values of.
pub(super) fn of(raw: &Raw) -> Vec<Group> {
    let steps = STEPS.map(|(name, what)| group(raw, name, what, 1, milliseconds));
    let lives = raw.scales(WHOLE).into_iter().map(|scale| {
        let name = format!("whole life, {scale} at once");
        group(raw, &name, WHOLE, scale, milliseconds)
    });
    let memory = group(raw, "PSS, each of five shims", &format!("{EACH}pss_kib"), SHIMS, mebibytes);
    steps.into_iter().chain(lives).chain([memory]).flatten().collect()
}

/// `None` where there is nothing to compare with.
fn group(raw: &Raw, name: &str, what: &str, scale: u32, label: fn(f64) -> String) -> Option<Group> {
    let whole = median(&raw.values(what, Side::Runc.name(), scale))?;
    let bar = |key: &str, name, colour| {
        let Summary { median, p95 } = Summary::of(&raw.values(what, key, scale))?;
        Some(Bar { name, colour, median: median / whole, p95: p95 / whole, label: label(median) })
    };
    let sides = Side::ALL.into_iter().filter_map(|side| bar(side.name(), report::title(side), colour(side)));
    let kernel = bar(bare::NAME, report::KERNEL, "#777777");
    Some(Group { name: name.to_owned(), bars: sides.chain(kernel).collect() })
}

/// Told apart by those who see few colours as well. Source: Okabe and Ito, "Color Universal Design".
fn colour(side: Side) -> &'static str {
    match side {
        Side::Embedded => "#0072b2",
        Side::PalisadeRunc => "#56b4e9",
        Side::PalisadeCrun => "#009e73",
        Side::Runc => "#d55e00",
        Side::Crun => "#e69f00",
    }
}

fn milliseconds(value: f64) -> String {
    format!("{value:.1} ms")
}

fn mebibytes(kibibytes: f64) -> String {
    format!("{:.2} MiB", kibibytes / 1024.0)
}

#[allow(clippy::cast_precision_loss, reason = "a few bars")]
pub(super) fn number(count: usize) -> f64 {
    count as f64
}
