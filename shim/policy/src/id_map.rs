//! Which ids of a user namespace stand for which of the host's.

use oci_spec::runtime as oci;
use serde::{Deserialize, Serialize};

/// First host id that Kubernetes gives to a pod's user namespace (KEP-127).
pub const FIRST_REMAPPED_ID: u32 = 65_536;

/// Consecutive ids: one line of a uid_map. Source: user_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdRange {
    /// The first id in the namespace. For an idmapped mount: on the disk.
    #[serde(rename = "containerID")]
    pub inside: u32,
    /// The first id of the host's.
    #[serde(rename = "hostID")]
    pub outside: u32,
    /// How many.
    #[serde(rename = "size")]
    pub count: u32,
}

impl IdRange {
    pub(crate) fn of(mapping: &oci::LinuxIdMapping) -> Self {
        Self { inside: mapping.container_id(), outside: mapping.host_id(), count: mapping.size() }
    }

    /// `inside:outside:count`, as containerd's snapshotters write it.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(':').map(|number| {
            let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| number.parse().ok())?
        });
        let (inside, outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        numbers.next().is_none().then_some(Self { inside, outside, count })
    }

    /// Whether it has an id, and wraps round on neither side. The last id, 2³²−1, stands for none (setresuid(2)).
    #[must_use]
    pub fn is_sound(self) -> bool {
        self.count > 0
            && self.inside.checked_add(self.count).is_some()
            && self.outside.checked_add(self.count).is_some()
    }

    /// Whether nobody of the host's reserved ids is among those outside.
    #[must_use]
    pub fn is_outside_host(self) -> bool {
        self.is_sound() && self.outside >= FIRST_REMAPPED_ID
    }

    /// The host's id for one of the namespace's.
    #[must_use]
    pub fn to_outside(self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.inside).filter(|offset| *offset < self.count)?;
        self.outside.checked_add(offset)
    }

    /// Whether every id that it maps the other one maps to the same.
    #[must_use]
    pub fn is_part_of(self, other: Self) -> bool {
        let last = self.count.checked_sub(1).and_then(|count| self.inside.checked_add(count));
        self.is_sound()
            && other.is_sound()
            && other.to_outside(self.inside) == Some(self.outside)
            && last.is_some_and(|last| other.to_outside(last).is_some())
    }

    /// Whether an id of the host's is in both.
    #[must_use]
    pub fn meets_outside(self, other: Self) -> bool {
        meet((self.outside, self.count), (other.outside, other.count))
    }

    fn meets_inside(self, other: Self) -> bool {
        meet((self.inside, self.count), (other.inside, other.count))
    }
}

/// Of (first, how many).
fn meet(one: (u32, u32), other: (u32, u32)) -> bool {
    let end = |(first, count): (u32, u32)| u64::from(first) + u64::from(count);
    one.1 > 0 && other.1 > 0 && u64::from(one.0) < end(other) && u64::from(other.0) < end(one)
}

/// Two ranges of one map that have an id in common, on either side: the kernel takes no such map.
#[must_use]
pub fn ambiguous(map: &[IdRange]) -> Option<(IdRange, IdRange)> {
    map.iter().enumerate().find_map(|(at, one)| {
        let meets = |other: &&IdRange| one.meets_inside(**other) || one.meets_outside(**other);
        map.iter().take(at).find(meets).map(|other| (*other, *one))
    })
}

/// Whether each range of a map is part of one of another map.
pub(crate) fn is_within(map: &[IdRange], other: &[IdRange]) -> bool {
    map.iter().all(|range| other.iter().any(|whole| range.is_part_of(*whole)))
}

/// Both maps of a user namespace, or of an idmapped mount.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IdMaps {
    /// Of users.
    pub uids: Vec<IdRange>,
    /// Of groups.
    pub gids: Vec<IdRange>,
}

impl IdMaps {
    /// Of a document.
    #[must_use]
    pub fn of(uids: &[oci::LinuxIdMapping], gids: &[oci::LinuxIdMapping]) -> Self {
        let map = |list: &[oci::LinuxIdMapping]| list.iter().map(IdRange::of).collect();
        Self { uids: map(uids), gids: map(gids) }
    }

    /// Nobody is mapped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty()
    }

    /// What the mount options `uidmap=` and `gidmap=` of a root filesystem say; `None` where neither is there.
    ///
    /// # Errors
    ///
    /// The option that is not understood, or without which the other one means nothing.
    pub fn of_options<'a>(options: impl IntoIterator<Item = &'a String>) -> Result<Option<Self>, String> {
        let (mut uids, mut gids) = (None, None);
        for option in options {
            let (map, text) = match option.split_once('=') {
                Some(("uidmap", text)) => (&mut uids, text),
                Some(("gidmap", text)) => (&mut gids, text),
                _ => continue,
            };
            let ranges: Option<Vec<IdRange>> = text.split(',').map(IdRange::parse).collect();
            let ranges = ranges.filter(|ranges| ranges.iter().all(|range| range.is_sound()));
            // Which of two counts would be a matter of who reads them.
            if map.is_some() || ranges.is_none() {
                return Err(option.clone());
            }
            *map = ranges;
        }
        match (uids, gids) {
            (None, None) => Ok(None),
            (Some(uids), Some(gids)) => Ok(Some(Self { uids, gids })),
            (Some(_), None) => Err("uidmap without gidmap".to_owned()),
            (None, Some(_)) => Err("gidmap without uidmap".to_owned()),
        }
    }
}

