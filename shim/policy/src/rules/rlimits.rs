//! `process.rlimits`.

use serde_json::json;

use crate::draft::ProcessDraft;
use crate::pointer;
use crate::rules::ProcessScope;
use crate::sheet::{Found, Sheet};

/// The highest value of a limit that would harm the node, where there is one. A core dump is written by
/// the kernel to a place that the host chooses; real-time priority starves other processes; a nice
/// ceiling of 20 is nice 0 (setrlimit(2)).
fn highest(kind: &str) -> Option<u64> {
    match kind {
        "RLIMIT_CORE" | "RLIMIT_RTPRIO" => Some(0),
        "RLIMIT_NICE" => Some(20),
        "RLIMIT_NOFILE" => Some(1 << 20),
        _ => None,
    }
}

/// Lowers what is asked for; adds nothing.
pub(super) fn judge(process: &mut ProcessDraft, _: &ProcessScope<'_>, sheet: &mut Sheet) {
    for (i, limit) in process.rlimits.iter_mut().enumerate() {
        let Some(highest) = highest(&limit.kind) else { continue };
        if limit.soft <= highest && limit.hard <= highest {
            continue;
        }
        let mut lowered = limit.clone();
        lowered.soft = limit.soft.min(highest);
        lowered.hard = limit.hard.min(highest);
        let reason = format!("{} above {highest}", limit.kind);
        let found = Found::new(pointer::index("/process/rlimits", i), json!(limit), reason);
        if sheet.mends(found, json!(lowered)) {
            *limit = lowered;
        }
    }
}
