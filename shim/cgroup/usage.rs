//! What a cgroup uses of memory and processes, and how much it may.

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

/// Whether cgroup v2 limits swap here, as the shim's own cgroup shows. What can't be looked at has no such file.
#[must_use]
pub fn has_swap_file() -> bool {
    let looked = || -> Result<bool, CgroupError> {
        let own = Membership::parse(&proc_file("/proc/self/cgroup")?)?;
        let unified = own.iter().find(|one| one.controllers.is_empty() && locate::version(&own) == Version::V2);
        let place = unified.map(|one| locate::directory(one, mounted()?)).transpose()?.flatten();
        place.map_or(Ok(false), |place| Ok(Directory::open(place)?.has("memory.swap.max")))
    };
    looked().unwrap_or(false)
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
