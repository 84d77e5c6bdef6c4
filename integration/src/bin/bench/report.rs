//! A run's result as Markdown, for `docs/benchmarks.md`.

mod aims;
mod lives;
mod memory;
mod steps;
mod table;
mod watching;

use crate::conditions;
use crate::raw::Raw;
use crate::side::Side;

/// What it was measured on, and every table that there are values for.
pub(crate) fn markdown(raw: &Raw) -> String {
    [sides(raw), filters(raw)].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The sides beside each other; empty where none was measured.
pub(crate) fn sides(raw: &Raw) -> String {
    part(raw, &[aims::tables(raw), steps::tables(raw), lives::tables(raw), memory::tables(raw)].concat())
}

/// palisade with and without filters; empty where that was not measured.
pub(crate) fn filters(raw: &Raw) -> String {
    part(raw, &watching::tables(raw))
}

fn part(raw: &Raw, tables: &[table::Table]) -> String {
    if tables.is_empty() {
        return String::new();
    }
    let parts = std::iter::once(head(raw)).chain(tables.iter().map(table::Table::markdown));
    parts.collect::<Vec<_>>().join("\n")
}

fn head(raw: &Raw) -> String {
    let of = |name| raw.condition(name);
    let size = of(conditions::BINARY).parse().map_or(f64::NAN, |bytes: f64| bytes / f64::from(1 << 20));
    format!(
        "Measured {}: containerd {}, runc {}, crun {}, Linux {} with cgroup {}, CPUs: {}, load at the beginning {}; {} rounds in turns that\nrotate. The shim's binary has {size:.1} MiB.\n",
        of(conditions::DATE),
        of(conditions::CONTAINERD),
        of(conditions::RUNC),
        of(conditions::CRUN),
        of(conditions::KERNEL),
        of(conditions::CGROUP),
        of(conditions::CPUS),
        of(conditions::LOAD),
        of(conditions::ROUNDS),
    )
}

/// The head of the column of what no side can do without.
pub(crate) const KERNEL: &str = "kernel alone";

/// The head of a column.
pub(crate) const fn title(side: Side) -> &'static str {
    match side {
        Side::Embedded => "palisade",
        Side::PalisadeRunc => "palisade + runc",
        Side::PalisadeCrun => "palisade + crun",
        Side::Runc => "runc shim + runc",
        Side::Crun => "runc shim + crun",
    }
}

/// The sides that something was measured of.
fn sides_of(raw: &Raw, what: &str) -> Vec<Side> {
    Side::ALL.into_iter().filter(|side| raw.has(what, side.name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# date: 2026-11-28\n# containerd: 2.1.9\n# cgroup: v1\n# bytes of the shim: 10485760\nwhat,side,scale,round,value\n\
        create_ms,palisade,1,1,20\ncreate_ms,palisade,1,2,22\ncreate_ms,runc-shim+runc,1,1,60\ncreate_ms,runc-shim+runc,1,2,66\n\
        whole_ms,palisade,1,1,30\nwhole_ms,runc-shim+runc,1,1,90\nwhole_ms,kernel,1,1,20\n\
        all_ms,palisade,8,1,200\nwhole_ms,palisade,8,1,100\n\
        each_pss_kib,palisade,5,1,1536\neach_pss_kib,runc-shim+runc,5,1,10240\n\
        each_at_rest_pss_kib,palisade,5,1,1024\npod_pss_kib,palisade,1,1,3072\npod_pss_kib,palisade,10,1,3972\n\
        create_ms,palisade,8,1,100\ncreate_ms,runc-shim+runc,8,1,250\n";

    fn text() -> String {
        markdown(&Raw::read(TEXT).unwrap())
    }

    fn expect(line: &str) {
        let text = text();
        assert!(text.lines().any(|one| one == line), "no line\n{line}\nin\n{text}");
    }

    #[test]
    fn medians_high_ends_and_ratios_are_told() {
        expect("| ms, median (95th percentile) | palisade | runc shim + runc | runc shim + runc ÷ palisade |");
        expect("| create | 21.0 (21.9) | 63.0 (65.7) | 3.00 |");
        expect(
            "| ms, 8 at once, median (95th percentile) | palisade | runc shim + runc | runc shim + runc ÷ palisade |",
        );
        expect("| create | 100.0 (100.0) | 250.0 (250.0) | 2.50 |");
    }

    #[test]
    fn the_kernels_work_stands_beside_the_lives() {
        expect("| 1 at once | 30.0 (30.0) | 90.0 (90.0) | 20.0 (20.0) | 3.00 | 1.50 |");
        expect("| 8 at once | 100.0 (100.0) | – | – | – | – |");
        expect("| 8 at once | 40.0 | – | – |");
    }

    #[test]
    fn memory_is_told_for_each_and_for_pods() {
        expect("| PSS, MiB, each of five shims with a container | 1.50 | 10.00 | 6.67 |");
        expect("| PSS, MiB, the same, at rest | 1.00 | – | – |");
        expect("| PSS, KiB, each further container up to ten | 100 | – | – |");
    }

    #[test]
    fn aims_are_told_with_whether_they_are_reached() {
        expect("| whole life: runc shim + runc ÷ palisade | ≥ 3 | 3.00 | yes |");
        expect("| PSS of each of five shims, MB | ≤ 1.5 | 1.57 | no |");
        expect("| PSS of each of five shims at rest, MB | ≤ 1.5 | 1.05 | yes |");
        expect("| PSS of each further container, KB | ≤ 100 | 102.40 | no |");
        assert!(!text().contains("32 at once") && !text().contains("exec without"), "{}", text());
    }

    #[test]
    fn each_part_stands_alone() {
        let raw = Raw::read("# cgroup: v2\ncreate_ms,no filter,1,1,20\ncreate_ms,filter,1,1,22\n").unwrap();
        assert!(sides(&raw).is_empty());
        assert!(filters(&raw).contains("| create, ms | 20.00 | 22.00 | – | – |"), "{}", filters(&raw));
        assert!(filters(&Raw::read(TEXT).unwrap()).is_empty());
    }

    #[test]
    fn what_was_not_measured_has_no_row() {
        assert!(!text().contains("RSS") && !text().contains("delete") && !text().contains("no filter"));
    }

    #[test]
    fn the_conditions_come_first() {
        assert!(text().starts_with("Measured 2026-11-28: containerd 2.1.9, "), "{}", text());
        assert!(text().contains("binary has 10.0 MiB"));
    }
}
