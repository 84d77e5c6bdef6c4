//! What shims take of the machine.

use super::steps::{columns, over};
use super::table::{Table, ratio};
use super::title;
use crate::memory::{EACH, EACH_AT_REST, POD, POD_AT_REST, PODS, SHIMS};
use crate::raw::Raw;
use crate::side::Side;
use crate::statistics::median;

const MEBIBYTE: f64 = 1024.0;

pub(super) fn tables(raw: &Raw) -> Vec<Table> {
    let what = format!("{EACH}pss_kib");
    let (sides, others) = columns(raw, &what);
    let mut head = vec!["of a shim, median".to_owned()];
    head.extend(sides.iter().map(|side| title(*side).to_owned()));
    head.extend(others.iter().map(|other| over(*other)));
    let mut table = Table::new(head);
    for (name, kind) in [("PSS", "pss_kib"), ("RSS", "rss_kib"), ("anonymous", "anonymous_kib")] {
        let mut row = |name: &str, show: fn(f64) -> String, of: &dyn Fn(Side) -> Option<f64>| {
            let cells = sides.iter().map(|side| of(*side).map(show));
            let ratios = others.iter().map(|other| ratio(of(*other), of(Side::Embedded)));
            table.row(name, cells.chain(ratios).collect::<Vec<_>>());
        };
        let each = |side: Side| median(&raw.values(&format!("{EACH}{kind}"), side.name(), SHIMS));
        let pod = |side: Side, containers| median(&raw.values(&format!("{POD}{kind}"), side.name(), containers));
        row(&format!("{name}, MiB, each of five shims with a container"), mebibytes, &each);
        row(&format!("{name}, MiB, the same, at rest"), mebibytes, &|side| {
            median(&raw.values(&format!("{EACH_AT_REST}{kind}"), side.name(), SHIMS))
        });
        for containers in PODS {
            row(&format!("{name}, MiB, alone, containers in its pod: {containers}"), mebibytes, &|side| {
                pod(side, containers)
            });
            row(&format!("{name}, MiB, the same, at rest"), mebibytes, &|side| {
                median(&raw.values(&format!("{POD_AT_REST}{kind}"), side.name(), containers))
            });
        }
        row(&format!("{name}, KiB, each further container up to ten"), whole, &|side| {
            Some((pod(side, 10)? - pod(side, 1)?) / 9.0)
        });
    }
    for name in ["descriptors", "threads"] {
        for containers in PODS {
            let of = |side: Side| median(&raw.values(&format!("{POD}{name}"), side.name(), containers));
            let cells = sides.iter().map(|side| of(*side).map(whole));
            let ratios = others.iter().map(|other| ratio(of(*other), of(Side::Embedded)));
            table.row(&format!("{name}, containers in its pod: {containers}"), cells.chain(ratios).collect::<Vec<_>>());
        }
    }
    table.if_any().into_iter().collect()
}

fn mebibytes(kibibytes: f64) -> String {
    format!("{:.2}", kibibytes / MEBIBYTE)
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}
