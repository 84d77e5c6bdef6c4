//! What a cgroup uses of memory and processes, and how much it may.

use std::fs;
use std::sync::OnceLock;

use super::directory::Directory;
use super::locate::{self, Membership};
use super::{Cgroup, CgroupError, Version, mounted, proc_file};

/// Of one resource; `None` where the kernel does not say, or there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// In use now.
    pub used: Option<u64>,
    /// At most.
    pub limit: Option<u64>,
}

/// Whether cgroup v2 limits swap here, as the shim's own cgroup shows.
///
/// # Errors
///
/// [`CgroupError`]: that can't be told.
pub fn has_swap_file() -> Result<bool, CgroupError> {
    let own = Membership::parse(&proc_file("/proc/self/cgroup")?)?;
    let unified = own.iter().find(|one| one.controllers.is_empty() && locate::version(&own) == Version::V2);
    let place = unified.map(|one| locate::directory(one, mounted()?)).transpose()?.flatten();
    place.map_or(Ok(false), |place| Ok(Directory::open(place)?.has("memory.swap.max")))
}

/// Whether cgroup v2 has the limits here, as the shim's own cgroup shows. It stays so as long as the machine runs.
///
/// # Errors
///
/// [`CgroupError`]: that can't be told. A guess would hold the container to the other version's limits.
pub fn is_unified() -> Result<bool, CgroupError> {
    static UNIFIED: OnceLock<bool> = OnceLock::new();
    is_unified_by(&UNIFIED, || proc_file("/proc/self/cgroup"))
}

/// What could not be read once is read again.
fn is_unified_by(
    known: &OnceLock<bool>,
    read: impl FnOnce() -> Result<String, CgroupError>,
) -> Result<bool, CgroupError> {
    if let Some(unified) = known.get() {
        return Ok(*unified);
    }
    let unified = locate::version(&Membership::parse(&read()?)?) == Version::V2;
    Ok(*known.get_or_init(|| unified))
}

/// The sizes of huge pages that the kernel has, as OCI and the controller's files name them: `2MB`, `1GB`. They are settled at boot.
#[must_use]
pub fn huge_page_sizes() -> &'static [String] {
    static SIZES: OnceLock<Vec<String>> = OnceLock::new();
    SIZES.get_or_init(|| {
        let entries = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
        let mut sizes: Vec<u64> = entries.filter_map(|entry| kibibytes(entry.file_name().to_str()?)).collect();
        sizes.sort_unstable();
        sizes.into_iter().map(size_name).collect()
    })
}

/// Of `hugepages-2048kB`. Source: kernel `Documentation/ABI/testing/sysfs-kernel-mm-hugepages`.
fn kibibytes(name: &str) -> Option<u64> {
    name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()
}

/// As the kernel's `mem_fmt` in mm/hugetlb_cgroup.c.
fn size_name(kibibytes: u64) -> String {
    match kibibytes {
        0x10_0000.. => format!("{}GB", kibibytes >> 20),
        0x400.. => format!("{}MB", kibibytes >> 10),
        _ => format!("{kibibytes}KB"),
    }
}

/// Above any memory: v1's way to say that there is no limit.
const UNLIMITED: u64 = 1 << 62;

impl Cgroup {
    /// Memory, in bytes.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    pub fn memory_usage(&self) -> Result<Usage, CgroupError> {
        match self.version {
            Version::V1 => self.usage("memory", "memory.usage_in_bytes", "memory.limit_in_bytes"),
            Version::V2 => self.usage("memory", "memory.current", "memory.max"),
        }
    }

    /// Processes and threads.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    pub fn pids_usage(&self) -> Result<Usage, CgroupError> {
        self.usage("pids", "pids.current", "pids.max")
    }

    fn usage(&self, controller: &str, used: &str, limit: &str) -> Result<Usage, CgroupError> {
        let Some(directory) = self.controller(controller) else { return Ok(Usage::default()) };
        let limit = directory.limit(limit, u64::MAX)?.filter(|limit| *limit < UNLIMITED);
        Ok(Usage { used: directory.number(used)?, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_can_not_be_told_is_an_error_and_is_asked_again() {
        let known = OnceLock::new();
        let unreadable = || {
            Err(CgroupError::io(
                "read",
                "/proc/self/cgroup",
                std::io::Error::from(std::io::ErrorKind::PermissionDenied),
            ))
        };
        assert!(is_unified_by(&known, unreadable).is_err());
        assert!(is_unified_by(&known, || Ok("nonsense".to_owned())).is_err());
        assert!(is_unified_by(&known, || Ok("0::/a\n".to_owned())).unwrap());
        assert!(is_unified_by(&known, unreadable).unwrap(), "it stays so");
    }

    #[test]
    fn sizes_are_named_as_the_kernel_names_its_files() {
        let name = |entry: &str| kibibytes(entry).map(size_name);
        assert_eq!(name("hugepages-64kB").as_deref(), Some("64KB"));
        assert_eq!(name("hugepages-2048kB").as_deref(), Some("2MB"));
        assert_eq!(name("hugepages-524288kB").as_deref(), Some("512MB"));
        assert_eq!(name("hugepages-1048576kB").as_deref(), Some("1GB"));
        assert_eq!(name("hugepages-xkB"), None);
    }
}
