//! `root.path`.

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// The bundle's own directory `rootfs` and nothing else: an absolute path such as `/` would make the
/// host's tree the container's.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    let own = case.task.bundle.join("rootfs");
    if draft.root.as_os_str() == "rootfs" || draft.root == own {
        return;
    }
    let text = draft.root.to_string_lossy();
    let reason = format!("{text:?} is not the bundle's root filesystem");
    sheet.refuses(Found::new("/root/path", text.as_ref(), reason), "rootfs");
}
