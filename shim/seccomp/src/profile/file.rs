//! The file format of a profile: OCI seccomp JSON with comments, capability gates, includes and 32-bit ranges.
//!
//! Beyond the OCI keys an entry may have
//!
//! * `comment`: why these calls are allowed (mandatory);
//! * `includes.caps`: the entry counts if all of these capabilities are held; `excludes.caps`: if none is;
//! * `low32`: the entry counts if the lower half of one argument is `in` (or not in: `except`) a list of values and
//!   ranges, written as strings (`"0x5412"`, `"0-37"`).
//!
//! `refused` lists calls that no entry allows, each group with its reason; it is checked by a test to be complete.

use std::borrow::Cow;
use std::collections::BTreeMap;

use oci_spec::runtime::{Capabilities, Capability, LinuxSeccompAction, LinuxSeccompArg};
use serde::Deserialize;

use super::ProfileError;
use super::low32::Low32;
use crate::filter::Filter;
use crate::read::{self, Rules};
use crate::region::Region;
use crate::verdict::Verdict;

/// One file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written<'a> {
    #[serde(rename = "comment", borrow)]
    _comment: Cow<'a, str>,
    #[serde(default, borrow)]
    include: Vec<&'a str>,
    default_action: Option<LinuxSeccompAction>,
    default_errno_ret: Option<u32>,
    #[serde(borrow)]
    syscalls: Vec<Entry<'a>>,
    #[serde(default, borrow)]
    refused: Vec<RefusedGroup<'a>>,
}

/// Calls that get one answer, for one reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow)]
    comment: Cow<'a, str>,
    names: Vec<&'a str>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Vec<LinuxSeccompArg>,
    #[serde(borrow)]
    low32: Option<Low32<'a>>,
    #[serde(default)]
    includes: Gate,
    #[serde(default)]
    excludes: Gate,
}

/// The capabilities that an entry depends on.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gate {
    caps: Vec<Capability>,
}

/// Calls that the default action answers, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedGroup<'a> {
    #[serde(borrow)]
    comment: Cow<'a, str>,
    names: Vec<&'a str>,
}

/// A profile file with what it includes, checked.
#[derive(Debug)]
pub(crate) struct ProfileFile<'a> {
    name: &'a str,
    default: Verdict,
    entries: Vec<Entry<'a>>,
    refused: Vec<RefusedGroup<'a>>,
}

