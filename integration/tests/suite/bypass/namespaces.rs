//! Which namespaces a specification joins or leaves out (contract §6.11).

use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use palisade_integration::tasks::CreateOptions;
use serde_json::{Value, json};

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
        "user-namespace-twice",
        "controls §3",
        "a user namespace in whose map two ranges share a host id",
        Spec(|spec| remap(spec, json!([mapping(0, 2_000_000, 10), mapping(10, 2_000_009, 10)]))),
        "linux.userns",
    )
    .untried(NO_CONTROL),
    refused(
        "user-namespace-wraps",
        "CVE-2024-40635",
        "a user namespace whose host ids wrap round to root's",
        Spec(|spec| remap(spec, json!([mapping(0, u32::MAX - 100, 65_536)]))),
        "linux.userns",
    )
    .untried(NO_CONTROL),
    refused(
        "idmap-of-root",
        "KEP-127",
        "a directory of the host idmapped so that root's files are those of the container's root",
        Spec(|spec| {
            remap(spec, json!([mapping(0, 2_100_000, 65_536)]));
            idmapped(spec, "/srv", &["rbind", "rw", "idmap"], mapping(0, 2_100_000, 65_536));
        }),
        "linux.userns",
    )
    .untried(NO_CONTROL),
    refused(
        "idmap-without-users",
        "KEP-127",
        "the same without a user namespace, for the user that the policy makes of root",
        Spec(|spec| idmapped(spec, "/srv", &["rbind", "ro", "idmap"], mapping(0, 65_532, 1))),
        "linux.userns",
    )
    .untried(NO_CONTROL),
    refused(
        "idmap-of-another-user",
        "KEP-127",
        "mappings of a mount that are not the namespace's: files of the host's user 1000 as those of the container's root",
        Spec(|spec| {
            remap(spec, json!([mapping(0, 2_200_000, 65_536)]));
            idmapped(spec, "/srv", &["rbind", "ro", "idmap"], mapping(1000, 2_200_000, 1));
        }),
        "linux.userns",
    )
    .untried(NO_CONTROL),
    refused(
        "ridmap-of-the-host",
        "KEP-127",
        "all of the host with what is mounted below, idmapped by ridmap",
        Spec(|spec| {
            remap(spec, json!([mapping(0, 2_300_000, 65_536)]));
            idmapped(spec, "/", &["rbind", "ro", "ridmap"], mapping(0, 2_300_000, 65_536));
        }),
        "mount.deny-always",
    )
    .untried(NO_CONTROL),
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

const NO_CONTROL: &str = "runc 1.1 idmaps nothing, and containerd 2 asks it first";

fn mapping(inside: u32, host: u32, size: u32) -> Value {
    json!({ "containerID": inside, "hostID": host, "size": size })
}

/// A user namespace with this map of users and of groups.
fn remap(spec: &mut Value, map: Value) {
    push(spec, "/linux/namespaces", json!({ "type": "user" }));
    set(spec, "/linux/uidMappings", map.clone());
    set(spec, "/linux/gidMappings", map);
}

fn idmapped(spec: &mut Value, source: &str, options: &[&str], map: Value) {
    let mount = json!({ "destination": "/mnt/volume", "type": "bind", "source": source, "options": options,
        "uidMappings": [map], "gidMappings": [map] });
    push(spec, "/mounts", mount);
}

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
