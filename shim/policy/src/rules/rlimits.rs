//! `process.rlimits`.

use serde_json::json;

use crate::draft::{ProcessDraft, Rlimit};
use crate::pointer;
use crate::rules::ProcessScope;
use crate::sheet::{Found, Sheet};

/// setrlimit(2).
const CORE: &str = "RLIMIT_CORE";

/// POSIX message queues of one user of the host, in bytes, as the kernel has it by default (`MQ_BYTES_MAX` of
/// include/uapi/linux/mqueue.h).
const QUEUE_BYTES: u64 = 819_200;

/// The highest value of a limit that would harm the node, where there is one. A core dump is written by
/// the kernel to a place that the host chooses; real-time priority starves other processes; a nice
/// ceiling of 20 is nice 0 (setrlimit(2)).
fn highest(kind: &str, scope: &ProcessScope<'_>) -> Option<u64> {
    match kind {
        CORE | "RLIMIT_RTPRIO" => Some(0),
        "RLIMIT_NICE" => Some(20),
        "RLIMIT_NOFILE" => Some(1 << 20),
        "RLIMIT_MSGQUEUE" => Some(QUEUE_BYTES),
        // Counted for a user of the host, over all containers: no more than one container may have tasks.
        "RLIMIT_NPROC" => Some(scope.settings.pids.max),
        _ => None,
    }
}

/// Lowers what is asked for, and forbids core dumps where nothing is said of them: without a limit the kernel pipes
/// the process's memory to the host's handler, or leaves it in a volume.
pub(super) fn judge(process: &mut ProcessDraft, scope: &ProcessScope<'_>, sheet: &mut Sheet) {
    if !process.rlimits.iter().any(|limit| limit.kind == CORE) {
        let none = Rlimit { kind: CORE.to_owned(), soft: 0, hard: 0 };
        if sheet.mends(Found::new("/process/rlimits", json!(null), "core dumps are not limited"), json!(none)) {
            process.rlimits.push(none);
        }
    }
    for (i, limit) in process.rlimits.iter_mut().enumerate() {
        let Some(highest) = highest(&limit.kind, scope) else { continue };
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
