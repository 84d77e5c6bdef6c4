//! `process.env`.

use serde_json::Value;

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};
use crate::spec::stages;

/// Variables by which the dynamic linker and libc take code or settings from the environment (ld.so(8)).
/// GLIBC_TUNABLES was CVE-2023-4911.
const LINKER: &[&str] = &["LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH", "GLIBC_TUNABLES"];

/// Whether an entry of an environment steers the dynamic linker.
pub(super) fn is_for_linker(entry: &str) -> bool {
    let name = entry.split_once('=').map_or(entry, |(name, _)| name);
    LINKER.contains(&name)
}

/// Whether an entry of a hook's own environment does: there any `LD_` counts, as `LD_DEBUG_OUTPUT` and
/// `LD_PROFILE_OUTPUT` write files of the host (ld.so(8)).
pub(super) fn is_for_linker_of_hook(entry: &str) -> bool {
    entry.starts_with("LD_") || is_for_linker(entry)
}

/// A hook that inherits the container's environment runs what an image's LD_PRELOAD names, as root on the host
/// (CVE-2025-23266). Without hooks the variables are the container's own business.
pub(super) fn judge(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    if stages(&draft.hooks).iter().all(|(_, list)| list.is_empty()) {
        return;
    }
    let mut at = 0;
    draft.process.env.retain(|entry| {
        let place = format!("/process/env/{at}");
        at += 1;
        if !is_for_linker(entry) {
            return true;
        }
        // The value may be a secret; the name says enough.
        let name = entry.split_once('=').map_or(entry.as_str(), |(name, _)| name);
        !sheet.mends(Found::new(place, name, "a hook on the host could load it"), Value::Null)
    });
}
