use std::collections::BTreeMap;
use std::{fs, io};

use serde::{Deserialize, Serialize};

/// A line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// The directory of the file system that is the mount's root.
    pub root: String,
    /// Where it is mounted.
    pub at: String,
    /// The per-mount options.
    pub options: Vec<String>,
    /// The file system type.
    pub kind: String,
}

/// What the kernel says about the process that asks: proc_pid_status(5), its namespaces, descriptors and mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessReport {
    /// Every field of `/proc/self/status` as text: `Uid`, `CapBnd`, `NoNewPrivs`, `Seccomp`, ...
    pub status: BTreeMap<String, String>,
    /// Namespace links by kind: `net` to `net:[4026531840]`.
    pub namespaces: BTreeMap<String, String>,
    /// Open descriptors and what they point to, without the one that reads this.
    pub descriptors: BTreeMap<String, String>,
    /// The mount table.
    pub mounts: Vec<MountPoint>,
    /// Resource limits as `/proc/self/limits` gives them: name to soft and hard.
    pub limits: BTreeMap<String, (String, String)>,
    /// `/proc/self/oom_score_adj`.
    pub oom_score_adj: i32,
    /// The working directory.
    pub cwd: String,
    /// The environment's names.
    pub environment: Vec<String>,
}

impl ProcessReport {
    /// Reads it for the calling process.
    ///
    /// # Errors
    /// A file of `/proc/self` that cannot be read.
    pub fn of_self() -> io::Result<Self> {
        Ok(Self {
            status: parse_status(&fs::read_to_string("/proc/self/status")?),
            namespaces: links("/proc/self/ns")?,
            descriptors: links("/proc/self/fd")?,
            mounts: fs::read_to_string("/proc/self/mountinfo")?.lines().filter_map(parse_mount).collect(),
            limits: fs::read_to_string("/proc/self/limits")?.lines().skip(1).filter_map(parse_limit).collect(),
            oom_score_adj: fs::read_to_string("/proc/self/oom_score_adj")?.trim().parse().map_err(io::Error::other)?,
            cwd: std::env::current_dir()?.display().to_string(),
            environment: std::env::vars().map(|(name, _)| name).collect(),
        })
    }

    /// The numbers of a status field, such as the four of `Uid` (real, effective, saved, file system) or the list of `Groups`.
    #[must_use]
    pub fn numbers(&self, field: &str) -> Vec<u64> {
        self.text(field).split_whitespace().filter_map(|word| word.parse().ok()).collect()
    }

    /// A capability set (`CapInh`, `CapPrm`, `CapEff`, `CapBnd`, `CapAmb`) as a bit mask; `None` when the kernel did not print it.
    #[must_use]
    pub fn capabilities(&self, field: &str) -> Option<u64> {
        u64::from_str_radix(self.text(field), 16).ok()
    }

    /// A status field's text, empty when the kernel has no such field.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.status.get(field).map_or("", String::as_str)
    }

    /// The mount that covers `path` exactly, the uppermost where there are several.
    #[must_use]
    pub fn mount_at(&self, path: &str) -> Option<&MountPoint> {
        self.mounts.iter().rev().find(|mount| mount.at == path)
    }
}

fn parse_status(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

fn parse_mount(line: &str) -> Option<MountPoint> {
    let (before, after) = line.split_once(" - ")?;
    let mut words = before.split(' ').skip(3);
    Some(MountPoint {
        root: words.next()?.to_owned(),
        at: words.next()?.to_owned(),
        options: words.next()?.split(',').map(str::to_owned).collect(),
        kind: after.split(' ').next()?.to_owned(),
    })
}

/// Names contain single spaces and columns are two or more apart.
fn parse_limit(line: &str) -> Option<(String, (String, String))> {
    let mut columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty());
    Some((columns.next()?.to_owned(), (columns.next()?.to_owned(), columns.next()?.to_owned())))
}

/// An entry that vanishes in between is the descriptor that lists the folder.
fn links(folder: &str) -> io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(target) = fs::read_link(entry.path()) {
            let target = target.display().to_string();
            if !target.starts_with("/proc/") {
                found.insert(entry.file_name().to_string_lossy().into_owned(), target);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_report_has_what_every_kernel_prints() {
        let report = ProcessReport::of_self().unwrap();
        assert_eq!(report.numbers("Uid").len(), 4);
        assert!(report.capabilities("CapBnd").is_some());
        assert!(report.namespaces["net"].starts_with("net:["));
        assert!(report.mount_at("/").is_some());
        assert!(report.limits.contains_key("Max open files"));
    }

    #[test]
    fn a_field_that_is_not_there_reads_as_nothing() {
        let report = ProcessReport::of_self().unwrap();
        assert_eq!(report.text("NoSuchField"), "");
        assert_eq!(report.capabilities("NoSuchField"), None);
        assert!(report.numbers("NoSuchField").is_empty());
    }

    #[test]
    fn mountinfo_and_limits_lines() {
        let mount =
            parse_mount("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue").unwrap();
        assert_eq!((mount.root.as_str(), mount.at.as_str(), mount.kind.as_str()), ("/mnt1", "/mnt2", "ext3"));
        assert_eq!(mount.options, ["rw", "noatime"]);
        let (name, limits) =
            parse_limit("Max open files            1024                 4096                 files     ").unwrap();
        assert_eq!((name.as_str(), limits), ("Max open files", ("1024".into(), "4096".into())));
    }
}
