//! `process.oom`.

use crate::draft::ProcessDraft;
use crate::rules::ProcessScope;
use crate::sheet::{Found, Sheet};

/// A process that the OOM killer spares makes others pay. The kubelet gives -997 to Guaranteed pods, so
/// the built-in profiles write it down rather than refuse it.
pub(super) fn judge(process: &mut ProcessDraft, _: &ProcessScope<'_>, sheet: &mut Sheet) {
    let Some(score) = process.oom_score_adj.filter(|score| *score < 0) else { return };
    let found = Found::new("/process/oomScoreAdj", score, "spared by the OOM killer");
    if sheet.mends(found, 0) {
        process.oom_score_adj = Some(0);
    }
}
