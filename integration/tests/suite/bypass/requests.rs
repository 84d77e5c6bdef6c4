//! What a caller of containerd asks for beside a specification (contract §6.4, §6.5, §6.18, §6.21).

use std::fs;

use containerd_client::types::Mount;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::{Run, unique};
use palisade_integration::image;
use palisade_integration::tasks::CreateOptions;
use palisade_probe::ProcessReport;
use prost_types::Any;
use serde_json::json;

use super::container::{Container, SLEEP};
use super::ways::Way::{Create, Test};
use super::ways::{Meeting, seen};
use super::{Bypass, Met, powerless, refused};
use crate::spec_edits::set;
use crate::support::World;

const NO_CRIU: &str = "CRIU is not on every machine";

pub(super) const ENTRIES: &[Bypass] = &[
    refused(
        "restore",
        "§6.4, CVE-2024-8676, CVE-2026-53492",
        "a checkpoint, which brings credentials and filters of its own",
        // containerd unpacks the checkpoint before it asks the shim, so the content has to be there.
        Create(|_| Ok(CreateOptions { checkpoint: Some(image::digest_of(&image::EMPTY_LAYER)), ..Default::default() })),
        "task.checkpoint",
    )
    .untried(NO_CRIU),
    powerless(
        "checkpoint",
        "§6.4",
        "a checkpoint of a running container",
        Test("checkpoint", checkpoint),
        "not implemented",
    )
    .untried(NO_CRIU),
    refused(
        "option-binary",
        "§6.5",
        "another runtime binary",
        Create(|world| Ok(options(6, &world.containerd.assets().runc.display().to_string()))),
        "task.options",
    ),
    refused(
        "option-root",
        "§6.5",
        "another directory for the runtime's state",
        Create(|world| Ok(options(7, &world.containerd.layout().base.join("elsewhere").display().to_string()))),
        "task.options",
    ),
    refused("option-no-pivot", "§6.5", "no pivot_root", Create(|_| Ok(flag(1))), "task.options"),
    refused(
        "option-no-keyring",
        "§6.5",
        "the session keyring of the runtime's caller",
        Create(|_| Ok(flag(2))),
        "task.options",
    ),
    powerless(
        "option-policy-file",
        "§6.5",
        "another policy file, by the options of a handler",
        Test("create, other fields of the request", policy_file),
        "the policy file is the one that containerd's environment names",
    )
    .untried("runc has no policy"),
    refused("option-cgroup", "§6.5", "a cgroup for the shim", Create(|_| Ok(options(3, "/bypass"))), "task.options")
        .untried("leaves a cgroup"),
    refused(
        "option-criu-image",
        "§6.4",
        "a directory of the host for images",
        Create(|_| Ok(options(10, "/etc"))),
        "task.options",
    )
    .untried(NO_CRIU),
    refused(
        "option-criu-work",
        "§6.4",
        "a directory of the host to work in",
        Create(|_| Ok(options(11, "/etc"))),
        "task.options",
    )
    .untried(NO_CRIU),
    refused(
        "rootfs-of-host",
        "§6.9",
        "a directory of the host as root filesystem, by the mounts of the request",
        Test("create, other fields of the request", rootfs_of_host),
        "task.rootfs",
    ),
    refused(
        "rootfs-layer-of-host",
        "§6.9",
        "a directory of the host as a layer of the root filesystem",
        Test("create, other fields of the request", rootfs_layer),
        "task.rootfs",
    ),
    refused(
        "claims-sandbox",
        "§6.18, §6.19",
        "a container that names itself as its sandbox",
        Test("create, changed annotations", claims_sandbox),
        "task.identity",
    ),
    powerless(
        "abstract-socket",
        "CVE-2020-15257",
        "the shim's socket from a container in the host's network",
        Test("looked for while a container runs", abstract_socket),
        "the socket is a path below a directory of root's",
    )
    .stops_too("containerd has used paths since 1.4.3"),
    powerless(
        "leaked-descriptor",
        "§6.21, CVE-2024-21626",
        "a descriptor of the host that the program inherits",
        Test("create; reported inside", leaked_descriptor),
        "the runtime closes what it does not hand on",
    )
    .stops_too("runc has closed them since 1.1.12"),
];

/// `containerd.runc.v1.Options` with one text.
fn options(field: u8, text: &str) -> CreateOptions {
    let mut value = vec![field << 3 | 2, u8::try_from(text.len()).unwrap_or(u8::MAX)];
    value.extend_from_slice(text.as_bytes());
    of_runc(value)
}

/// The same with one switch.
fn flag(field: u8) -> CreateOptions {
    of_runc(vec![field << 3, 1])
}

