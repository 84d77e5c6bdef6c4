//! What a workload was seen to call, as little of it as a profile needs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::compile::{Call, architecture_of, syscall_name};

/// Different values of an argument that are kept. A workload that uses more is not one that a list of them describes.
const MOST_VALUES: usize = 64;

/// The calls, by name, with the values of the argument that matters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Names of architectures beside the native one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    architectures: BTreeSet<String>,
    calls: BTreeMap<String, Values>,
}

/// The values of the argument that [`deciding`] names; empty for calls without one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Values {
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) values: BTreeSet<u32>,
    /// There were more than are kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) any: bool,
}

/// The argument that a profile goes by, and which of its bits. Each is an `int` or `unsigned int` to the kernel, or has nothing of
/// interest in its upper half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deciding {
    pub(crate) index: usize,
    pub(crate) mask: u32,
}

/// CLONE_NEWTIME, and CLONE_NEW* of linux/sched.h as moby's default profile masks them.
const NEW_NAMESPACES: u32 = 0x7e02_0080;

/// Source: the profiles' own argument filters (docs/seccomp.md).
pub(crate) fn deciding(syscall: &str) -> Option<Deciding> {
    let whole = |index| Some(Deciding { index, mask: u32::MAX });
    match syscall {
        // Family, request, option, persona.
        "socket" | "socketpair" | "prctl" | "personality" => whole(0),
        "ioctl" => whole(1),
        "clone" => Some(Deciding { index: 0, mask: NEW_NAMESPACES }),
        "unshare" => Some(Deciding { index: 0, mask: NEW_NAMESPACES }),
        _ => None,
    }
}

impl Seen {
    /// Adds a call; whether it is a new one. One without a name can be in no profile.
    pub fn add(&mut self, call: &Call) -> bool {
        let Some(name) = syscall_name(call.architecture, call.number) else { return false };
        let architecture = architecture_of(call.architecture, call.number);
        let other = architecture.filter(|architecture| Architecture::native().ok() != Some(*architecture));
        let other = other.is_some_and(|other| self.architectures.insert(other.name().to_owned()));
        let known = self.calls.contains_key(name);
        let values = self.calls.entry(name.to_owned()).or_default();
        let added = deciding(name).is_some_and(|deciding| values.add(deciding.value(&call.arguments)));
        other || !known || added
    }

    /// Adds what another container was seen to call.
    pub fn merge(&mut self, other: Self) {
        self.architectures.extend(other.architectures);
        for (name, theirs) in other.calls {
            let values = self.calls.entry(name).or_default();
            values.any |= theirs.any;
            for value in theirs.values {
                values.add(value);
            }
        }
    }

    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Each call with its values.
    pub fn calls(&self) -> impl Iterator<Item = (&str, &Values)> {
        self.calls.iter().map(|(name, values)| (name.as_str(), values))
    }

    /// The architectures beside the native one that calls were made of.
    pub fn others(&self) -> impl Iterator<Item = Architecture> {
        self.architectures.iter().filter_map(|name| name.parse().ok())
    }
}

impl Values {
    fn add(&mut self, value: u32) -> bool {
        if self.any || self.values.contains(&value) {
            return false;
        }
        if self.values.len() == MOST_VALUES {
            self.values.clear();
            self.any = true;
        } else {
            self.values.insert(value);
        }
        true
    }

    /// The values, `None` for too many.
    #[must_use]
    pub fn listed(&self) -> Option<&BTreeSet<u32>> {
        (!self.any).then_some(&self.values)
    }
}

impl Deciding {
    fn value(self, arguments: &[u64; 6]) -> u32 {
        let argument = arguments.get(self.index).copied().unwrap_or_default();
        u32::try_from(argument & u64::from(self.mask)).unwrap_or_default()
    }
}
