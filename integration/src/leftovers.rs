//! What a run has on the machine: counted before the first container and after the last.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Containerd, Failure, poll};

const SETTLE_SECONDS: u64 = 20;
const STAYING: [&str; 2] = ["interface palisade0", "file /run/palisade/user-namespaces.lock"];

/// Things that belong to containers and shims, each as a line of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers(BTreeSet<String>);

impl Leftovers {
    /// Counts processes of this enclosure or of this run's cgroups, mounts, cgroups, network interfaces, and every file under `/run` outside
    /// the run's own folder: sockets, fifos, bundles, runtime state.
    ///
    /// # Errors
    /// `/proc`, `/run` or `/sys/fs/cgroup` cannot be read.
    pub fn count(containerd: &Containerd) -> Result<Self, Failure> {
        let mut found = BTreeSet::new();
        found.extend(processes(containerd)?.into_iter().map(|(pid, words)| format!("process {pid} {words}")));
        lines("/proc/self/mountinfo", "mount", |line| line.split(' ').nth(4), &mut found)?;
        lines("/proc/net/dev", "interface", |line| line.split_once(':').map(|(name, _)| name.trim()), &mut found)?;
        below(Path::new("/sys/fs/cgroup"), &|path| is_container_cgroup(path, containerd.tag()), "cgroup", &mut found)?;
        let (own, bundles) = (containerd.layout().base.clone(), containerd.layout().bundles());
        below(
            Path::new("/run"),
            &|path| !path.starts_with(&own) && !path.starts_with(&bundles) && !path.is_dir() && !is_of_systemd(path),
            "file",
            &mut found,
        )?;
        below(&bundles, &|path| path.parent().and_then(Path::parent) == Some(bundles.as_path()), "bundle", &mut found)?;
        Ok(Self(found))
    }

    /// Waits until nothing is left beyond `before`; the bridge of the pod network stays with the enclosure, and the file whose bytes stand for host ids
    /// is the node's.
    ///
    /// # Errors
    /// What is still there after twenty seconds.
    pub fn settle(before: &Self, containerd: &Containerd) -> Result<(), Failure> {
        poll::eventually("an end of all leftovers", SETTLE_SECONDS, || {
            let now = Self::count(containerd).map_err(|failure| failure.to_string())?;
            let left: Vec<_> =
                now.0.difference(&before.0).filter(|line| !STAYING.contains(&line.as_str())).cloned().collect();
            if left.is_empty() { Ok(()) } else { Err(left.join("; ")) }
        })
        .map_err(|failure| match failure {
            Failure::Late { last, .. } => Failure::LeftBehind(last),
            other => other,
        })
    }
}

/// Removes the run's own, now empty, parent cgroups: the one of its name, and those whose names begin with it.
///
/// # Errors
/// One is not empty.
pub fn remove_parent_cgroups(tag: &str) -> Result<(), Failure> {
    let mut parents = BTreeSet::new();
    let is_own = |path: &Path| {
        let rest = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(tag));
        path.is_dir() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    below(Path::new("/sys/fs/cgroup"), &is_own, "", &mut parents)?;
    for parent in parents {
        let path = PathBuf::from(parent.trim());
        fs::remove_dir(&path).map_err(Failure::io("remove", &path))?;
    }
    Ok(())
}

/// A folder below the run's parent cgroup, or its slice.
fn is_container_cgroup(path: &Path, tag: &str) -> bool {
    let slice = format!("{tag}.slice");
    let is_own = |part: &std::ffi::OsStr| part == tag || part == slice.as_str();
    path.is_dir() && path.parent().is_some_and(|parent| parent.components().any(|part| is_own(part.as_os_str())))
}

/// What systemd keeps of itself, but for the units that a runtime has asked for.
fn is_of_systemd(path: &Path) -> bool {
    path.starts_with("/run/systemd") && !path.starts_with("/run/systemd/transient")
}

/// Processes that share this program's mount namespace, as shims do, or sit in one of the run's cgroups, as containers do.
fn processes(containerd: &Containerd) -> Result<Vec<(i32, String)>, Failure> {
    let own = fs::read_link("/proc/self/ns/mnt").map_err(Failure::io("read", Path::new("/proc/self/ns/mnt")))?;
    let known = [std::process::id().cast_signed(), containerd.pid().cast_signed()];
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").map_err(Failure::io("list", Path::new("/proc")))?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let ours = fs::read_link(entry.path().join("ns/mnt")).is_ok_and(|namespace| namespace == own);
        let contained =
            fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|text| text.contains(containerd.tag()));
        if (ours || contained) && !known.contains(&pid) {
            // A process that ends while it is looked at is no leftover.
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&words).replace('\0', " ")));
        }
    }
    Ok(found)
}

/// After a failed run: ends what it left, each process by its id, and removes its cgroups, so that the machine stays clean.
///
/// # Errors
/// Something still remains.
pub fn sweep(containerd: &Containerd) -> Result<(), Failure> {
    poll::eventually("an end of the swept processes", SETTLE_SECONDS, || {
        let left = processes(containerd).map_err(|failure| failure.to_string())?;
        for (pid, _) in &left {
            // It may have ended by itself meanwhile; the next round looks again.
            kill(Pid::from_raw(*pid), Signal::SIGKILL).ok();
        }
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })?;
    let mut cgroups = BTreeSet::new();
    below(Path::new("/sys/fs/cgroup"), &|path| is_container_cgroup(path, containerd.tag()), "", &mut cgroups)?;
    // The deepest come last in the order of names.
    for cgroup in cgroups.iter().rev() {
        let path = PathBuf::from(cgroup.trim());
        fs::remove_dir(&path).map_err(Failure::io("remove", &path))?;
    }
    Ok(())
}

fn lines(
    file: &str,
    kind: &str,
    field: impl Fn(&str) -> Option<&str>,
    found: &mut BTreeSet<String>,
) -> Result<(), Failure> {
    let text = fs::read_to_string(file).map_err(Failure::io("read", Path::new(file)))?;
    found.extend(text.lines().filter_map(field).map(|value| format!("{kind} {value}")));
    Ok(())
}

/// Walks a tree without following links; what vanishes meanwhile is no leftover.
fn below(root: &Path, counts: &dyn Fn(&Path) -> bool, kind: &str, found: &mut BTreeSet<String>) -> Result<(), Failure> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            if counts(&entry.path()) {
                found.insert(format!("{kind} {}", entry.path().display()));
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}