fn of_runc(value: Vec<u8>) -> CreateOptions {
    let options = Any { type_url: "containerd.runc.v1.Options".to_owned(), value };
    CreateOptions { options: Some(options), ..Default::default() }
}

/// `runtimeoptions.v1.Options`: a path of a policy without rules, and its text. The user of the process tells which was in force.
fn policy_file(world: &World, runtime: Runtime) -> Meeting {
    let text = "version = 1\nprofile = \"privileged\"\n";
    let file = canary(world);
    fs::write(&file, text)?;
    let mut value = Vec::new();
    for (field, content) in [(2_u8, file.display().to_string()), (3, text.to_owned())] {
        value.extend([field << 3 | 2, u8::try_from(content.len())?]);
        value.extend_from_slice(content.as_bytes());
    }
    let options = Any { type_url: "runtimeoptions.v1.Options".to_owned(), value };
    let container = Container::make(world, runtime, SLEEP, |_| ())?;
    match container.start(CreateOptions { options: Some(options), ..Default::default() }) {
        Err(failure) => Ok(Met::Powerless(failure.to_string())),
        Ok(pid) => {
            crate::lifecycle::waits_for_signal(pid)?;
            let uid = super::seen::status(pid, "Uid");
            Ok(seen(uid.starts_with("0\t"), format!("user {uid}")))
        }
    }
}

fn checkpoint(world: &World, runtime: Runtime) -> Meeting {
    let container = world.containerd.detach(&Run::new(runtime, SLEEP))?;
    let answer = world.tasks()?.checkpoint(container.id());
    container.remove()?;
    Ok(seen(answer.is_ok(), format!("{answer:?}")))
}

fn canary(world: &World) -> std::path::PathBuf {
    world.containerd.layout().base.join(unique("canary"))
}

fn rootfs_of_host(world: &World, runtime: Runtime) -> Meeting {
    let container = Container::make(world, runtime, &["/bin/true"], |_| ())?;
    let source = super::document::host_root(world)?.display().to_string();
    let options = vec!["rbind".to_owned(), "ro".to_owned()];
    let whole = Mount { r#type: "bind".to_owned(), source, options, ..Default::default() };
    let options = CreateOptions { rootfs: Some(vec![whole]), ..Default::default() };
    Ok(container.start(options).map_or_else(Met::Refused, |_| Met::Through))
}

/// The snapshot's own layers, and one more below them.
fn rootfs_layer(world: &World, runtime: Runtime) -> Meeting {
    let container = Container::make(world, runtime, &["true"], |_| ())?;
    let layer = canary(world);
    fs::create_dir(&layer)?;
    let mut mounts = container.mounts.clone();
    for option in mounts.iter_mut().flat_map(|mount| &mut mount.options) {
        if option.starts_with("lowerdir=") {
            option.push(':');
            option.push_str(&layer.display().to_string());
        }
    }
    expect!(mounts != container.mounts, "the snapshot has no lower directory");
    let options = CreateOptions { rootfs: Some(mounts), ..Default::default() };
    Ok(container.start(options).map_or_else(Met::Refused, |_| Met::Through))
}

fn claims_sandbox(world: &World, runtime: Runtime) -> Meeting {
    let id = unique("bypass");
    let mut spec = palisade_integration::bundle_spec::spec(world.containerd.tag(), &id, &["true"]);
    let names = json!({ "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": id });
    set(&mut spec, "/annotations", names);
    let container = Container::of(world, runtime, id, &spec.to_string())?;
    Ok(container.start(CreateOptions::default()).map_or_else(Met::Refused, |_| Met::Through))
}

fn abstract_socket(world: &World, runtime: Runtime) -> Meeting {
    let container = world.containerd.detach(&Run::new(runtime, SLEEP))?;
    let sockets = fs::read_to_string("/proc/net/unix")?;
    expect!(sockets.contains("/run/containerd/s/"), "no shim's socket among {sockets}");
    let found = sockets.lines().find(|line| line.contains('@') && line.contains("shim")).map(str::to_owned);
    container.remove()?;
    Ok(seen(found.is_some(), "no abstract socket"))
}

fn leaked_descriptor(world: &World, runtime: Runtime) -> Meeting {
    let report: ProcessReport = world.report(runtime, &[])?;
    let beyond = |number: &&String| !matches!(number.as_str(), "0" | "1" | "2");
    let leaked: Vec<_> = report.descriptors.keys().filter(beyond).collect();
    expect!(!report.descriptors.is_empty(), "no descriptor at all");
    Ok(seen(!leaked.is_empty(), "only the three streams"))
}
