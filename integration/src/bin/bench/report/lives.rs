//! Whole lives, one and many at once.

use super::steps::{cell, columns, over, times};
use super::table::{Table, ratio};
use super::{KERNEL, title};
use crate::bare;
use crate::lives::{ALL, CONTAINERD_CPU, CPU, WHOLE};
use crate::raw::Raw;
use crate::side::Side;
use crate::statistics::median;

pub(super) fn tables(raw: &Raw) -> Vec<Table> {
    [times_of_lives(raw), rates(raw), cpu_times(raw)].into_iter().filter_map(Table::if_any).collect()
}

/// Heads of one table: the sides, the kernel, the ratios.
fn head(first: &str, sides: &[Side], others: &[Side], with_kernel: bool) -> Vec<String> {
    let mut head = vec![first.to_owned()];
    head.extend(sides.iter().map(|side| title(*side).to_owned()));
    head.extend(with_kernel.then(|| KERNEL.to_owned()));
    head.extend(others.iter().map(|other| over(*other)));
    head.extend(with_kernel.then(|| format!("{} ÷ {KERNEL}", title(Side::Embedded))));
    head
}

fn times_of_lives(raw: &Raw) -> Table {
    let (sides, others) = columns(raw, WHOLE);
    let mut table = Table::new(head("ms of a whole life, median (95th percentile)", &sides, &others, true));
    for scale in raw.scales(WHOLE) {
        let of = |name: &str| raw.values(WHOLE, name, scale);
        let mut cells: Vec<_> = sides.iter().map(|side| cell(&of(side.name()))).collect();
        cells.push(cell(&of(bare::NAME)));
        cells.extend(others.iter().map(|other| times(raw, WHOLE, scale, *other)));
        cells.push(ratio(median(&of(Side::Embedded.name())), median(&of(bare::NAME))));
        table.row(&at_once(scale), cells);
    }
    table
}

fn rates(raw: &Raw) -> Table {
    let (sides, others) = columns(raw, WHOLE);
    let mut table = Table::new(
        std::iter::once("lives a second, median".to_owned())
            .chain(sides.iter().map(|side| title(*side).to_owned()))
            .chain(others.iter().map(|other| format!("{} ÷ {}", title(Side::Embedded), title(*other))))
            .collect(),
    );
    for scale in raw.scales(ALL) {
        let rate = |side: Side| median(&raw.values(ALL, side.name(), scale)).map(|all| f64::from(scale) * 1000.0 / all);
        let cells = sides.iter().map(|side| rate(*side).map(|rate| format!("{rate:.1}")));
        let ratios = others.iter().map(|other| ratio(rate(Side::Embedded), rate(*other)));
        table.row(&at_once(scale), cells.chain(ratios).collect::<Vec<_>>());
    }
    table
}

fn cpu_times(raw: &Raw) -> Table {
    let (sides, others) = columns(raw, CPU);
    let mut table = Table::new(head("ms of CPU time a life, median (95th percentile)", &sides, &others, true));
    for scale in raw.scales(CPU) {
        let mut row = |name: &str, what: &str| {
            let of = |name: &str| raw.values(what, name, scale);
            let mut cells: Vec<_> = sides.iter().map(|side| cell(&of(side.name()))).collect();
            cells.push(cell(&of(bare::NAME)));
            cells.extend(others.iter().map(|other| times(raw, what, scale, *other)));
            cells.push(ratio(median(&of(Side::Embedded.name())), median(&of(bare::NAME))));
            table.row(&format!("{name}, {}", at_once(scale)), cells);
        };
        row("shim, runtime, container", CPU);
        row("containerd", CONTAINERD_CPU);
    }
    table
}

fn at_once(scale: u32) -> String {
    format!("{scale} at once")
}
