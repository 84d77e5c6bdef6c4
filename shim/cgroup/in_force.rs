//! Reading limits back: whether what `linux.resources` says is what the kernel has.
//!
//! A file that is missing is a limit that is not in force. Only where the kernel has less to limit is that no difference: swap on a
//! machine without any.

mod v1;
mod v2;

use std::collections::BTreeSet;

use oci_spec::runtime::{LinuxHugepageLimit, LinuxResources, LinuxThrottleDevice};

use super::directory::Directory;
use super::{Cgroup, CgroupError, Version};
use crate::unsafe_syscalls;

/// One limit that is not as decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitDifference {
    /// The cgroup's file.
    pub file: String,
    /// What was decided, as that file would have it.
    pub decided: String,
    /// What it has.
    pub found: String,
}

/// What a cgroup says of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceFilter {
    /// v1: `devices.list`, line by line.
    Rules(Vec<String>),
    /// v2: how many programs are attached.
    Programs(usize),
}

impl Cgroup {
    /// The limits of `resources` that are not in force.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    pub fn differences(&self, resources: &LinuxResources) -> Result<Vec<LimitDifference>, CgroupError> {
        let mut limits = Vec::new();
        match self.version {
            Version::V1 => v1::limits(resources, &mut limits),
            Version::V2 => v2::limits(resources, self.is_systemds(), &mut limits),
        }
        let mut differences = Vec::new();
        for limit in limits {
            let directory =
                self.controller(limit.controller).ok_or(CgroupError::NoController { controller: limit.controller });
            // The controller is missing where its file is.
            let limit = match directory {
                Ok(directory) => limit.where_it_is(directory)?,
                Err(_) => limit,
            };
            let found = directory.ok().map(|directory| limit.text(directory)).transpose()?.flatten();
            if let Some(difference) = limit.difference(found) {
                differences.push(difference);
            }
        }
        Ok(differences)
    }

    /// Whether systemd keeps it, or one above it: a unit that takes processes which others have made.
    fn is_systemds(&self) -> bool {
        self.path().components().any(|one| one.as_os_str().as_encoded_bytes().ends_with(b".scope"))
    }

    /// What the kernel filters devices by.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    pub fn device_filter(&self) -> Result<DeviceFilter, CgroupError> {
        match self.version {
            Version::V1 => {
                let directory = self.required("devices")?;
                let path = || directory.path().join("devices.list");
                let list = directory.read("devices.list")?.ok_or_else(|| CgroupError::NoSuchLimit { path: path() })?;
                Ok(DeviceFilter::Rules(list.text().lines().map(str::to_owned).collect()))
            }
            Version::V2 => {
                let directory = self.unified()?;
                let readable = directory.for_reading()?;
                let programs = unsafe_syscalls::count_device_programs(readable);
                programs.map(DeviceFilter::Programs).map_err(|source| {
                    CgroupError::io("read the device programs of", directory.path().to_owned(), source)
                })
            }
        }
    }
}

/// A value that a file must have.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    /// A number; `None` is no limit.
    Number(Option<u64>),
    /// Bytes, which the kernel rounds down to whole pages.
    Bytes(Option<u64>),
    /// One of these numbers: runtimes convert differently.
    OneOf(BTreeSet<u64>),
    /// Words in this order.
    Words(String),
    /// A list of CPUs or memory nodes.
    List(String),
    /// One of the lines.
    Line(String),
    /// The first word of the only line.
    First(String),
    /// A word of the line that begins with a device's numbers.
    OfDevice { device: String, word: String },
}

/// A limit, its controller by v1's name, and the file.
#[derive(Debug)]
pub(super) struct Limit {
    controller: &'static str,
    file: String,
    value: Value,
    /// No difference where the kernel has no such file.
    optional: bool,
    /// What counts where the kernel has no such file.
    instead: Option<Box<Limit>>,
}

/// Where v1 keeps "no limit" of bytes: above any memory. It is the kernel's `PAGE_COUNTER_MAX`, of huge pages rounded down to whole ones,
/// which are 16 GiB at most.
const UNLIMITED_BYTES: u64 = i64::MAX.unsigned_abs() & !((1 << 34) - 1);

impl Limit {
    pub(super) fn new(controller: &'static str, file: impl Into<String>, value: Value) -> Self {
        Self { controller, file: file.into(), value, optional: false, instead: None }
    }

    /// Nothing is limited less where the kernel lacks it.
    pub(super) fn optional_if(self, optional: bool) -> Self {
        Self { optional, ..self }
    }

