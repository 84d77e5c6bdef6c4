//! The side-by-side table.

use std::collections::BTreeMap;

use palisade_integration::cgroup::Limits;
use palisade_probe::{MountPoint, Outcome, ProcessReport, Verdict};

/// All that is known of the container under one runtime.
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) report: ProcessReport,
    pub(crate) exec: ProcessReport,
    pub(crate) limits: Limits,
    pub(crate) outcomes: BTreeMap<String, Outcome>,
}

type Row = (&'static str, fn(&Column) -> String);

const ROWS: &[Row] = &[
    ("user:group", |column| ids(&column.report)),
    ("user:group of exec", |column| ids(&column.exec)),
    ("capabilities, bounding", |column| capabilities(&column.report, "CapBnd")),
    ("capabilities, effective", |column| capabilities(&column.report, "CapEff")),
    ("capabilities, permitted", |column| capabilities(&column.report, "CapPrm")),
    ("capabilities, inheritable", |column| capabilities(&column.report, "CapInh")),
    ("capabilities, ambient", |column| capabilities(&column.report, "CapAmb")),
    ("no_new_privs", |column| if column.report.text("NoNewPrivs") == "1" { "on" } else { "off" }.to_owned()),
    ("seccomp", |column| seccomp(&column.report)),
    ("seccomp of exec", |column| seccomp(&column.exec)),
    ("memory limit", |column| limit(column.limits.memory, |bytes| format!("{} MiB", bytes >> 20))),
    ("cpu limit", |column| {
        limit(column.limits.cpu_per_second, |share| format!("{}.{} cpus", share / 1_000_000, share / 100_000 % 10))
    }),
    ("pids limit", |column| limit(column.limits.pids, |pids| pids.to_string())),
    ("masked kernel paths", |column| count(&column.report, is_masked)),
    ("read-only kernel paths", |column| count(&column.report, is_read_only)),
    ("escape primitives reached", |column| {
        let reached = column.outcomes.values().filter(|outcome| outcome.result == Verdict::Reached).count();
        format!("{reached} of {}", column.outcomes.len())
    }),
];

/// Rows under each other, as wide as their widest cell.
pub(crate) fn render(columns: &[Column]) -> String {
    let mut lines = vec![
        std::iter::once(String::new()).chain(columns.iter().map(|column| column.title.to_owned())).collect::<Vec<_>>(),
    ];
    lines.extend(
        ROWS.iter().map(|(name, cell)| std::iter::once((*name).to_owned()).chain(columns.iter().map(cell)).collect()),
    );
    let width = |index: usize| lines.iter().filter_map(|line| line.get(index)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..=columns.len()).map(width).collect();
    let pad = |line: &Vec<String>| {
        line.iter().zip(&widths).map(|(cell, width)| format!("  {cell:<width$}")).collect::<String>()
    };
    lines.iter().map(|line| format!("{}\n", pad(line).trim_end())).collect()
}

fn ids(report: &ProcessReport) -> String {
    let first = |field: &str| report.numbers(field).first().map_or_else(|| "?".to_owned(), u64::to_string);
    format!("{}:{}", first("Uid"), first("Gid"))
}

fn capabilities(report: &ProcessReport, set: &str) -> String {
    report.capabilities(set).map_or_else(|| "?".to_owned(), |bits| format!("{} ({bits:#x})", bits.count_ones()))
}

fn seccomp(report: &ProcessReport) -> String {
    match report.text("Seccomp") {
        "0" => "none".to_owned(),
        "2" => "filter".to_owned(),
        other => other.to_owned(),
    }
}

fn limit(limit: Option<u64>, show: impl Fn(u64) -> String) -> String {
    limit.map_or_else(|| "none".to_owned(), show)
}

fn count(report: &ProcessReport, of_kind: fn(&MountPoint) -> bool) -> String {
    let kernel = |mount: &&MountPoint| mount.at.starts_with("/proc/") || mount.at.starts_with("/sys/");
    report.mounts.iter().filter(kernel).filter(|mount| of_kind(mount)).count().to_string()
}

/// A file under `/dev/null` or a folder under an empty tmpfs.
fn is_masked(mount: &MountPoint) -> bool {
    mount.root == "/null" || mount.kind == "tmpfs"
}

fn is_read_only(mount: &MountPoint) -> bool {
    !is_masked(mount) && mount.kind == "proc" && mount.options.iter().any(|option| option == "ro")
}
