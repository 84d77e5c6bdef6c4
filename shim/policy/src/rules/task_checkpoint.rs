//! `task.checkpoint`.

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// CRIU restores credentials, capabilities, filter and labels from the image and not from the
/// specification, so nothing that was decided here would hold.
pub(super) fn judge(_: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    let fields = [("/task/checkpoint", case.task.checkpoint), ("/task/parentCheckpoint", case.task.parent_checkpoint)];
    for (place, path) in fields.into_iter().filter(|(_, path)| !path.is_empty()) {
        sheet.refuses(Found::new(place, path, "restores what no rule has judged"), "no checkpoint");
    }
}