    /// Where the kernel has no such file, `other` counts.
    pub(super) fn or(self, other: Self) -> Self {
        Self { instead: Some(Box::new(other)), ..self }
    }

    fn where_it_is(self, directory: &Directory) -> Result<Self, CgroupError> {
        match self.instead {
            Some(other) if directory.read(&self.file)?.is_none() => Ok(*other),
            instead => Ok(Self { instead, ..self }),
        }
    }

    fn text(&self, directory: &Directory) -> Result<Option<String>, CgroupError> {
        Ok(directory.read(&self.file)?.map(|file| file.text().to_owned()))
    }

    fn difference(self, found: Option<String>) -> Option<LimitDifference> {
        let holds = found.as_ref().map_or(self.optional, |found| self.value.is(found));
        let found = found.unwrap_or_else(|| "no such file".into());
        (!holds).then(|| LimitDifference { decided: self.value.text(), file: self.file, found })
    }
}

impl Value {
    /// -1 is no limit.
    pub(super) fn number(value: i64) -> Self {
        Self::Number(u64::try_from(value).ok())
    }

    pub(super) fn bytes(value: i64) -> Self {
        Self::Bytes(u64::try_from(value).ok())
    }

    fn is(&self, found: &str) -> bool {
        let number = || found.parse::<u64>().ok();
        let is_unlimited =
            || found == "max" || found == "-1" || number().is_some_and(|number| number >= UNLIMITED_BYTES);
        match self {
            Self::Number(None) | Self::Bytes(None) => is_unlimited(),
            Self::Number(Some(wanted)) => number() == Some(*wanted),
            // More than the kernel counts is no limit.
            Self::Bytes(Some(wanted)) => {
                number() == Some(wanted & !(page_size() - 1)) || *wanted >= UNLIMITED_BYTES && is_unlimited()
            }
            Self::OneOf(wanted) => number().is_some_and(|number| wanted.contains(&number)),
            Self::Words(wanted) => found.split_whitespace().eq(wanted.split_whitespace()),
            Self::List(wanted) => numbers(wanted).is_some_and(|wanted| numbers(found) == Some(wanted)),
            Self::Line(wanted) => found.lines().any(|line| line.split_whitespace().eq(wanted.split_whitespace())),
            Self::First(wanted) => found.split_whitespace().next() == Some(wanted),
            Self::OfDevice { device, word } => found.lines().any(|line| {
                let mut words = line.split_whitespace();
                words.next() == Some(device) && words.any(|one| one == word)
            }),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Number(None) | Self::Bytes(None) => "no limit".into(),
            Self::Number(Some(number)) | Self::Bytes(Some(number)) => number.to_string(),
            Self::OneOf(numbers) => numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" or "),
            Self::Words(text) | Self::List(text) | Self::Line(text) | Self::First(text) => text.clone(),
            Self::OfDevice { device, word } => format!("{device} {word}"),
        }
    }
}

fn page_size() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

/// `0-2,7`, ordered.
fn numbers(list: &str) -> Option<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        numbers.extend(first..=last.min(first.saturating_add(1 << 16)));
    }
    Some(numbers)
}

/// Whether the machine swaps at all.
fn has_swap() -> bool {
    std::fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1)
}

/// A limit of huge pages, which the kernel rounds down to whole ones.
fn hugetlb(page: &LinuxHugepageLimit, suffix: &str) -> Limit {
    let limit = match huge_page_bytes(page.page_size()) {
        Some(bytes) if page.limit() > 0 => page.limit() - page.limit() % bytes,
        _ => page.limit(),
    };
    Limit::new("hugetlb", format!("hugetlb.{}.{suffix}", page.page_size()), Value::bytes(limit))
}

/// `64KB`, `2MB`, `1GB`, as the kernel names its files.
fn huge_page_bytes(name: &str) -> Option<i64> {
    let (digits, unit) = name.split_at(name.find(|character: char| !character.is_ascii_digit())?);
    let shift = match unit {
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        _ => return None,
    };
    digits.parse::<i64>().ok().filter(|number| *number > 0)?.checked_mul(1 << shift)
}

/// The devices whose use is throttled, with the name of their v1 file, their v2 key and their rate. Zero is no limit, and the kernel lists
/// none.
fn throttles(resources: &LinuxResources) -> impl Iterator<Item = (&'static str, &'static str, &LinuxThrottleDevice)> {
    super::apply::throttles(resources).filter(|(_, _, device)| device.rate() != 0)
}

