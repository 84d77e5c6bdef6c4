//! The five capability sets of a process, each of them always there.
//!
//! Source: capabilities(7); OCI runtime-spec 1.3 `config.md` "Linux Process".

use std::collections::BTreeSet;
use std::fmt;

use oci_spec::runtime as oci;
use serde::{Deserialize, Serialize};

/// A capability, ordered by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapabilityName(oci::Capability);

impl CapabilityName {
    /// The capability of an exact name such as `CAP_CHOWN`.
    #[must_use]
    pub fn exact(name: &str) -> Option<Self> {
        let bare = name.strip_prefix("CAP_")?;
        let capability: oci::Capability = bare.parse().ok()?;
        (capability.to_string() == bare).then_some(Self(capability))
    }
}

impl From<oci::Capability> for CapabilityName {
    fn from(capability: oci::Capability) -> Self {
        Self(capability)
    }
}

impl fmt::Display for CapabilityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", self.0)
    }
}

impl Ord for CapabilityName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0 as u8).cmp(&(other.0 as u8))
    }
}

impl PartialOrd for CapabilityName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A set of capabilities.
pub type CapabilitySet = BTreeSet<CapabilityName>;

/// The five sets. Absent in a specification means empty here, which is how runc reads it; libcontainer
/// would leave a root process with all of them, so they are always written out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapabilitySets {
    /// What the process and its children can ever have.
    pub bounding: CapabilitySet,
    /// What the kernel checks.
    pub effective: CapabilitySet,
    /// What the process may make effective.
    pub permitted: CapabilitySet,
    /// What survives execve of a file with inheritable capabilities.
    pub inheritable: CapabilitySet,
    /// What survives execve of any file.
    pub ambient: CapabilitySet,
}

impl CapabilitySets {
    /// The sets by their OCI names, in the order that OCI lists them.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &CapabilitySet); 5] {
        [
            ("bounding", &self.bounding),
            ("effective", &self.effective),
            ("permitted", &self.permitted),
            ("inheritable", &self.inheritable),
            ("ambient", &self.ambient),
        ]
    }

    pub(crate) fn named_mut(&mut self) -> [(&'static str, &mut CapabilitySet); 5] {
        [
            ("bounding", &mut self.bounding),
            ("effective", &mut self.effective),
            ("permitted", &mut self.permitted),
            ("inheritable", &mut self.inheritable),
            ("ambient", &mut self.ambient),
        ]
    }

    /// Whether each set is within the same set of `other`.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        self.named().iter().zip(other.named()).all(|((_, mine), (_, theirs))| mine.is_subset(theirs))
    }

    pub(crate) fn read(capabilities: Option<&oci::LinuxCapabilities>) -> Self {
        let set = |list: Option<&oci::Capabilities>| -> CapabilitySet {
            list.into_iter().flatten().map(|capability| CapabilityName(*capability)).collect()
        };
        capabilities.map_or_else(Self::default, |all| Self {
            bounding: set(all.bounding().as_ref()),
            effective: set(all.effective().as_ref()),
            permitted: set(all.permitted().as_ref()),
            inheritable: set(all.inheritable().as_ref()),
            ambient: set(all.ambient().as_ref()),
        })
    }

    pub(crate) fn write(&self) -> oci::LinuxCapabilities {
        let set = |set: &CapabilitySet| -> Option<oci::Capabilities> { Some(set.iter().map(|name| name.0).collect()) };
        let mut all = oci::LinuxCapabilities::default();
        all.set_bounding(set(&self.bounding))
            .set_effective(set(&self.effective))
            .set_permitted(set(&self.permitted))
            .set_inheritable(set(&self.inheritable))
            .set_ambient(set(&self.ambient));
        all
    }
}

/// `names` as a set; names that are not capabilities are left out, so this is for constants only.
pub(crate) fn constant(names: &[&str]) -> CapabilitySet {
    names.iter().filter_map(|name| CapabilityName::exact(name)).collect()
}

/// The names of a set, for a record.
pub(crate) fn listed(set: &CapabilitySet) -> Vec<String> {
    set.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_name_counts() {
        assert!(CapabilityName::exact("CAP_PERFMON").is_some());
        for odd in ["PERFMON", "cap_perfmon", "CAP_CAP_PERFMON", "CAP_", "CAP_NOPE", "CAP_perfmon"] {
            assert_eq!(CapabilityName::exact(odd), None, "{odd}");
        }
    }

    #[test]
    fn absent_sets_are_written_as_empty_ones() {
        let written = CapabilitySets::read(None).write();
        for set in
            [written.bounding(), written.effective(), written.permitted(), written.inheritable(), written.ambient()]
        {
            assert_eq!(set.as_ref().map(std::collections::HashSet::len), Some(0));
        }
    }

    #[test]
    fn sets_are_within_others_set_by_set() {
        let of = |bounding: &[&str], ambient: &[&str]| CapabilitySets {
            bounding: constant(bounding),
            ambient: constant(ambient),
            ..CapabilitySets::default()
        };
        let both = of(&["CAP_KILL", "CAP_BPF"], &["CAP_KILL"]);
        assert!(both.within(&both) && of(&["CAP_BPF"], &[]).within(&both));
        for beyond in [of(&["CAP_CHOWN"], &[]), of(&["CAP_BPF"], &["CAP_BPF"])] {
            assert!(!beyond.within(&both), "{beyond:?}");
        }
    }

    #[test]
    fn the_sets_survive_the_way_through_the_oci_type() {
        let sets = CapabilitySets {
            bounding: constant(&["CAP_KILL", "CAP_BPF"]),
            ambient: constant(&["CAP_KILL"]),
            ..CapabilitySets::default()
        };
        assert_eq!(CapabilitySets::read(Some(&sets.write())), sets);
    }
}
