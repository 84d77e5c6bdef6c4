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

#[cfg(test)]
mod check;

use std::borrow::Cow;

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
#[cfg_attr(not(test), expect(dead_code, reason = "only tests look at what is not there"))]
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
        if file.default.runs() {
            return Err(wrong(name, "", "the defaultAction must stop the call: a profile is an allow-list"));
        }
        Ok(file)
    }

    /// The filter for a container with these capabilities.
    pub(super) fn resolve(&self, bounding: &Capabilities) -> Result<Filter<'a>, ProfileError> {
        let mut rules = Rules::default();
        for entry in self.entries.iter().filter(|entry| entry.counts(bounding)) {
            let (verdict, regions) = entry.read(self.name)?;
            rules.add(verdict, regions, entry.names.iter().copied());
        }
        Ok(Filter::new(self.default, rules))
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
