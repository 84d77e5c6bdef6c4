//! What a profile file that is built in must be beyond what parses. Tests ask, not every container.

use std::collections::BTreeMap;

use super::{ProfileFile, ReadEntry, wrong};
use crate::profile::ProfileError;
use crate::region::Region;

impl ProfileFile {
    /// The calls that no entry names, for the reasons in the file.
    pub(in crate::profile) fn refused(&self) -> impl Iterator<Item = &str> {
        self.refused.iter().flat_map(|group| group.names.iter().map(String::as_str))
    }

    /// The calls that an entry names.
    pub(in crate::profile) fn named(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().flat_map(|entry| entry.names.iter().map(String::as_str))
    }

    /// The names of each group.
    pub(in crate::profile) fn groups(&self) -> impl Iterator<Item = &[String]> {
        let entries = self.entries.iter().map(|entry| entry.names.as_slice());
        entries.chain(self.refused.iter().map(|group| group.names.as_slice()))
    }

    /// Whether each entry says why and has an effect, beside the others of its own file.
    pub(in crate::profile) fn check(&self) -> Result<(), ProfileError> {
        let mut seen: BTreeMap<&str, Vec<&ReadEntry>> = BTreeMap::new();
        for entry in &self.entries {
            if entry.comment.is_empty() {
                return Err(wrong(&entry.file, "", "an entry needs a comment"));
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
            if group.comment.is_empty() {
                return Err(wrong(&self.name, "", "a refused group needs a comment"));
            }
            if seen.insert(syscall, Vec::new()).is_some() {
                return Err(self.duplicate(syscall, &group.comment));
            }
        }
        Ok(())
    }

    fn duplicate(&self, syscall: &str, comment: &str) -> ProfileError {
        ProfileError::Duplicate { file: self.name.clone(), syscall: syscall.to_owned(), comment: comment.to_owned() }
    }
}

impl ReadEntry {
    /// Whether one of the two entries makes the other void where both count. A file may well widen what it includes.
    fn voids(&self, other: &Self) -> bool {
        let always = |entry: &Self| entry.with.is_empty() && entry.without.is_empty();
        let whole = |entry: &Self| entry.regions == [Region::ALL];
        let together = always(self) || always(other) || (&self.with, &self.without) == (&other.with, &other.without);
        self.file == other.file && together && (whole(self) || whole(other))
    }
}
