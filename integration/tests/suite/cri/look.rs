//! What the kernel enforces on a container's init process, read on the host: all that a runtime sets up.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use libtest_mimic::Failed;
use palisade_integration::cgroup::is_unified;
use serde_json::Value;

use super::seen::Seen;
use super::stage::{Container, Fault};

/// Fields of proc_pid_status(5) that a runtime decides on.
const STATUS: &[&str] = &[
    "Uid",
    "Gid",
    "Groups",
    "Umask",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Speculation_Store_Bypass",
    "SpeculationIndirectBranch",
    "SigIgn",
    "SigBlk",
    "ShdPnd",
];

/// Other files of `/proc/<pid>` of which a runtime decides the whole content.
const FILES: &[&str] =
    &["oom_score_adj", "uid_map", "gid_map", "setgroups", "personality", "coredump_filter", "loginuid"];

/// Files of the process's cgroups, by controller of v1.
const LEGACY: &[(&str, &[&str])] = &[
    (
        "memory",
        &["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes", "memory.swappiness"],
    ),
    ("cpu", &["cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us"]),
    ("cpuset", &["cpuset.cpus", "cpuset.mems"]),
    ("pids", &["pids.max"]),
    ("devices", &["devices.list"]),
    ("blkio", &["blkio.weight"]),
    ("hugetlb", &["hugetlb.2MB.limit_in_bytes"]),
];

/// The same of v2.
const UNIFIED: &[&str] = &[
    "memory.max",
    "memory.swap.max",
    "memory.high",
    "memory.low",
    "cpu.max",
    "cpu.weight",
    "cpuset.cpus",
    "cpuset.mems",
    "pids.max",
    "io.weight",
    "hugetlb.2MB.max",
];

impl Container<'_> {
    /// The process id of init on the host.
    pub(super) fn pid(&self) -> Result<u32, Fault> {
        let info: Value = serde_json::from_str(&self.stage.cri.status(&self.id)?.1)?;
        let pid = info["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
        Ok(pid.ok_or_else(|| Failed::from("the status names no process"))?)
    }
}

/// Notes all of it.
pub(super) fn all(pid: u32, seen: &mut Seen) -> Result<(), Fault> {
    let folder = format!("/proc/{pid}");
    status(&folder, STATUS, seen)?;
    for file in FILES {
        match fs::read_to_string(format!("{folder}/{file}")) {
            Ok(text) => seen.note(*file, text.split_whitespace().collect::<Vec<_>>().join(" ")),
            Err(error) => seen.note(*file, error.kind()),
        }
    }
    limits(&folder, seen)?;
    environment(&folder, seen)?;
    seen.note("cwd", fs::read_link(format!("{folder}/cwd"))?.display());
    seen.note("command", fs::read_to_string(format!("{folder}/cmdline"))?.replace('\0', " "));
    namespaces(pid, seen)?;
    mounts(&folder, seen)?;
    devices(Path::new(&format!("{folder}/root/dev")), seen)?;
    descriptors(&folder, seen)?;
    cgroups(&folder, seen)
}

/// Notes fields of `/proc/<pid>/status`.
pub(super) fn status(folder: &str, fields: &[&str], seen: &mut Seen) -> Result<(), Fault> {
    let text = fs::read_to_string(format!("{folder}/status"))?;
    let values: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once(':')).collect();
    for field in fields {
        let value = values.get(field).map_or("", |value| value.trim());
        seen.note(*field, value.replace('\t', " "));
    }
    let session = |field: &str| values.get(field).and_then(|ids| ids.split_whitespace().last().map(str::to_owned));
    seen.note("leads its session", session("NSsid") == session("NSpid"));
    Ok(())
}

fn limits(folder: &str, seen: &mut Seen) -> Result<(), Fault> {
    for line in fs::read_to_string(format!("{folder}/limits"))?.lines().skip(1) {
        let columns: Vec<_> = line.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect();
        if let [name, soft, hard, ..] = columns.as_slice() {
            seen.note(format!("limit {name}"), format!("{soft} {hard}"));
        }
    }
    Ok(())
}

fn environment(folder: &str, seen: &mut Seen) -> Result<(), Fault> {
    let text = fs::read_to_string(format!("{folder}/environ"))?;
    let mut variables: Vec<_> = text.split('\0').filter(|variable| !variable.is_empty()).collect();
    variables.sort_unstable();
    seen.note("environment", variables.join(" "));
    Ok(())
}