impl<'a> ProfileFile<'a> {
    /// Loads the file of that name out of `files`, pairs of name and text.
    pub(super) fn load(name: &'a str, files: &[(&str, &'a str)]) -> Result<Self, ProfileError> {
        let written = parse(name, name, files)?;
        let refuse = |source| ProfileError::Refused { file: name.to_owned(), source };
        let Some(action) = written.default_action else {
            return Err(wrong(name, "", "a profile needs a defaultAction"));
        };
        let default = Verdict::read(action, written.default_errno_ret, "/defaultAction").map_err(refuse)?;
        let mut file = Self { name, default, entries: written.syscalls, refused: written.refused };
        for include in &written.include {
            let included = parse(name, include, files)?;
            if included.default_action.is_some() || !included.include.is_empty() {
                return Err(wrong(include, "", "an included file has no defaultAction and no include"));
            }
            file.entries.extend(included.syscalls);
            file.refused.extend(included.refused);
        }
        file.check()?;
        Ok(file)
    }

    /// The filter for a container with these capabilities.
    pub(crate) fn resolve(&self, bounding: &Capabilities) -> Result<Filter<'_>, ProfileError> {
        let mut rules = Rules::default();
        for entry in self.entries.iter().filter(|entry| entry.counts(bounding)) {
            let (verdict, regions) = entry.read(self.name)?;
            rules.add(verdict, regions, entry.names.iter().copied());
        }
        Ok(Filter::new(self.default, rules))
    }

    /// The calls that no entry names, for the reasons in the file.
    #[cfg(test)]
    pub(super) fn refused(&self) -> impl Iterator<Item = &str> {
        self.refused.iter().flat_map(|group| group.names.iter().copied())
    }

    /// The calls that an entry names.
    #[cfg(test)]
    pub(super) fn named(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().flat_map(|entry| entry.names.iter().copied())
    }

    /// The names of each group.
    #[cfg(test)]
    pub(super) fn groups(&self) -> impl Iterator<Item = &[&'a str]> {
        let entries = self.entries.iter().map(|entry| entry.names.as_slice());
        entries.chain(self.refused.iter().map(|group| group.names.as_slice()))
    }

    fn check(&self) -> Result<(), ProfileError> {
        if self.default.runs() {
            return Err(wrong(self.name, "", "the defaultAction must stop the call: a profile is an allow-list"));
        }
        let mut seen: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for entry in &self.entries {
            if entry.comment.is_empty() || entry.names.is_empty() {
                return Err(wrong(self.name, &entry.comment, "an entry needs a comment and names"));
            }
            for syscall in &entry.names {
                let others = seen.entry(syscall).or_default();
                if others.iter().any(|other| entry.voids(other)) {
                    return Err(self.duplicate(syscall, &entry.comment));
                }
                others.push(entry);
            }
        }
        let groups = self.refused.iter().flat_map(|group| group.names.iter().map(move |name| (group, name)));
        for (group, syscall) in groups {
            if seen.insert(syscall, Vec::new()).is_some() {
                return Err(self.duplicate(syscall, &group.comment));
            }
        }
        Ok(())
    }

    fn duplicate(&self, syscall: &str, comment: &str) -> ProfileError {
        ProfileError::Duplicate { file: self.name.to_owned(), syscall: syscall.to_owned(), comment: comment.to_owned() }
    }
}

impl Entry<'_> {
    fn counts(&self, bounding: &Capabilities) -> bool {
        self.includes.caps.iter().all(|capability| bounding.contains(capability))
            && !self.excludes.caps.iter().any(|capability| bounding.contains(capability))
    }

    fn read(&self, file: &str) -> Result<(Verdict, Vec<Region>), ProfileError> {
        let place = format!("entry {:?}", self.comment);
        let refuse = |source| ProfileError::Refused { file: file.to_owned(), source };
        let verdict = Verdict::read(self.action, self.errno_ret, &place).map_err(refuse)?;
        let regions = match &self.low32 {
            None => read::regions(&self.args, verdict, &place).map_err(refuse)?,
            Some(_) if !self.args.is_empty() => {
                return Err(wrong(file, &self.comment, "args and low32 exclude each other"));
            }
            Some(low32) => low32.regions(file)?,
        };
        Ok((verdict, regions))
    }

    /// Whether one of the two entries makes the other void where both count.
    fn voids(&self, other: &Entry<'_>) -> bool {
        let always = |entry: &Entry<'_>| entry.includes.caps.is_empty() && entry.excludes.caps.is_empty();
        let whole = |entry: &Entry<'_>| entry.args.is_empty() && entry.low32.is_none();
        let together =
            always(self) || always(other) || (&self.includes, &self.excludes) == (&other.includes, &other.excludes);
        together && (whole(self) || whole(other))
    }
}

fn parse<'a>(file: &str, name: &str, files: &[(&str, &'a str)]) -> Result<Written<'a>, ProfileError> {
    let found = files.iter().find(|(known, _)| *known == name);
    let Some((_, text)) = found else {
        return Err(ProfileError::Include { file: file.to_owned(), include: name.to_owned() });
    };
    serde_json::from_str(text).map_err(|source| ProfileError::Json { file: name.to_owned(), source })
}

fn wrong(file: &str, comment: &str, reason: &'static str) -> ProfileError {
    ProfileError::Entry { file: file.to_owned(), comment: comment.to_owned(), reason }
}
