//! Which namespaces a specification joins or leaves out (contract §6.11).

use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use palisade_integration::tasks::CreateOptions;
use serde_json::json;

use super::container::{Container, SLEEP};
use super::ways::Meeting;
use super::ways::Way::{Init, Spec, Test};
use super::{Bypass, Met, powerless, refused, seen};
use crate::spec_edits::{drop_namespace, join_namespace, push, set};
use crate::support::World;

const NEIGHBOUR: &str = "create, with a path below another container's process";

pub(super) const ENTRIES: &[Bypass] = &[
    refused("host-pid", "§6.11, PSS hostPID", "no pid namespace", Spec(|spec| drop_namespace(spec, "pid")), "linux.ns"),
    refused(
        "host-network",
        "§6.11, PSS hostNetwork",
        "no network namespace",
        Spec(|spec| drop_namespace(spec, "network")),
        "linux.ns",
    ),
    refused("host-ipc", "§6.11, PSS hostIPC", "no ipc namespace", Spec(|spec| drop_namespace(spec, "ipc")), "linux.ns"),
    refused(
        "join-shim-network",
        "§6.11",
        "the shim's network namespace by its path",
        Spec(|spec| join_namespace(spec, "network", "/proc/self/ns/net")),
        "linux.ns",
    ),
    refused(
        "join-init-network",
        "§6.11",
        "the network namespace of the host's process 1",
        Spec(|spec| join_namespace(spec, "network", "/proc/1/ns/net")),
        "linux.ns",
    )
    .untried("a test machine may keep process 1 from root as well"),
    refused(
        "join-mount-namespace",
        "§6.11",
        "the mount namespace of another container",
        Test(NEIGHBOUR, |world, runtime| neighbour(world, runtime, "mount", "mnt")),
        "linux.ns",
    )
    .untried("runc would mount over the other container's files"),
    powerless(
        "host-cgroup-namespace",
        "CVE-2023-25809",
        "no cgroup namespace",
        Init { make: |_| (), shown: |pid| seen::shares(pid, "cgroup") },
        "linux.ns",
    ),
    refused(
        "user-namespace-of-root",
        "§6.11",
        "a user namespace that maps root to root, so that uid 0 looks harmless",
        Spec(|spec| {
            push(spec, "/linux/namespaces", json!({ "type": "user" }));
            set(spec, "/linux/uidMappings", json!([{ "containerID": 0, "hostID": 0, "size": 65_536 }]));
            set(spec, "/linux/gidMappings", json!([{ "containerID": 0, "hostID": 0, "size": 65_536 }]));
        }),
        "linux.userns",
    )
    .untried("runc needs a snapshot with shifted owners"),
    refused(
        "user-namespace-of-users",
        "§6.11",
        "a user namespace that maps to users of the host",
        Spec(|spec| {
            push(spec, "/linux/namespaces", json!({ "type": "user" }));
            set(spec, "/linux/uidMappings", json!([{ "containerID": 0, "hostID": 1000, "size": 1000 }]));
            set(spec, "/linux/gidMappings", json!([{ "containerID": 0, "hostID": 1000, "size": 1000 }]));
        }),
        "linux.userns",
    )
    .untried("runc needs a snapshot with shifted owners"),
    refused(
        "shifted-clock",
        "§6.11",
        "a time namespace with another clock",
        Spec(|spec| {
            push(spec, "/linux/namespaces", json!({ "type": "time" }));
            set(spec, "/linux/timeOffsets", json!({ "boottime": { "secs": 1_000_000 } }));
        }),
        "linux.time-offsets",
    )
    .untried("runc knows the namespace since 1.2, Debian's is older"),
];

/// Joins a namespace of a container of plain runc's.
pub(super) fn neighbour(world: &World, runtime: Runtime, kind: &str, file: &str) -> Meeting {
    let neighbour = world.containerd.detach(&Run::new(Runtime::Runc, SLEEP))?;
    let path = format!("/proc/{}/ns/{file}", neighbour.pid()?);
    let container = Container::make(world, runtime, &["true"], |spec| join_namespace(spec, kind, &path))?;
    let answer = container.start(CreateOptions::default());
    drop(container);
    neighbour.remove()?;
    Ok(answer.map_or_else(Met::Refused, |_| Met::Through))
}