/// Whether each namespace is the host's. Which other one it is, scenarios about namespaces ask.
fn namespaces(pid: u32, seen: &mut Seen) -> Result<(), Fault> {
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        let host = namespace("self", kind)? == namespace(&pid.to_string(), kind)?;
        seen.note(format!("namespace {kind}"), if host { "the host's" } else { "its own" });
    }
    Ok(())
}

/// The identity of one namespace of a process.
pub(super) fn namespace(process: &str, kind: &str) -> Result<String, Fault> {
    Ok(fs::read_link(format!("/proc/{process}/ns/{kind}"))?.display().to_string())
}

/// proc_pid_mountinfo(5), without what is another number each time. Of several mounts at one place the uppermost counts.
pub(super) fn mounts(folder: &str, seen: &mut Seen) -> Result<(), Fault> {
    for line in fs::read_to_string(format!("{folder}/mountinfo"))?.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let fields: Vec<_> = before.split(' ').collect();
        let [_, _, _, root, at, options, optional @ ..] = fields.as_slice() else { continue };
        let peers: Vec<_> = optional.iter().filter_map(|field| field.split(':').next()).collect();
        let peers = if peers.is_empty() { "private".to_owned() } else { peers.join(" ") };
        let text = format!("{root} of {}, {peers}", read_only_or_not(options, after));
        seen.note(format!("mount {at}"), without_snapshots(&text));
    }
    Ok(())
}

/// What cannot be written says so in the mount's options or in those of the file system.
fn read_only_or_not(options: &str, filesystem: &str) -> String {
    let (name, settings) = filesystem.rsplit_once(' ').unwrap_or((filesystem, ""));
    let is_read_only = options.split(',').chain(settings.split(',')).any(|option| option == "ro");
    let others = |options: &str| {
        let others: Vec<_> = options.split(',').filter(|option| !matches!(*option, "ro" | "rw")).collect();
        others.join(",")
    };
    format!("{name} {} {} {}", others(settings), if is_read_only { "ro" } else { "rw" }, others(options))
}

/// containerd numbers its snapshots.
fn without_snapshots(text: &str) -> String {
    let mut parts = text.split("snapshots/");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        result.push_str("snapshots/N");
        result.push_str(part.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    }
    result
}

fn devices(folder: &Path, seen: &mut Seen) -> Result<(), Fault> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let data = entry.path().symlink_metadata()?;
        let kind = data.file_type();
        let what = if kind.is_symlink() {
            format!("link to {}", fs::read_link(entry.path())?.display())
        } else if kind.is_char_device() || kind.is_block_device() {
            let (major, minor) = (nix::sys::stat::major(data.rdev()), nix::sys::stat::minor(data.rdev()));
            format!("device {major}:{minor}")
        } else {
            "other".to_owned()
        };
        let name = entry.file_name();
        let rights = format!("{what}, {:o}, {}:{}", data.mode(), data.uid(), data.gid());
        seen.note(format!("/dev/{}", name.display()), rights);
    }
    Ok(())
}

/// What is open in init: the kind of each descriptor's target.
fn descriptors(folder: &str, seen: &mut Seen) -> Result<(), Fault> {
    for entry in fs::read_dir(format!("{folder}/fd"))? {
        let entry = entry?;
        let target = fs::read_link(entry.path())?.display().to_string();
        let kind = target.split_once(":[").map_or(target.as_str(), |(kind, _)| kind);
        let name = entry.file_name();
        seen.note(format!("descriptor {}", name.display()), kind);
    }
    Ok(())
}

fn cgroups(folder: &str, seen: &mut Seen) -> Result<(), Fault> {
    let text = fs::read_to_string(format!("{folder}/cgroup"))?;
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        seen.note(format!("cgroup of {controllers}"), path);
        if is_unified() {
            UNIFIED.iter().for_each(|file| settings(&format!("/sys/fs/cgroup{path}/{file}"), file, seen));
        }
        let own = |controller: &str| controllers.split(',').any(|name| name == controller);
        for (controller, files) in LEGACY.iter().filter(|(controller, _)| own(controller)) {
            files.iter().for_each(|file| settings(&format!("/sys/fs/cgroup/{controller}{path}/{file}"), file, seen));
        }
    }
    Ok(())
}

/// A kernel may be built without some.
fn settings(path: &str, file: &str, seen: &mut Seen) {
    let text = fs::read_to_string(path).unwrap_or_else(|error| error.kind().to_string());
    let mut lines: Vec<_> = text.lines().map(str::trim).collect();
    lines.sort_unstable();
    lines.dedup();
    seen.note(file, lines.join("; "));
}