/// A device's numbers as the kernel writes them.
fn numbers_of(device: &LinuxThrottleDevice) -> String {
    format!("{}:{}", device.major(), device.minor())
}

/// The weight of all disks, where there is one.
fn weight_of_all(resources: &LinuxResources) -> Option<u64> {
    let weight = resources.block_io().as_ref()?.weight();
    weight.filter(|weight| *weight != 0).map(u64::from)
}

/// The disks with a weight of their own, as the kernel writes such a line.
fn weights_of_disks(resources: &LinuxResources) -> impl Iterator<Item = Value> {
    let devices = resources.block_io().as_ref().and_then(|block_io| block_io.weight_device().as_ref());
    devices.into_iter().flatten().filter_map(|device| {
        let weight = device.weight().filter(|weight| *weight != 0)?;
        Some(Value::Line(format!("{}:{} {weight}", device.major(), device.minor())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_as_the_kernel_rounds_them() {
        assert!(Value::bytes(4097).is("4096") && !Value::bytes(8192).is("4096"));
        assert!(
            Value::bytes(-1).is("9223372036854771712")
                && Value::bytes(-1).is("9223372036852678656")
                && Value::bytes(-1).is("9223372035781033984")
                && Value::number(-1).is("max")
                && Value::number(-1).is("-1")
        );
        assert!(!Value::bytes(4096).is("max") && !Value::number(7).is("max"));
        assert!(Value::List("0-2".into()).is("0,1-2") && !Value::List("0".into()).is("0-1"));
        assert!(!Value::List("x".into()).is("x"));
        assert!(Value::Words("50000 100000".into()).is("50000 100000") && !Value::Words("max 1".into()).is("2 1"));
        assert!(Value::Line("8:0 7".into()).is("7:0 1\n8:0 7"));
        assert!(Value::First("5000".into()).is("5000 100000") && !Value::First("5000".into()).is("50000 5000"));
        let rate = |device: &str, word: &str| Value::OfDevice { device: device.into(), word: word.into() };
        let file = "7:0 rbps=9 wbps=max riops=max wiops=max\n8:0 rbps=7 wbps=max riops=max wiops=2";
        assert!(rate("8:0", "rbps=7").is(file) && rate("8:0", "wiops=2").is(file));
        assert!(!rate("7:0", "rbps=7").is(file) && !rate("8:1", "rbps=7").is(file) && !rate("8:0", "rbps=7").is(""));
    }

    #[test]
    fn a_missing_file_is_a_limit_that_is_not_there() {
        let limit = || Limit::new("memory", "memory.max", Value::bytes(4096));
        assert_eq!(limit().difference(None).unwrap().found, "no such file");
        assert_eq!(limit().optional_if(true).difference(None), None);
        assert_eq!(limit().optional_if(true).difference(Some("8192".into())).unwrap().found, "8192");
    }

    fn of_v2(resources: &LinuxResources, limits: &mut Vec<Limit>) {
        v2::limits(resources, false, limits);
    }

    fn files(resources: &str, limits: fn(&LinuxResources, &mut Vec<Limit>)) -> Vec<(String, String)> {
        let mut all = Vec::new();
        limits(&serde_json::from_str(resources).unwrap(), &mut all);
        all.into_iter().map(|limit| (limit.file, limit.value.text())).collect()
    }

    const RESOURCES: &str = r#"{"cpu":{"period":100000,"quota":50000,"shares":256,"cpus":"0-1"},
        "memory":{"limit":8192,"swap":8192,"reservation":4096},"pids":{"limit":-1},
        "hugepageLimits":[{"pageSize":"2MB","limit":3145728},{"pageSize":"1GB","limit":-1}],
        "blockIO":{"weight":300,"weightDevice":[{"major":8,"minor":16,"weight":50}],"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":7}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":0},{"major":9,"minor":1,"rate":2}]}}"#;

    #[test]
    fn every_limit_has_its_file_of_v1() {
        let expected = [
            ("memory.limit_in_bytes", "8192"),
            ("memory.memsw.limit_in_bytes", "8192"),
            ("memory.soft_limit_in_bytes", "4096"),
            ("cpu.cfs_period_us", "100000"),
            ("cpu.cfs_quota_us", "50000"),
            ("cpu.shares", "256"),
            ("cpuset.cpus", "0-1"),
            ("pids.max", "no limit"),
            ("hugetlb.2MB.limit_in_bytes", "2097152"),
            ("hugetlb.1GB.limit_in_bytes", "no limit"),
            ("blkio.bfq.weight", "300"),
            ("blkio.bfq.weight_device", "8:16 50"),
            ("blkio.throttle.read_bps_device", "8:0 7"),
            ("blkio.throttle.write_iops_device", "9:1 2"),
        ];
        assert_eq!(files(RESOURCES, v1::limits), expected.map(|(file, value)| (file.to_owned(), value.to_owned())));
    }

    #[test]
    fn every_limit_has_its_file_of_v2() {
        let expected = [
            ("memory.max", "8192"),
            ("memory.swap.max", "0"),
            ("memory.low", "4096"),
            ("cpu.max", "50000 100000"),
            ("cpu.weight", "10 or 35"),
            ("cpuset.cpus", "0-1"),
            ("pids.max", "no limit"),
            ("hugetlb.2MB.max", "2097152"),
            ("hugetlb.1GB.max", "no limit"),
            ("io.bfq.weight", "default 300"),
            ("io.bfq.weight", "8:16 50"),
            ("io.max", "8:0 rbps=7"),
            ("io.max", "9:1 wiops=2"),
        ];
        assert_eq!(files(RESOURCES, of_v2), expected.map(|(file, value)| (file.to_owned(), value.to_owned())));
    }

    /// What `unified` says, and what the kernel's file has then.
    const UNIFIED: [(&str, &str, &str); 10] = [
        ("memory.zswap.writeback", "1", "1"),
        ("memory.high", "4097", "4096"),
        ("cpu.max", "50000", "50000 100000"),
        ("cpu.max", "max", "max 100000"),
        ("cpu.max", "max 50000", "max 50000"),
        ("cpu.weight.nice", "-5", "-5"),
        ("io.weight", "50", "default 50"),
        ("io.max", "8:0 wiops=3 rbps=max", "8:0 rbps=max wbps=max riops=max wiops=3"),
        ("cpuset.cpus", "0,1", "0-1"),
        ("pids.max", "max", "max"),
    ];

    #[test]
    fn what_unified_says_is_read_as_the_kernel_shows_it() {
        for (file, written, shown) in UNIFIED {
            let mut limits = Vec::new();
            let resources = serde_json::json!({ "unified": { file: written } });
            v2::limits(&serde_json::from_value(resources).unwrap(), false, &mut limits);
            assert!(!limits.is_empty(), "{file}");
            for limit in limits {
                assert_eq!(limit.difference(Some(shown.to_owned())), None, "{file} {written:?}");
            }
        }
    }

    /// systemd before version 253 writes its own over it.
    #[test]
    fn who_is_killed_counts_where_systemd_keeps_nothing() {
        let resources = r#"{"unified":{"memory.oom.group":"1"}}"#;
        assert_eq!(files(resources, of_v2), [("memory.oom.group".to_owned(), "1".to_owned())]);
        assert_eq!(files(resources, |resources, limits| v2::limits(resources, true, limits)), []);
    }

    #[test]
    fn what_unified_says_of_one_rate_of_a_disk_takes_the_place_of_that_one() {
        let resources = r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":7},{"major":9,"minor":0,"rate":6}],
            "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":5}]},"unified":{"io.max":"8:0 rbps=3"}}"#;
        let expected = ["9:0 rbps=6", "8:0 wbps=5", "8:0 rbps=3"];
        assert_eq!(files(resources, of_v2), expected.map(|value| ("io.max".to_owned(), value.to_owned())));
    }

    #[test]
    fn the_weight_of_the_other_scheduler_counts_where_the_first_has_no_file() {
        let mut limits = Vec::new();
        let resources = serde_json::json!({ "blockIO": { "weight": 500 } });
        v2::limits(&serde_json::from_value(resources).unwrap(), false, &mut limits);
        let [limit] = <[Limit; 1]>::try_from(limits).unwrap();
        let other = limit.instead.unwrap();
        assert_eq!((other.file.as_str(), &other.value), ("io.weight", &Value::Line("default 4950".into())));
        assert!(other.value.is("default 4950\n8:0 7") && !other.value.is("default 100"));
    }

    #[test]
    fn what_unified_says_of_a_weight_takes_the_place_of_shares() {
        for file in ["cpu.weight", "cpu.weight.nice", "cpu.idle"] {
            let resources = format!(r#"{{"cpu":{{"shares":256}},"unified":{{"{file}":"1"}}}}"#);
            assert_eq!(files(&resources, of_v2), [(file.to_owned(), "1".to_owned())]);
        }
    }
}
