//! `root.readonly`.

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// CIS-D 5.13, NSA 1.1: an attacker can leave nothing in a root filesystem that cannot be written. Many images write
/// to theirs, so the built-in profiles only tell.
pub(super) fn judge(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    if draft.root_read_only {
        return;
    }
    if sheet.mends(Found::new("/root/readonly", false, "the root filesystem can be written"), true) {
        draft.root_read_only = true;
    }
}
