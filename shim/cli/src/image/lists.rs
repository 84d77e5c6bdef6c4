//! The admin's lists of digests: one a line, with a reason after it where there is one; `#` begins a remark.

use std::path::Path;

use palisade::gate::admins_file;
use palisade_policy::{ImageFacts, ImageSettings, Looked, is_digest};

use super::error::{ImageError, shown};

/// Longest list, in bytes: some 100 000 digests.
const MAX_LIST: u64 = 8 << 20;
/// Longest reason that is handed on, in bytes.
const MAX_REASON: usize = 200;

pub(super) fn look(facts: &mut ImageFacts, settings: &ImageSettings) {
    let digests = facts.digests();
    let entry = |path: &Path| match entry_of(path, &digests) {
        Ok(entry) => Looked::Seen(entry),
        Err(error) => Looked::Failed(error.chain()),
    };
    let denied = settings.denied.as_deref().map_or(Looked::Not, entry);
    let allowed = match settings.allowed.as_deref().map_or(Looked::Not, entry) {
        Looked::Seen(entry) => Looked::Seen(entry.is_some()),
        Looked::Failed(why) => Looked::Failed(why),
        Looked::Not => Looked::Not,
    };
    (facts.denied, facts.allowed) = (denied, allowed);
}

/// What a list says of one of the digests. The whole list is read: a line that is not understood could have been meant for this image.
fn entry_of(path: &Path, digests: &[&str]) -> Result<Option<String>, ImageError> {
    let shown = || shown(path);
    let bytes = admins_file(path, MAX_LIST)?.ok_or_else(|| ImageError::Missing { path: shown() })?;
    let text = String::from_utf8_lossy(&bytes);
    let mut found = None;
    for (at, line) in text.lines().enumerate() {
        let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
        let (digest, reason) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if line.is_empty() {
            continue;
        }
        if !is_digest(digest) {
            return Err(ImageError::List { path: shown(), line: at + 1 });
        }
        if found.is_none() && digests.contains(&digest) {
            found = Some(reason.trim().chars().take(MAX_REASON).collect());
        }
    }
    Ok(found)
}
