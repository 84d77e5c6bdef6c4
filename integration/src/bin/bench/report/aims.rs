//! What palisade is to reach, beside what was measured.

use super::steps::without_calls;
use super::table::Table;
use crate::bare;
use crate::lives::WHOLE;
use crate::memory::{EACH, EACH_AT_REST, POD, POD_AT_REST, SHIMS};
use crate::raw::Raw;
use crate::shim_start::ANSWERED;
use crate::side::Side;
use crate::statistics::median;

/// On which side of a number the measured one is to be.
#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

struct Aim {
    name: &'static str,
    bound: Bound,
    measured: fn(&Raw) -> Option<f64>,
}

/// Kilobytes of a kibibyte.
const KILOBYTES: f64 = 1.024;

const AIMS: [Aim; 13] = [
    Aim {
        name: "whole life: runc shim + runc ÷ palisade",
        bound: Bound::AtLeast(3.0),
        measured: |raw| lives(raw, Side::Runc, 1),
    },
    Aim {
        name: "whole life: runc shim + crun ÷ palisade",
        bound: Bound::AtLeast(2.0),
        measured: |raw| lives(raw, Side::Crun, 1),
    },
    Aim {
        name: "32 at once: runc shim + runc ÷ palisade",
        bound: Bound::AtLeast(3.0),
        measured: |raw| lives(raw, Side::Runc, 32),
    },
    Aim {
        name: "32 at once: runc shim + crun ÷ palisade",
        bound: Bound::AtLeast(2.0),
        measured: |raw| lives(raw, Side::Crun, 32),
    },
    Aim { name: "whole life: palisade ÷ kernel alone", bound: Bound::AtMost(1.5), measured: beside_kernel },
    Aim {
        name: "exec without the client: runc shim + runc ÷ palisade",
        bound: Bound::AtLeast(3.0),
        measured: |raw| execs(raw, Side::Runc),
    },
    Aim {
        name: "exec without the client: runc shim + crun ÷ palisade",
        bound: Bound::AtLeast(3.0),
        measured: |raw| execs(raw, Side::Crun),
    },
    Aim { name: "shim start: runc shim ÷ palisade", bound: Bound::AtLeast(3.0), measured: shim_starts },
    Aim {
        name: "PSS of each of five shims, MB",
        bound: Bound::AtMost(1.5),
        measured: |raw| megabytes(raw, EACH, SHIMS),
    },
    Aim {
        name: "PSS of each of five shims at rest, MB",
        bound: Bound::AtMost(1.5),
        measured: |raw| megabytes(raw, EACH_AT_REST, SHIMS),
    },
    Aim { name: "PSS of a shim alone, MB", bound: Bound::AtMost(3.5), measured: |raw| megabytes(raw, POD, 1) },
    Aim {
        name: "PSS of a shim alone at rest, MB",
        bound: Bound::AtMost(3.5),
        measured: |raw| megabytes(raw, POD_AT_REST, 1),
    },
    Aim { name: "PSS of each further container, KB", bound: Bound::AtMost(100.0), measured: further },
];

/// Nothing where nothing was measured.
pub(super) fn tables(raw: &Raw) -> Vec<Table> {
    let mut table = Table::new(["aim", "to be", "measured", "reached"].map(str::to_owned).into());
    for aim in AIMS {
        let measured = (aim.measured)(raw);
        let (to_be, is_reached): (String, fn(f64, f64) -> bool) = match aim.bound {
            Bound::AtLeast(bound) => (format!("≥ {bound}"), |measured, bound| measured >= bound),
            Bound::AtMost(bound) => (format!("≤ {bound}"), |measured, bound| measured <= bound),
        };
        let (Bound::AtLeast(bound) | Bound::AtMost(bound)) = aim.bound;
        let reached = measured.map(|measured| if is_reached(measured, bound) { "yes" } else { "no" }.to_owned());
        table.row(aim.name, [measured.map(|_| to_be), measured.map(|value| format!("{value:.2}")), reached]);
    }
    table.if_any().into_iter().collect()
}

fn of(raw: &Raw, what: &str, side: Side, scale: u32) -> Option<f64> {
    median(&raw.values(what, side.name(), scale))
}

fn lives(raw: &Raw, other: Side, scale: u32) -> Option<f64> {
    Some(of(raw, WHOLE, other, scale)? / of(raw, WHOLE, Side::Embedded, scale)?)
}

fn beside_kernel(raw: &Raw) -> Option<f64> {
    Some(of(raw, WHOLE, Side::Embedded, 1)? / median(&raw.values(WHOLE, bare::NAME, 1))?)
}

fn execs(raw: &Raw, other: Side) -> Option<f64> {
    Some(without_calls(raw, other)? / without_calls(raw, Side::Embedded)?)
}

fn shim_starts(raw: &Raw) -> Option<f64> {
    Some(of(raw, ANSWERED, Side::Runc, 1)? / of(raw, ANSWERED, Side::Embedded, 1)?)
}

fn pss(raw: &Raw, part: &str, scale: u32) -> Option<f64> {
    of(raw, &format!("{part}pss_kib"), Side::Embedded, scale)
}

fn megabytes(raw: &Raw, part: &str, scale: u32) -> Option<f64> {
    pss(raw, part, scale).map(|kibibytes| kibibytes * KILOBYTES / 1000.0)
}

fn further(raw: &Raw) -> Option<f64> {
    Some((pss(raw, POD, 10)? - pss(raw, POD, 1)?) / 9.0 * KILOBYTES)
}
