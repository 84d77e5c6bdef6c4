//! Writing `linux.resources` into a cgroup that exists, for `Update`: with runc's meaning of each field.
//!
//! Fields that are absent, and zeros where runc takes zero for absent, leave the kernel's value as it is. A field that
//! this kernel or hierarchy cannot enforce is an error; only two tunings that bound nothing are left out where they
//! do not exist: `memory.swappiness` on v2 and `memory.kernel`, obsolete since Linux 5.4. Device rules are not touched: an update
//! request repeats the container's own, and loosening them is no update.

mod v1;
mod v2;
pub(super) use v2::{io_weight, weight_of_shares};

use oci_spec::runtime::{LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::directory::Directory;
use super::{Cgroup, CgroupError, Version};

impl Cgroup {
    /// Applies memory, CPU, cpuset, pids, block I/O, huge page and RDMA limits, and on v2 the `unified` map last, so that it wins.
    ///
    /// * `-1` is no limit. `memory.swap` is memory plus swap, as the OCI spec has it; v2 gets the difference.
    /// * CPU shares become `cpu.weight` with the curve that runc (from 1.4) and the embedded runtime use: 2 → 1, 1024 → 100, 262144 → 10000.
    /// * A quota without a period keeps the period in force, and the other way round.
    /// * Where two limits bound each other (memory and memsw; quota, period and burst) the order that the kernel
    ///   accepts is found, for raising and for lowering.
    /// * With `memory.checkBeforeUpdate` a memory limit below the usage is refused rather than enforced by the OOM killer.
    ///
    /// Under systemd's cgroup driver a `systemctl daemon-reload` may write the unit's own limits back.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Refused`] for a value or field that means nothing here, [`CgroupError::NoController`] or
    /// [`CgroupError::NoSuchLimit`] where the kernel cannot enforce it, [`CgroupError::Io`] where it says no. What was
    /// written before the error stays written.
    pub fn apply(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        if resources.network().as_ref().is_some_and(|it| it.class_id().is_some() || it.priorities().is_some()) {
            return Err(CgroupError::Refused {
                field: "network",
                value: "classID or priorities".to_owned(),
                allowed: "absent; network classes cannot be updated",
            });
        }
        match self.version() {
            Version::V1 => v1::apply(self, resources),
            Version::V2 => v2::apply(self.unified()?, resources),
        }
    }
}

impl Cgroup {
    /// Refuses a memory limit below what is in use, where `memory.checkBeforeUpdate` asks for that. [`Cgroup::apply`] does it too; this is
    /// for whoever has somebody else write limits before.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Refused`], and what can't be read.
    pub fn refuse_below_usage(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let Some(memory) = resources.memory() else { return Ok(()) };
        match self.version() {
            Version::V1 => check_usage(self.required("memory")?, memory, "memory.usage_in_bytes"),
            Version::V2 => check_usage(self.unified()?, memory, "memory.current"),
        }
    }

    /// The CPU quota and its period in microseconds; `None` without a quota, or on v1.
    ///
    /// # Errors
    ///
    /// What can't be read or understood.
    pub fn cpu_quota(&self) -> Result<Option<(i64, u64)>, CgroupError> {
        let file = match self.version() {
            Version::V1 => None,
            Version::V2 => self.unified()?.read("cpu.max")?,
        };
        let Some(file) = file else { return Ok(None) };
        match file.text().split_once(' ') {
            Some(("max", _)) => Ok(None),
            Some((quota, period)) => Ok(Some((file.parsed(quota, file.text())?, file.parsed(period, file.text())?))),
            None => Err(file.malformed(file.text())),
        }
    }
}

/// A file and the text to write into it.
type Setting = (String, String);

/// Writes settings that bound each other. The kernel answers EINVAL to one that the others do not permit yet; it is tried
/// again after those, until all are written or a whole pass changes nothing.
fn settle(directory: &Directory, settings: Vec<Setting>) -> Result<(), CgroupError> {
    let mut pending = settings;
    while !pending.is_empty() {
        let before = pending.len();
        let mut refused = Vec::new();
        let mut refusal = None;
        for (name, value) in pending {
            match directory.write(&name, &value) {
                Err(error) if error.is_invalid_argument() => {
                    refusal.get_or_insert(error);
                    refused.push((name, value));
                }
                written => written?,
            }
        }
        if let Some(refusal) = refusal.filter(|_| refused.len() == before) {
            return Err(refusal);
        }
        pending = refused;
    }
    Ok(())
}

/// Memory and memory plus swap, in bytes; `None` keeps the kernel's value, -1 is no limit.
struct MemoryLimits {
    memory: Option<i64>,
    with_swap: Option<i64>,
}

impl MemoryLimits {
    fn of(memory: &LinuxMemory) -> Result<Self, CgroupError> {
        let given = |value: Option<i64>| value.filter(|value| *value != 0);
        let limit = at_least_unlimited("memory.limit", given(memory.limit()))?;
        let swap = at_least_unlimited("memory.swap", given(memory.swap()))?;
        // Without a memory limit a limit on the sum would be one: lifting the former lifts the latter.
        let swap = if limit == Some(-1) { swap.or(Some(-1)) } else { swap };
        if let (Some(limit), Some(sum)) = (limit, swap)
            && sum != -1
            && (sum < limit || limit == -1)
        {
            return Err(CgroupError::Refused {
                field: "memory.swap",
                value: sum.to_string(),
                allowed: "-1, or memory plus swap: at least memory.limit",
            });
        }
        Ok(Self { memory: limit, with_swap: swap })
    }
}

/// With `checkBeforeUpdate`, refuses a limit below what is in use.
fn check_usage(directory: &Directory, memory: &LinuxMemory, usage_file: &str) -> Result<(), CgroupError> {
    let Some(limit) = memory.limit().filter(|limit| *limit > 0) else {
        return Ok(());
    };
    if memory.check_before_update() != Some(true) {
        return Ok(());
    }
    match directory.number(usage_file)? {
        Some(usage) if usage > limit.unsigned_abs() => Err(CgroupError::Refused {
            field: "memory.limit",
            value: limit.to_string(),
            allowed: "at least the memory in use, as checkBeforeUpdate asks",
        }),
        _ => Ok(()),
    }
}

fn at_least_unlimited(field: &'static str, value: Option<i64>) -> Result<Option<i64>, CgroupError> {
    match value {
        Some(value) if value < -1 => {
            Err(CgroupError::Refused { field, value: value.to_string(), allowed: "-1 (no limit), or bytes" })
        }
        value => Ok(value),
    }
}

/// `max` for no limit, where a file wants the word.
fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// The name of a hugetlb file; the page size comes from the spec and becomes part of a path.
fn hugetlb_file(page_size: &str, suffix: &str) -> Result<String, CgroupError> {
    if page_size.is_empty() || !page_size.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(CgroupError::Refused {
            field: "hugepageLimits.pageSize",
            value: page_size.to_owned(),
            allowed: "a size such as 2MB or 1GB",
        });
    }
    Ok(format!("hugetlb.{page_size}.{suffix}"))
}

