//! The tightest CPU quota above a cgroup that does not exist yet.

use std::path::Path;

use super::locate::{self, Membership, Mount, Version};
use super::{CgroupError, Directory, proc_file};

/// The lowest CPU quota of the cgroups above `cgroups_path`, in thousandths of a CPU; `None` where there is none.
///
/// cgroup v1 refuses a child's quota that exceeds one of its ancestors', so a limit that is to be set has to be
/// below them. v2 takes any value and enforces the lower one. Source: kernel `Documentation/scheduler/sched-bwc.rst`.
///
/// # Errors
///
/// [`CgroupError`] for a path with `..`, and what can't be read or understood.
pub fn cpu_ceiling_millis(cgroups_path: &str) -> Result<Option<u64>, CgroupError> {
    let own = Membership::parse(&proc_file("/proc/self/cgroup")?)?;
    if locate::version(&own) == Version::V2 {
        return Ok(None);
    }
    let mounts = Mount::parse(&proc_file("/proc/self/mountinfo")?)?;
    let Some(cpu) = own.iter().find(|one| one.controllers.split(',').any(|name| name == "cpu")) else {
        return Ok(None);
    };
    let wanted = locate::spec_path(cgroups_path);
    let mut lowest = None;
    for ancestor in Path::new(&wanted).ancestors().skip(1) {
        let membership = Membership { controllers: cpu.controllers.clone(), path: ancestor.display().to_string() };
        let Some(place) = locate::directory(&membership, &mounts)? else { continue };
        match Directory::open(place).and_then(|directory| quota_millis(&directory)) {
            Ok(Some(millis)) => lowest = Some(lowest.map_or(millis, |known: u64| known.min(millis))),
            Ok(None) => {}
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(lowest)
}

/// A quota of -1 is none; the root cgroup has no such file.
fn quota_millis(directory: &Directory) -> Result<Option<u64>, CgroupError> {
    let Some(file) = directory.read("cpu.cfs_quota_us")? else { return Ok(None) };
    let Ok(quota) = u64::try_from(file.parsed::<i64>(file.text(), file.text())?) else { return Ok(None) };
    let period = directory.number("cpu.cfs_period_us")?.filter(|period| *period > 0);
    Ok(period.map(|period| quota.saturating_mul(1000) / period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_above_is_the_ceiling() {
        let top = format!("/sys/fs/cgroup/cpu/palisade-ceiling-{}", std::process::id());
        if !Path::new("/sys/fs/cgroup/cpu").exists() {
            // Pure v2: there is no such refusal, and so no ceiling.
            assert_eq!(cpu_ceiling_millis("/a/b").unwrap(), None);
            return;
        }
        std::fs::create_dir(&top).unwrap();
        std::fs::write(format!("{top}/cpu.cfs_quota_us"), "150000").unwrap();
        let found = cpu_ceiling_millis(&format!("/{}/pod/c1", Path::new(&top).file_name().unwrap().to_str().unwrap()));
        std::fs::remove_dir(&top).unwrap();
        assert_eq!(found.unwrap(), Some(1500));
        assert_eq!(cpu_ceiling_millis("/a/b").unwrap(), None);
    }

    #[test]
    fn a_path_that_climbs_is_refused() {
        let own = Membership::parse(&proc_file("/proc/self/cgroup").unwrap()).unwrap();
        if locate::version(&own) == Version::V1 {
            assert!(matches!(cpu_ceiling_millis("/a/../../b/c"), Err(CgroupError::OutOfReach { .. })));
        }
    }
}
