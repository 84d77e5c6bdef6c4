//! The limits that a profile has only where an admin gives them.

use std::collections::BTreeSet;
use std::fmt;

/// How much memory a container may use before the kernel slows it down and reclaims: `memory.high` of cgroup v2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum High {
    Bytes(u64),
    /// Of the memory limit, 1 to 100.
    Percent(u64),
}

impl High {
    /// Bytes under a limit in bytes: never above it, and at least a page, for the kernel rounds down.
    pub(crate) fn of(self, limit: u64) -> u64 {
        const PAGE: u64 = 4096;
        match self {
            Self::Bytes(bytes) => bytes.min(limit).max(PAGE),
            Self::Percent(share) => (limit / 100 * share + limit % 100 * share / 100).max(PAGE),
        }
    }

    /// Whether it is more than another one; of two kinds neither is known to be less.
    pub(crate) fn exceeds(self, other: Self) -> bool {
        match (self, other) {
            (Self::Bytes(ours), Self::Bytes(theirs)) | (Self::Percent(ours), Self::Percent(theirs)) => ours > theirs,
            (Self::Bytes(_), Self::Percent(_)) | (Self::Percent(_), Self::Bytes(_)) => true,
        }
    }
}

/// CPUs or memory nodes, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NumberSet(BTreeSet<u32>);

impl NumberSet {
    /// More than any kernel is built for (`CONFIG_NR_CPUS`).
    const MOST: u32 = 16_383;

    /// The kernel's list format, `0-2,7`, without its newer shorthands. Source: kernel `Documentation/admin-guide/cputopology.rst`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = BTreeSet::new();
        for range in text.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (number(first)?, number(last)?);
            if first > last || last > Self::MOST {
                return None;
            }
            numbers.extend(first..=last);
        }
        Some(Self(numbers))
    }

    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// What both have; `None` where that is nothing.
    pub(crate) fn common(&self, other: &Self) -> Option<Self> {
        let both: BTreeSet<u32> = self.0.intersection(&other.0).copied().collect();
        (!both.is_empty()).then_some(Self(both))
    }
}

fn number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

impl fmt::Display for NumberSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *number => *last = *number,
                _ => ranges.push((*number, *number)),
            }
        }
        let texts = ranges.iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        f.write_str(&texts.collect::<Vec<_>>().join(","))
    }
}

/// A block device, by major and minor number.
pub(crate) type Disk = (i64, i64);

/// What of the use of a disk is limited, in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Throttle {
    ReadBytes,
    WriteBytes,
    Reads,
    Writes,
}

impl Throttle {
    pub(crate) const ALL: [Self; 4] = [Self::ReadBytes, Self::WriteBytes, Self::Reads, Self::Writes];

    /// As `io.max` of cgroup v2 and the policy file call it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::ReadBytes => "rbps",
            Self::WriteBytes => "wbps",
            Self::Reads => "riops",
            Self::Writes => "wiops",
        }
    }

    pub(crate) fn named(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|throttle| throttle.key() == key)
    }

    pub(crate) fn is_bytes(self) -> bool {
        matches!(self, Self::ReadBytes | Self::WriteBytes)
    }
}

/// The most of one kind that a container may have of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskLimit {
    /// `None` stands for every disk that has no limit of this kind of its own.
    pub(crate) disk: Option<Disk>,
    pub(crate) throttle: Throttle,
    /// In a second, above zero.
    pub(crate) rate: u64,
}

/// The limits of disks; each (disk, kind) is there once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DiskLimits(pub(crate) Vec<DiskLimit>);

impl DiskLimits {
    fn exactly(&self, disk: Option<Disk>, throttle: Throttle) -> Option<u64> {
        let mut found = self.0.iter().filter(|limit| (limit.disk, limit.throttle) == (disk, throttle));
        found.next().map(|limit| limit.rate)
    }

    /// The highest rate for a disk that a container names.
    pub(crate) fn most(&self, disk: Disk, throttle: Throttle) -> Option<u64> {
        self.exactly(Some(disk), throttle).or_else(|| self.exactly(None, throttle))
    }

    /// The disks that get a limit also where a container names none.
    pub(crate) fn named(&self, throttle: Throttle) -> impl Iterator<Item = (Disk, u64)> {
        let of_kind = self.0.iter().filter(move |limit| limit.throttle == throttle);
        of_kind.filter_map(|limit| Some((limit.disk?, limit.rate)))
    }

