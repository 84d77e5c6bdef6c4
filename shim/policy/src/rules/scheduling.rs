//! `process.sched`.

use oci_spec::runtime::{IOPriorityClass, LinuxSchedulerPolicy};
use serde_json::json;

use crate::draft::ProcessDraft;
use crate::rules::ProcessScope;
use crate::sheet::{Found, Sheet};

/// Real-time scheduling and raised priorities starve the node (sched(7), ioprio_set(2)).
pub(super) fn judge(process: &mut ProcessDraft, _: &ProcessScope<'_>, sheet: &mut Sheet) {
    if let Some(scheduler) = &process.scheduler {
        let real_time = matches!(
            scheduler.policy(),
            LinuxSchedulerPolicy::SchedFifo
                | LinuxSchedulerPolicy::SchedRr
                | LinuxSchedulerPolicy::SchedDeadline
                | LinuxSchedulerPolicy::SchedIso
        );
        let raised = scheduler.nice().is_some_and(|nice| nice < 0);
        if real_time || raised {
            let found = Found::new("/process/scheduler", json!(scheduler), "a raised scheduling class");
            if sheet.mends(found, serde_json::Value::Null) {
                process.scheduler = None;
            }
        }
    }
    if let Some(priority) = &process.io_priority
        && priority.class() == IOPriorityClass::IoprioClassRt
    {
        let found = Found::new("/process/ioPriority", json!(priority), "real-time disk access");
        if sheet.mends(found, serde_json::Value::Null) {
            process.io_priority = None;
        }
    }
}
