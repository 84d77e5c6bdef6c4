//! Namespaces: the pod's, the container's own, another container's, the host's.

use k8s_cri::v1 as api;

use super::look::namespace;
use super::sandboxes::pause_pid;
use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Container, Fault, Stage, pod_secured, secured};

const NODE: i32 = api::NamespaceMode::Node as i32;
const POD: i32 = api::NamespaceMode::Pod as i32;
const CONTAINER: i32 = api::NamespaceMode::Container as i32;
const TARGET: i32 = api::NamespaceMode::Target as i32;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "the pod's network and IPC, processes of its own",
        "NamespaceOption: ContainerPID, HostIpc is false, HostNetwork is false",
        own_processes,
        &[
            ("net", "the pod's"),
            ("ipc", "the pod's"),
            ("uts", "the pod's"),
            ("pid", "its own"),
            ("mnt", "its own"),
            ("process 1", "/probe sleep"),
            ("shm", "shared"),
        ],
    ),
    scenario(
        "the pod's processes",
        "NamespaceOption: PodPID",
        pod_processes,
        &[("pid", "the pod's"), ("process 1", "/pause")],
    ),
    scenario(
        "another container's processes",
        "",
        target,
        &[("pid", "the target's"), ("process 1", "/probe sleep"), ("exit of the target", "137 Error")],
    ),
    scenario("the host's processes", "NamespaceOption: HostPID", host_processes, &[("pid", "the host's")])
        .refused("linux.ns"),
    scenario(
        "the host's IPC",
        "NamespaceOption: HostIpc is true",
        host_ipc,
        &[("ipc", "the host's"), ("shm", "the host's")],
    )
    .refused("linux.ns"),
    scenario(
        "the host's network",
        "NamespaceOption: HostNetwork is true",
        host_network,
        &[("net", "the host's"), ("uts", "the host's")],
    )
    .refused("linux.ns"),
];

fn options(network: i32, pid: i32, ipc: i32) -> api::NamespaceOption {
    api::NamespaceOption { network, pid, ipc, ..Default::default() }
}

fn own_processes(stage: &Stage<'_>) -> Result<Seen, Fault> {
    in_namespaces(stage, &options(POD, CONTAINER, POD))
}

fn pod_processes(stage: &Stage<'_>) -> Result<Seen, Fault> {
    in_namespaces(stage, &options(POD, POD, POD))
}

fn host_processes(stage: &Stage<'_>) -> Result<Seen, Fault> {
    in_namespaces(stage, &options(POD, NODE, POD))
}

fn host_ipc(stage: &Stage<'_>) -> Result<Seen, Fault> {
    in_namespaces(stage, &options(POD, CONTAINER, NODE))
}

fn host_network(stage: &Stage<'_>) -> Result<Seen, Fault> {
    in_namespaces(stage, &options(NODE, CONTAINER, POD))
}

/// Two containers of a pod, so that what they share can be seen.
fn in_namespaces(stage: &Stage<'_>, options: &api::NamespaceOption) -> Result<Seen, Fault> {
    let pod = stage.pod(|config| {
        if options.network == NODE {
            config.hostname.clear();
        }
        pod_secured(config, |security| security.namespace_options = Some(options.clone()));
    })?;
    let change = |config: &mut api::ContainerConfig| {
        secured(config, |security| security.namespace_options = Some(options.clone()));
    };
    let (first, second) = (stage.container(&pod, change)?, stage.container(&pod, change)?);
    let mut seen = Seen::new();
    relations(&second, pause_pid(stage, &pod.id)?, "the pod's", &mut seen)?;
    if options.pid != NODE {
        second.note(&mut seen, "process 1", "cat /proc/1/cmdline | busybox tr '\\0' ' '")?;
    }
    first.exec(&["sh", "-c", "echo word > /dev/shm/word"])?;
    let shared = second.exec(&["cat", "/dev/shm/word"])?.stdout == "word\n";
    let name = second.exec(&["stat", "-c", "%d", "/dev/shm"])?.stdout;
    let hosts = options.ipc == NODE
        && name.trim() == std::os::unix::fs::MetadataExt::dev(&std::fs::metadata("/dev/shm")?).to_string();
    seen.note(
        "shm",
        if hosts {
            "the host's"
        } else if shared {
            "shared"
        } else {
            "its own"
        },
    );
    first.exec(&["sh", "-c", "busybox rm -f /dev/shm/word"])?;
    pod.remove()?;
    Ok(seen)
}

/// A container for debugging in the process namespace of one that runs.
fn target(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|config| {
        pod_secured(config, |security| security.namespace_options = Some(options(POD, CONTAINER, POD)))
    })?;
    let own = |config: &mut api::ContainerConfig| {
        secured(config, |security| security.namespace_options = Some(options(POD, CONTAINER, POD)))
    };
    let workload = stage.container(&pod, own)?;
    let debugger = stage.container(&pod, |config| {
        let options = api::NamespaceOption { target_id: workload.id.clone(), ..options(POD, TARGET, POD) };
        secured(config, |security| security.namespace_options = Some(options));
    })?;
    let mut seen = Seen::new();
    relations(&debugger, workload.pid()?, "the target's", &mut seen)?;
    debugger.note(&mut seen, "process 1", "cat /proc/1/cmdline | busybox tr '\\0' ' '")?;
    stage.cri.stop(&workload.id, 0)?;
    seen.note("exit of the target", super::containers::code_and_reason(&workload)?);
    // The namespace takes the debugger with it: a stop in that moment is answered `ttrpc: closed` by containerd, whatever the shim.
    super::containers::awaited_end(&debugger)?;
    pod.remove()?;
    Ok(seen)
}

/// Whose each namespace of a container is: the host's, that of the process it is compared with, or its own.
fn relations(container: &Container<'_>, other: u32, others: &str, seen: &mut Seen) -> Result<(), Fault> {
    let (pid, other) = (container.pid()?.to_string(), other.to_string());
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
        let own = namespace(&pid, kind)?;
        let whose = if own == namespace("self", kind)? {
            "the host's"
        } else if own == namespace(&other, kind)? {
            others
        } else {
            "its own"
        };
        seen.note(kind, whose);
    }
    Ok(())
}
