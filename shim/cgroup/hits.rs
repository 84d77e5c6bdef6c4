//! How often a container has met its limits, as the kernel counts it. containerd's metrics have no field for refused tasks.

use serde::Serialize;

use super::directory::Directory;
use super::{Cgroup, CgroupError, Version};

/// Counts since the cgroup was made; zero also where the kernel does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct LimitHits {
    /// Tasks that were not made because of `pids.max`.
    #[serde(skip_serializing_if = "is_zero")]
    pub pids_refused: u64,
    /// Periods in which the CPU quota was used up.
    #[serde(skip_serializing_if = "is_zero")]
    pub cpu_throttled_periods: u64,
    /// Microseconds that its threads had to wait for then.
    #[serde(skip_serializing_if = "is_zero")]
    pub cpu_throttled_us: u64,
    /// Times that it was slowed down above `memory.high`; v2 only.
    #[serde(skip_serializing_if = "is_zero")]
    pub memory_high: u64,
    /// Times that memory was to go beyond its limit, which reclaim may have answered; not on v1 with newer kernels.
    #[serde(skip_serializing_if = "is_zero")]
    pub memory_max: u64,
    /// Processes that the OOM killer ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub oom_kills: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl LimitHits {
    /// Whether there is anything to tell.
    #[must_use]
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

impl Cgroup {
    /// The counts. What sub-cgroups met that the container made counts for memory and tasks of v2, and for OOM kills of both versions.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Gone`] after removal, and what can't be read or understood.
    pub fn limit_hits(&self) -> Result<LimitHits, CgroupError> {
        if self.is_gone()? {
            return Err(CgroupError::Gone { path: self.path().to_path_buf() });
        }
        // Neither file tells the same in both versions: v1 has nanoseconds, and the memory limit's count in a file of its own.
        let (throttled, divisor) = match self.version() {
            Version::V1 => ("throttled_time", 1000),
            Version::V2 => ("throttled_usec", 1),
        };
        let (memory_high, memory_max) = match self.version() {
            Version::V1 => (0, self.controller("memory").map(failures).transpose()?.unwrap_or_default()),
            Version::V2 => {
                (self.count("memory", "memory.events", "high")?, self.count("memory", "memory.events", "max")?)
            }
        };
        Ok(LimitHits {
            pids_refused: self.count("pids", "pids.events", "max")?,
            cpu_throttled_periods: self.count("cpu", "cpu.stat", "nr_throttled")?,
            cpu_throttled_us: self.count("cpu", "cpu.stat", throttled)? / divisor,
            memory_high,
            memory_max,
            oom_kills: match self.oom_kills() {
                Err(CgroupError::NoController { .. }) => 0,
                kills => kills?,
            },
        })
    }

    /// The number of a line `key number`; zero without the controller, the file or the line.
    fn count(&self, controller: &str, file: &str, key: &str) -> Result<u64, CgroupError> {
        let Some(directory) = self.controller(controller) else { return Ok(0) };
        let count = directory.read(file)?.map(|file| file.value(key)).transpose()?.flatten();
        Ok(count.unwrap_or_default())
    }
}

/// How often usage has met the limit of memory, or that of memory and swap: the kernel tries the latter first, so where both are the same
/// it alone is met, and Linux 6.18 does not count that any more. Source: mm/memcontrol.c, `try_charge_memcg`.
fn failures(directory: &Directory) -> Result<u64, CgroupError> {
    let of = |file: &str| Ok(directory.number(file)?.unwrap_or_default());
    Ok(of("memory.failcnt")? + of("memory.memsw.failcnt")?)
}
