//! What an update asks for (contract §6.3).

use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use serde_json::json;

use super::container::SLEEP;
use super::ways::Way::{Test, Update};
use super::ways::{Meeting, seen};
use super::{Bypass, Met, powerless, refused};
use crate::support::World;

const CLAMPED: &str =
    "limits of an update stay within the policy's, and within those of the specification where they are files";
/// The restricted profile's ceiling of memory.
const MOST_MEMORY: u64 = 64 << 30;

pub(super) const ENTRIES: &[Bypass] = &[
    powerless(
        "update-memory-unlimited",
        "§6.3",
        "no limit of memory",
        Update {
            asks: || json!({ "memory": { "limit": -1, "swap": -1 } }),
            grown: |limits| limits.memory.is_none_or(|bytes| bytes > MOST_MEMORY),
        },
        CLAMPED,
    ),
    powerless(
        "update-memory-more",
        "§6.3",
        "a terabyte of memory",
        Update {
            asks: || json!({ "memory": { "limit": 1_u64 << 40, "swap": 1_u64 << 40 } }),
            grown: |limits| limits.memory.is_none_or(|bytes| bytes > MOST_MEMORY),
        },
        CLAMPED,
    ),
    powerless(
        "update-pids",
        "§6.3",
        "no limit of tasks",
        Update { asks: || json!({ "pids": { "limit": -1 } }), grown: |limits| limits.pids.is_none() },
        CLAMPED,
    ),
    powerless(
        "update-cpu",
        "§6.3",
        "no limit of CPU time",
        Update {
            asks: || json!({ "cpu": { "quota": -1, "period": 100_000 } }),
            grown: |limits| limits.cpu_per_second.is_none(),
        },
        CLAMPED,
    ),
    powerless(
        "update-devices",
        "§6.3",
        "access to every device",
        Test("update; tried inside", update_devices),
        "update.devices",
    )
    .stops_too("runc's update takes no device rules"),
    powerless(
        "update-files",
        "§6.3",
        "a cgroup file of its choice",
        Update {
            asks: || json!({ "unified": { "memory.max": "max", "pids.max": "max", "cgroup.procs": "1" } }),
            grown: |limits| limits.memory.is_none() || limits.pids.is_none(),
        },
        CLAMPED,
    )
    .untried("needs cgroup v2 for all controllers"),
    refused(
        "update-annotations",
        "§6.3",
        "an annotation that a runtime acts on",
        Test("update", update_annotations),
        "update.annotations",
    ),
];

fn update_devices(world: &World, runtime: Runtime) -> Meeting {
    let container = world.containerd.detach(&Run::new(runtime, SLEEP))?;
    let answer = world.tasks()?.update(container.id(), &json!({ "devices": [{ "allow": true, "access": "rwm" }] }));
    let tried = container.exec(&[], &["/probe", "try", "open-kmsg-node"])?.success()?;
    container.remove()?;
    expect!(tried.contains("open-kmsg-node"), "the attempt said {tried:?}");
    Ok(seen(tried.contains("\"reached\""), format!("{tried}, answered {answer:?}")))
}

fn update_annotations(world: &World, runtime: Runtime) -> Meeting {
    let container = world.containerd.detach(&Run::new(runtime, SLEEP))?;
    let annotations = [("run.oci.handler", "krun")];
    let answer = world.tasks()?.update_annotated(container.id(), &json!({ "pids": { "limit": 90 } }), &annotations);
    container.remove()?;
    Ok(answer.map_or_else(Met::Refused, |()| Met::Through))
}
