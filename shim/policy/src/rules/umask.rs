//! `user.umask`.

use crate::draft::ProcessDraft;
use crate::rules::ProcessScope;
use crate::sheet::{Found, Sheet};

/// The bits that keep a new file from being written by group and others. umask(2); runc's own default.
const REQUIRED: u32 = 0o022;

/// A looser file mode creation mask lets others write what the container leaves in a shared volume. Absent, the
/// runtime sets 022.
pub(super) fn judge(process: &mut ProcessDraft, _: &ProcessScope<'_>, sheet: &mut Sheet) {
    let Some(umask) = process.umask.filter(|umask| umask & REQUIRED != REQUIRED) else { return };
    let found = Found::new("/process/user/umask", umask, format!("{umask:#05o} lets others write new files"));
    if sheet.mends(found, umask | REQUIRED) {
        process.umask = Some(umask | REQUIRED);
    }
}
