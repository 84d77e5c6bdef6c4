//! `ps`: the processes of a container, by their pids on the host.

use std::fs;
use std::path::Path;

use super::arguments::PsFormat;
use super::error::RuntimeFailure;
use super::id::ContainerId;
use super::report;
use super::state::StateDir;

/// Prints the processes.
pub(super) fn print(root: &Path, id: &ContainerId, format: PsFormat) -> Result<(), RuntimeFailure> {
    let record = StateDir::open(root, id)?.record()?;
    let mut pids = record.cgroup.processes()?;
    pids.sort_unstable();
    let text = match format {
        PsFormat::Json => {
            serde_json::to_string(&pids).map_err(|source| RuntimeFailure::Json { what: "the pids", source })?
        }
        PsFormat::Table => table(&pids),
    };
    report::print(&format!("{text}\n"))
}

fn table(pids: &[i32]) -> String {
    let row = |pid: &i32| {
        // The name is the container's to choose: one line, whatever it holds.
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("\n{pid:>7} {}", name.trim_end().escape_debug())
    };
    pids.iter().map(row).fold(String::from("    PID COMMAND"), |table, row| table + &row)
}
