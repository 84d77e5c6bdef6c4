//! What a profile file must be beyond what parses. The files are built in, so tests ask, not every container.

use std::collections::BTreeMap;

use super::{Entry, ProfileFile, wrong};
use crate::profile::ProfileError;

impl<'a> ProfileFile<'a> {
    /// The calls that no entry names, for the reasons in the file.
    pub(in crate::profile) fn refused(&self) -> impl Iterator<Item = &str> {
        self.refused.iter().flat_map(|group| group.names.iter().copied())
    }

    /// The calls that an entry names.
    pub(in crate::profile) fn named(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().flat_map(|entry| entry.names.iter().copied())
    }

    /// The names of each group.
    pub(in crate::profile) fn groups(&self) -> impl Iterator<Item = &[&'a str]> {
        let entries = self.entries.iter().map(|entry| entry.names.as_slice());
        entries.chain(self.refused.iter().map(|group| group.names.as_slice()))
    }

    /// Whether each entry says why and has an effect. The files are built in, so a test asks once.
    pub(in crate::profile) fn check(&self) -> Result<(), ProfileError> {
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
    /// Whether one of the two entries makes the other void where both count.
    fn voids(&self, other: &Entry<'_>) -> bool {
        let always = |entry: &Entry<'_>| entry.includes.caps.is_empty() && entry.excludes.caps.is_empty();
        let whole = |entry: &Entry<'_>| entry.args.is_empty() && entry.low32.is_none();
        let together =
            always(self) || always(other) || (&self.includes, &self.excludes) == (&other.includes, &other.excludes);
        together && (whole(self) || whole(other))
    }
}
