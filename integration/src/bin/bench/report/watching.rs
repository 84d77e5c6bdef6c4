//! What a filter costs, the report of refused calls, and learning.

use super::table::Table;
use crate::raw::Raw;
use crate::statistics::{median, quantile, sorted};
use crate::watching::{REFUSED, RUNS, SHIM, SIDES};

const ROWS: [(&str, &str); 7] = [
    ("create, ms", "create_ms"),
    ("start, ms", "start_ms"),
    ("exec, ms", "exec_ms"),
    ("exit to event, ms", "exit_ms"),
    ("delete, ms", "delete_ms"),
    ("a refused call, µs", REFUSED),
    ("getppid, which runs, µs", RUNS),
];

pub(super) fn tables(raw: &Raw) -> Vec<Table> {
    let head = std::iter::once("palisade, median").chain(SIDES).map(str::to_owned).collect();
    let mut table = Table::new(head);
    let middle = |what: &str, side: &str| median(&raw.values(what, side, 1));
    for (name, what) in ROWS {
        table.row(name, SIDES.map(|side| middle(what, side).map(|value| format!("{value:.2}"))));
    }
    let name = "create beside no filter in the same round, ms (quartiles)";
    table.row(name, SIDES.map(|side| beside(raw, side)));
    for (name, kind) in
        [("PSS of the shim alone, MiB", "pss_kib"), ("anonymous memory of the shim, MiB", "anonymous_kib")]
    {
        let what = format!("{SHIM}{kind}");
        table.row(name, SIDES.map(|side| middle(&what, side).map(|value| format!("{:.2}", value / 1024.0))));
    }
    for name in ["threads", "descriptors"] {
        let what = format!("{SHIM}{name}");
        table.row(name, SIDES.map(|side| middle(&what, side).map(|value| format!("{value:.0}"))));
    }
    table.if_any().into_iter().collect()
}

/// The median of the differences of rounds, with its quartiles.
fn beside(raw: &Raw, side: &str) -> Option<String> {
    let [without, ..] = SIDES;
    if side == without {
        return None;
    }
    let (with, without) = (raw.by_round("create_ms", side), raw.by_round("create_ms", without));
    let differences = with.iter().filter_map(|(round, value)| {
        let (_, other) = without.iter().find(|(known, _)| known == round)?;
        Some(value - other)
    });
    let differences = sorted(differences);
    let at = |part| quantile(&differences, part);
    Some(format!("{:.2} ({:.2} to {:.2})", at(0.5)?, at(0.25)?, at(0.75)?))
}
