//! The table `[audit]`.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;

use super::Source;
use super::error::{Place, PolicyError};
use super::lists::clean_path;
use super::quantity::{self, Unit};
use super::shape::File;
use crate::policy::Policy;
use crate::policy_file::error::PolicyFilesError;

/// Rotated files that can be kept: each is renamed at a rotation, which other shims wait for.
const KEEP: RangeInclusive<u32> = 1..=100;

/// Takes what can be there once; `once` refuses what an earlier file has set.
pub(super) fn set(
    policy: &mut Policy,
    file: &File,
    mut once: impl FnMut(&'static str, Range<usize>) -> Result<(), PolicyError>,
    place: &Place,
) -> Result<(), PolicyError> {
    let (table, audit) = (&file.audit, &mut policy.audit);
    if let Some(path) = &table.path {
        once("audit.path", path.span())?;
        audit.path = clean_path(path, "audit.path", place)?;
    }
    if let Some(max_bytes) = &table.max_bytes {
        once("audit.max_bytes", max_bytes.span())?;
        audit.max_bytes = quantity::read(max_bytes, Unit::Bytes, "audit.max_bytes", place)?;
    }
    if let Some(keep) = &table.keep {
        once("audit.keep", keep.span())?;
        if !KEEP.contains(keep.get_ref()) {
            let mend = format!("write a number from {} to {}", KEEP.start(), KEEP.end());
            return Err(place.wrong(keep.span(), "audit.keep", "is not a number of files", mend));
        }
        audit.keep = *keep.get_ref();
    }
    if let Some(sink) = &table.sink {
        once("audit.sink", sink.span())?;
        audit.sink = *sink.get_ref();
    }
    for (flag, key, slot) in [
        (&table.chain, "audit.chain", &mut audit.chain),
        (&table.sync, "audit.sync", &mut audit.sync),
        (&table.attested, "audit.attested", &mut audit.attested),
    ] {
        if let Some(flag) = flag {
            once(key, flag.span())?;
            *slot = *flag.get_ref();
        }
    }
    Ok(())
}

/// What is said of the file needs one. All files have been read by now.
pub(super) fn check(policy: &Policy, files: &[(Source<'_>, File)]) -> Result<(), PolicyFilesError> {
    if policy.audit.sink.has_file() {
        return Ok(());
    }
    for (source, file) in files {
        let needs_file = [(&file.audit.chain, "audit.chain"), (&file.audit.sync, "audit.sync")];
        let set = needs_file.into_iter().find(|(flag, _)| flag.as_ref().is_some_and(|flag| *flag.get_ref()));
        if let Some((Some(flag), key)) = set {
            let (problem, mend) = ("needs a file, and sink is \"journald\"", "set sink to \"both\" or \"file\"");
            return Err(source.error(source.place.wrong(Spanned::span(flag), key, problem, mend)));
        }
    }
    Ok(())
}