fn rdma(directory: &Directory, resources: &LinuxResources) -> Result<(), CgroupError> {
    let mut devices: Vec<_> = resources.rdma().iter().flatten().collect();
    devices.sort_by_key(|(device, _)| *device);
    for (device, limits) in devices {
        if device.is_empty() || device.contains(char::is_whitespace) {
            return Err(CgroupError::Refused {
                field: "rdma",
                value: device.clone(),
                allowed: "the name of an RDMA device",
            });
        }
        let mut line = device.clone();
        for (key, value) in [("hca_handle", limits.hca_handles()), ("hca_object", limits.hca_objects())] {
            if let Some(value) = value {
                line.push_str(&format!(" {key}={value}"));
            }
        }
        directory.write("rdma.max", &line)?;
    }
    Ok(())
}

/// The four kinds of throttled devices with the name of their v1 file and their v2 key.
pub(super) fn throttles(
    resources: &LinuxResources,
) -> impl Iterator<Item = (&'static str, &'static str, &LinuxThrottleDevice)> {
    let block_io = resources.block_io().as_ref();
    [
        ("read_bps_device", "rbps", block_io.and_then(|it| it.throttle_read_bps_device().as_ref())),
        ("write_bps_device", "wbps", block_io.and_then(|it| it.throttle_write_bps_device().as_ref())),
        ("read_iops_device", "riops", block_io.and_then(|it| it.throttle_read_iops_device().as_ref())),
        ("write_iops_device", "wiops", block_io.and_then(|it| it.throttle_write_iops_device().as_ref())),
    ]
    .into_iter()
    .flat_map(|(file, key, devices)| devices.into_iter().flatten().map(move |device| (file, key, device)))
}

/// Refuses leaf weights, which went with the CFQ scheduler in Linux 5.0.
fn refuse_leaf_weights(resources: &LinuxResources) -> Result<(), CgroupError> {
    let Some(block_io) = resources.block_io() else {
        return Ok(());
    };
    let devices = block_io.weight_device().iter().flatten();
    let leaf = devices.filter_map(|device| device.leaf_weight()).chain(block_io.leaf_weight()).find(|it| *it != 0);
    match leaf {
        Some(weight) => Err(CgroupError::Refused {
            field: "blockIO.leafWeight",
            value: weight.to_string(),
            allowed: "absent; no kernel since 5.0 has it",
        }),
        None => Ok(()),
    }
}
