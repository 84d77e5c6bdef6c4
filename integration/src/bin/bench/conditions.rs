//! What a run was measured on.

use std::fs;
use std::path::Path;
use std::process::Command;

use palisade_integration::{Containerd, cgroup};

/// Names in the raw data.
pub(crate) const DATE: &str = "date";
pub(crate) const CONTAINERD: &str = "containerd";
pub(crate) const RUNC: &str = "runc";
pub(crate) const CRUN: &str = "crun";
pub(crate) const KERNEL: &str = "Linux";
pub(crate) const CGROUP: &str = "cgroup";
pub(crate) const CPUS: &str = "CPUs";
pub(crate) const LOAD: &str = "load at the beginning";
pub(crate) const ROUNDS: &str = "rounds";
pub(crate) const BINARY: &str = "bytes of the shim";

pub(crate) fn of(containerd: &Containerd, rounds: u32) -> Vec<(&'static str, String)> {
    let assets = containerd.assets();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    vec![
        (DATE, first_line(Command::new("date").args(["-u", "+%F"]))),
        (CONTAINERD, third_word(&version(&assets.containerd.join("containerd")))),
        (RUNC, third_word(&version(&assets.runc))),
        (CRUN, third_word(&version(&assets.crun))),
        (KERNEL, release(&read("/proc/sys/kernel/osrelease"))),
        (CGROUP, if cgroup::is_unified() { "v2" } else { "v1" }.to_owned()),
        (CPUS, processors.to_string()),
        (LOAD, read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned()),
        (ROUNDS, rounds.to_string()),
        (BINARY, fs::metadata(&assets.shim).map_or(0, |file| file.len()).to_string()),
    ]
}

fn version(program: &Path) -> String {
    first_line(Command::new(program).arg("--version"))
}

/// Empty where the program says nothing.
fn first_line(command: &mut Command) -> String {
    let output = command.output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// As in `containerd github.com/containerd/containerd 2.1.9+unknown …` and `runc version 1.1.5`.
fn third_word(line: &str) -> String {
    release(line.split_whitespace().nth(2).unwrap_or("unknown"))
}

/// Without what a packager added.
fn release(version: &str) -> String {
    version.split(['+', '-']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (line, version) in [
            ("containerd github.com/containerd/containerd 2.1.9+unknown ", "2.1.9"),
            ("runc version 1.1.5+ds1", "1.1.5"),
            ("crun version 1.21", "1.21"),
            ("", "unknown"),
        ] {
            assert_eq!(third_word(line), version, "{line}");
        }
    }
}
