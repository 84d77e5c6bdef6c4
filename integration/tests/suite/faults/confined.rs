//! A shim, and what it starts, under limits of the kernel's: descriptors, processes, memory.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use palisade_integration::{cgroup, poll};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::Check;

/// Limits how many descriptors a process may have open; what it had before.
pub(super) fn limit_descriptors(pid: u32, most: u64) -> Result<Rlimit, Failed> {
    let limit = Rlimit { current: Some(most), maximum: hard_limit(pid)? };
    Ok(prlimit(Pid::from_raw(i32::try_from(pid)?), Resource::Nofile, limit)?)
}

/// Gives a process a limit of before back.
pub(super) fn restore_descriptors(pid: u32, before: Rlimit) -> Check {
    prlimit(Pid::from_raw(i32::try_from(pid)?), Resource::Nofile, before)?;
    Ok(())
}

/// As the kernel lists it; `None` is no limit.
fn hard_limit(pid: u32) -> Result<Option<u64>, Failed> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = text.lines().find(|line| line.starts_with("Max open files")).ok_or("no limit of open files")?;
    Ok(line.split_whitespace().nth(4).and_then(|word| word.parse().ok()))
}

/// The lowest number that a process has no descriptor of: with this as the limit it can open none.
pub(super) fn lowest_free(pid: u32) -> Result<u64, Failed> {
    let folder = PathBuf::from(format!("/proc/{pid}/fd"));
    Ok((0..).find(|number: &u64| fs::symlink_metadata(folder.join(number.to_string())).is_err()).unwrap_or_default())
}

/// How many descriptors a shim has open once the listener of its container's init has come, which is after the answer to the start.
pub(super) fn settled_descriptors(pid: u32) -> Result<u64, Failed> {
    palisade_integration::poll::eventually("the listener of the container's filter", 20, || {
        let listing = fs::read_dir(format!("/proc/{pid}/fd")).map_err(|error| error.to_string())?;
        let mut links = listing.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        let found = links.any(|link| link.as_os_str() == "anon_inode:seccomp notify");
        if found { Ok(()) } else { Err("none".to_owned()) }
    })?;
    descriptors(pid)
}

/// How many descriptors a process has open.
pub(super) fn descriptors(pid: u32) -> Result<u64, Failed> {
    Ok(u64::try_from(fs::read_dir(format!("/proc/{pid}/fd"))?.count())?)
}

/// A cgroup that a shim alone is put into. Its runtimes start there; containers have cgroups of their own.
pub(super) struct Confinement {
    folder: PathBuf,
}

impl Confinement {
    /// Makes one for a controller.
    pub(super) fn make(controller: &str) -> Result<Self, Failed> {
        let root = Path::new("/sys/fs/cgroup");
        let name = format!("palisade-fault-{}", std::process::id());
        let folder = if cgroup::is_unified() {
            fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"))?;
            root.join(name)
        } else {
            root.join(controller).join(name)
        };
        fs::create_dir(&folder)?;
        Ok(Self { folder })
    }

    /// Puts a process in.
    pub(super) fn take(&self, pid: u32) -> Check {
        Ok(fs::write(self.folder.join("cgroup.procs"), pid.to_string())?)
    }

    /// Writes a limit by its name on v1 or on v2.
    pub(super) fn limit(&self, v1: &str, v2: &str, value: &str) -> Check {
        let name = if cgroup::is_unified() { v2 } else { v1 };
        Ok(fs::write(self.folder.join(name), value)?)
    }

    /// Reads a number by its name on v1 or on v2.
    pub(super) fn number(&self, v1: &str, v2: &str) -> Result<u64, Failed> {
        let name = if cgroup::is_unified() { v2 } else { v1 };
        Ok(fs::read_to_string(self.folder.join(name))?.trim().parse()?)
    }

    /// Removes it once the shim has ended.
    pub(super) fn remove(self) -> Check {
        poll::eventually("an end of all processes of the test's cgroup", 20, || {
            fs::remove_dir(&self.folder).map_err(|error| error.to_string())
        })?;
        Ok(())
    }
}

impl Drop for Confinement {
    /// For a test that failed: what is in it goes to the cgroup above.
    fn drop(&mut self) {
        let Ok(pids) = fs::read_to_string(self.folder.join("cgroup.procs")) else { return };
        for pid in pids.lines() {
            fs::write(self.folder.join("../cgroup.procs"), pid).ok();
        }
        fs::remove_dir(&self.folder).ok();
    }
}