    /// Whether some disk has more here than under `other`, or a container that names none gets no limit here and one there.
    pub(crate) fn exceeds(&self, other: &Self) -> bool {
        let is_above = |ours: Option<u64>, most: u64| ours.is_none_or(|rate| rate > most);
        let theirs = |limit: &DiskLimit| is_above(self.exactly(limit.disk, limit.throttle), limit.rate);
        let ours = |limit: &DiskLimit| {
            let most = limit.disk.and_then(|disk| other.most(disk, limit.throttle));
            most.is_some_and(|most| limit.rate > most)
        };
        other.0.iter().any(theirs) || self.0.iter().any(ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> NumberSet {
        NumberSet::parse(text).unwrap()
    }

    #[test]
    fn lists_of_numbers_are_read_as_the_kernel_writes_them() {
        for (text, written) in [("0", "0"), ("0-3", "0-3"), ("3,1,2", "1-3"), ("0-1,4,6-7", "0-1,4,6-7"), ("2,2", "2")]
        {
            assert_eq!(set(text).to_string(), written);
        }
        for text in ["", " 0", "0 ", "a", "1-", "-1", "3-1", "0,,1", "0-4294967295", "0-31:2/16", "all", "+1", "16384"]
        {
            assert_eq!(NumberSet::parse(text), None, "{text:?}");
        }
        assert!(set("1,3").is_within(&set("0-3")) && !set("3-4").is_within(&set("0-3")));
        assert_eq!(set("2-9").common(&set("0-3,9")), Some(set("2-3,9")));
        assert_eq!(set("4").common(&set("0-3")), None);
    }

    #[test]
    fn high_is_a_share_of_the_limit_or_an_amount_below_it() {
        assert_eq!(High::Percent(80).of(1 << 30), 858_993_459);
        assert_eq!(High::Percent(100).of(u64::MAX), u64::MAX);
        assert_eq!(High::Bytes(1 << 30).of(1 << 20), 1 << 20);
        assert_eq!(High::Percent(1).of(4096), 4096, "never nothing");
        assert!(High::Percent(81).exceeds(High::Percent(80)) && !High::Percent(80).exceeds(High::Percent(80)));
        assert!(High::Bytes(1).exceeds(High::Percent(80)) && High::Percent(1).exceeds(High::Bytes(9)));
    }

    /// A disk and its rate.
    type Given = (Option<Disk>, u64);

    fn limits(all: &[Given]) -> DiskLimits {
        let limit = |(disk, rate): &Given| DiskLimit { disk: *disk, throttle: Throttle::ReadBytes, rate: *rate };
        DiskLimits(all.iter().map(limit).collect())
    }

    #[test]
    fn limits_of_disks_are_compared_disk_by_disk() {
        const SDA: Option<Disk> = Some((8, 0));
        let rows: &[(&[Given], &[Given], bool)] = &[
            (&[], &[], false),
            (&[(SDA, 5)], &[], false),
            (&[], &[(SDA, 5)], true),
            (&[(SDA, 5)], &[(SDA, 5)], false),
            (&[(SDA, 6)], &[(SDA, 5)], true),
            (&[(None, 5)], &[(SDA, 5)], true),
            (&[(SDA, 5)], &[(None, 5)], true),
            (&[(None, 5), (SDA, 6)], &[(None, 5)], true),
            (&[(None, 5), (SDA, 4)], &[(None, 5)], false),
            (&[(None, 5), (SDA, 7)], &[(None, 5), (SDA, 8)], false),
        ];
        for (ours, theirs, looser) in rows {
            assert_eq!(limits(ours).exceeds(&limits(theirs)), *looser, "{ours:?} {theirs:?}");
        }
        let both = limits(&[(None, 5), (SDA, 7)]);
        let most = |disk| both.most(disk, Throttle::ReadBytes);
        assert_eq!((most((8, 0)), most((9, 1)), both.most((8, 0), Throttle::Reads)), (Some(7), Some(5), None));
        assert_eq!(both.named(Throttle::ReadBytes).collect::<Vec<_>>(), [((8, 0), 7)]);
    }
}
