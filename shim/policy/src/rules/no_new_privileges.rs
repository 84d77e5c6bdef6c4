//! `process.nnp`.

use crate::draft::ProcessDraft;
use crate::rules::ProcessScope;
use crate::sheet::{Found, Sheet};

/// Without it a set-user-ID program in the image raises the process again (kernel
/// `Documentation/userspace-api/no_new_privs.rst`), and the filter has to be loaded earlier.
pub(super) fn judge(process: &mut ProcessDraft, _: &ProcessScope<'_>, sheet: &mut Sheet) {
    if process.no_new_privileges {
        return;
    }
    let found = Found::new("/process/noNewPrivileges", false, "execve could raise privileges");
    if sheet.mends(found, true) {
        process.no_new_privileges = true;
    }
}