/// A bind mount that shows the files of its source as other users'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdmappedMount {
    /// Index in `/mounts`.
    pub mount: usize,
    /// Whose files on the disk are whose of the host. What is in no range is nobody's.
    pub maps: IdMaps,
    /// What is mounted below the source as well.
    pub recursive: bool,
}

/// The words that ask for an idmapped mount. Source: OCI runtime-spec config.md "Linux mount options".
pub(crate) const WORDS: [&str; 2] = ["idmap", "ridmap"];

/// The mounts of a document that are idmapped. Without mappings of its own one has the container's, as runtimes have it.
#[must_use]
pub fn idmapped_mounts(mounts: &[oci::Mount], container: &IdMaps) -> Vec<IdmappedMount> {
    let one = |(mount, asked): (usize, &oci::Mount)| {
        let own = maps_of(asked);
        let has = |word: &str| asked.options().iter().flatten().any(|option| option == word);
        let maps = if own.is_empty() { has_word(asked).then(|| container.clone())? } else { own };
        Some(IdmappedMount { mount, maps, recursive: has("ridmap") && crate::spec::is_recursive_bind(asked) })
    };
    mounts.iter().enumerate().filter_map(one).collect()
}

/// The mappings that a mount names.
pub(crate) fn maps_of(mount: &oci::Mount) -> IdMaps {
    let list = |list: &Option<Vec<oci::LinuxIdMapping>>| list.iter().flatten().map(IdRange::of).collect();
    IdMaps { uids: list(mount.uid_mappings()), gids: list(mount.gid_mappings()) }
}

pub(crate) fn has_word(mount: &oci::Mount) -> bool {
    mount.options().iter().flatten().any(|option| WORDS.contains(&option.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(inside: u32, outside: u32, count: u32) -> IdRange {
        IdRange { inside, outside, count }
    }

    fn options(options: &[&str]) -> Result<Option<IdMaps>, String> {
        IdMaps::of_options(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_of_a_snapshotter_are_read() {
        let maps = options(&["ro", "uidmap=0:100000:65536", "gidmap=0:1:2,2:100000:5"]).unwrap().unwrap();
        assert_eq!(maps.uids, [range(0, 100_000, 65_536)]);
        assert_eq!(maps.gids, [range(0, 1, 2), range(2, 100_000, 5)]);
        assert_eq!(options(&["ro", "lowerdir=/a"]), Ok(None));
    }

    #[test]
    fn options_that_can_be_read_in_two_ways_are_not() {
        for wrong in [
            "uidmap=",
            "uidmap=0:1",
            "uidmap=0:1:2:3",
            "uidmap=0:+1:2",
            "uidmap=0:-1:2",
            "uidmap=0: 1:2",
            "uidmap=0:1:0",
            "uidmap=0:4294967296:1",
            "uidmap=0:4294967295:1",
            "uidmap=0:1:2,",
            "uidmap=4294967295:1:1",
        ] {
            assert_eq!(options(&[wrong, "gidmap=0:1:1"]), Err(wrong.to_owned()));
        }
        assert!(options(&["uidmap=0:1:1"]).is_err());
        assert!(options(&["gidmap=0:1:1"]).is_err());
        assert!(options(&["uidmap=0:1:1", "uidmap=0:2:1", "gidmap=0:1:1"]).is_err());
    }

    #[test]
    fn ranges_that_share_an_id_are_ambiguous() {
        assert_eq!(ambiguous(&[range(0, 100, 10), range(10, 110, 10)]), None);
        assert!(ambiguous(&[range(0, 100, 10), range(9, 200, 10)]).is_some(), "inside");
        assert!(ambiguous(&[range(0, 100, 10), range(10, 109, 10)]).is_some(), "outside");
        assert!(ambiguous(&[range(0, 100, 1), range(0, 100, 1)]).is_some());
    }

    proptest! {
        /// Against ids one by one, near both ends of what a number can be.
        #[test]
        fn arithmetic_is_that_of_single_ids(
            a in small(), b in small(), base in prop_oneof![Just(0_u32), Just(65_530), Just(u32::MAX - 24)],
        ) {
            let at = |(inside, outside, count): (u32, u32, u32)| {
                range(inside.saturating_add(base), outside.saturating_add(base), count)
            };
            let (one, other) = (at(a), at(b));
            let pairs = |of: IdRange| -> Vec<(u64, u64)> {
                (0..u64::from(of.count)).map(|n| (u64::from(of.inside) + n, u64::from(of.outside) + n)).collect()
            };
            let fits = |of: IdRange| of.count > 0 && pairs(of).iter().all(|(i, o)| i.max(o) < &u64::from(u32::MAX));
            prop_assert_eq!(one.is_sound(), fits(one));
            let shares = |side: fn(&(u64, u64)) -> u64| {
                pairs(one).iter().any(|pair| pairs(other).iter().any(|again| side(again) == side(pair)))
            };
            prop_assert_eq!(one.meets_outside(other), shares(|pair| pair.1));
            prop_assert_eq!(ambiguous(&[one, other]).is_some(), shares(|pair| pair.0) || shares(|pair| pair.1));
            if fits(one) && fits(other) {
                let within = pairs(one).iter().all(|pair| pairs(other).contains(pair));
                prop_assert_eq!(one.is_part_of(other), within);
                for (inside, outside) in pairs(one) {
                    let found = one.to_outside(u32::try_from(inside).unwrap()).map(u64::from);
                    prop_assert_eq!(found, Some(outside));
                }
            } else {
                prop_assert!(!one.is_part_of(other));
            }
        }
    }

    fn small() -> impl Strategy<Value = (u32, u32, u32)> {
        (0_u32..20, 0_u32..20, 0_u32..12)
    }
}
