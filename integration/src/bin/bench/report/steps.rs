//! The steps of one life, and a shim's start.

use super::table::{Table, ratio};
use super::{sides_of, title};
use crate::lives::WHOLE;
use crate::raw::Raw;
use crate::shim_start::{ANSWERED, CONNECTED};
use crate::side::Side;
use crate::statistics::{Summary, median};
use crate::steps::{CALL, CALLS_OF_EXEC, CLIENT};

/// Whom palisade is compared with.
pub(super) const OTHERS: [Side; 2] = [Side::Runc, Side::Crun];

const EXEC: &str = "exec_ms";

const ROWS: [(&str, &str); 8] = [
    ("create", "create_ms"),
    ("start", "start_ms"),
    ("exec", EXEC),
    ("exit to event", "exit_ms"),
    ("delete", "delete_ms"),
    ("whole life of `true`", WHOLE),
    ("shim start to a connection", CONNECTED),
    ("shim start to an answer", ANSWERED),
];

pub(super) fn tables(raw: &Raw) -> Vec<Table> {
    let mut scales: Vec<u32> = ROWS.iter().flat_map(|(_, what)| raw.scales(what)).collect();
    scales.sort_unstable();
    scales.dedup();
    scales.into_iter().filter_map(|scale| table(raw, scale).if_any()).collect()
}

/// Lives at once have a table of their own.
fn table(raw: &Raw, scale: u32) -> Table {
    let rows = || ROWS.iter().filter(|(_, what)| scale == 1 || *what != WHOLE);
    let is_seen = |side: &Side| rows().any(|(_, what)| !raw.values(what, side.name(), scale).is_empty());
    let sides: Vec<Side> = Side::ALL.into_iter().filter(is_seen).collect();
    let others = compared(&sides);
    let at_once = if scale == 1 { String::new() } else { format!(", {scale} at once") };
    let mut head = vec![format!("ms{at_once}, median (95th percentile)")];
    head.extend(sides.iter().map(|side| title(*side).to_owned()));
    head.extend(others.iter().map(|other| over(*other)));
    let mut table = Table::new(head);
    for (name, what) in rows() {
        let cells = sides.iter().map(|side| cell(&raw.values(what, side.name(), scale)));
        let ratios = others.iter().map(|other| times(raw, what, scale, *other));
        table.row(name, cells.chain(ratios).collect::<Vec<_>>());
        if *what == EXEC && scale == 1 {
            let of = |side: Side| without_calls(raw, side);
            let cells = sides.iter().map(|side| of(*side).map(|time| format!("{time:.1}")));
            let ratios = others.iter().map(|other| ratio(of(*other), of(Side::Embedded)));
            table.row("exec without the client's own time", cells.chain(ratios).collect::<Vec<_>>());
        }
    }
    table
}

/// The median of an exec less that of as many calls that come to nothing.
pub(super) fn without_calls(raw: &Raw, side: Side) -> Option<f64> {
    let call = median(&raw.values(CALL, CLIENT, 1))?;
    Some(median(&raw.values(EXEC, side.name(), 1))? - CALLS_OF_EXEC * call)
}

/// Of these sides those that palisade is compared with, if it is there itself.
pub(super) fn compared(sides: &[Side]) -> Vec<Side> {
    let is_there = |side: &Side| sides.contains(side) && sides.contains(&Side::Embedded);
    OTHERS.into_iter().filter(is_there).collect()
}

/// The head of a column with the ratio.
pub(super) fn over(other: Side) -> String {
    format!("{} ÷ {}", title(other), title(Side::Embedded))
}

/// How often palisade's median goes into another's.
pub(super) fn times(raw: &Raw, what: &str, scale: u32, other: Side) -> Option<String> {
    let of = |side: Side| median(&raw.values(what, side.name(), scale));
    ratio(of(other), of(Side::Embedded))
}

pub(super) fn cell(values: &[f64]) -> Option<String> {
    Summary::of(values).map(|summary| format!("{:.1} ({:.1})", summary.median, summary.p95))
}

/// The sides of a table of this measure, and those compared with.
pub(super) fn columns(raw: &Raw, what: &str) -> (Vec<Side>, Vec<Side>) {
    let sides = sides_of(raw, what);
    let others = compared(&sides);
    (sides, others)
}
