//! What a caller of containerd asks for beside a specification (contract §6.3 to §6.5, §6.17, §6.18, §6.21).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use containerd_client::types::Mount;
use libtest_mimic::Failed;
use nix::sys::stat::Mode;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::{Run, unique};
use palisade_integration::image;
use palisade_integration::tasks::CreateOptions;
use palisade_probe::ProcessReport;
use prost_types::Any;
use serde_json::json;

use super::ways::Way::{Create, Test, Update};
use super::ways::{Container, Meeting, SLEEP, seen};
use super::{Bypass, Met, powerless, refused};
use crate::spec_edits::set;
use crate::support::World;

const CLAMPED: &str =
    "limits of an update stay within the policy's, and within those of the specification where they are files";
const STREAM: &str = "create, with a stream that tells where it went";
const NO_CRIU: &str = "CRIU is not on every machine";
const ONE_GIB: u64 = 1 << 30;
/// The restricted profile's ceiling of memory.
const MOST_MEMORY: u64 = 64 * ONE_GIB;

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
        "stream-program",
        "§6.17, CVE-2026-53488",
        "a program of the host as log",
        Test(STREAM, stream_program),
        "task.stdio",
    ),
    refused("stream-file", "§6.17", "a file of the host as log", Test(STREAM, stream_file), "task.stdio"),
    refused(
        "stream-plain-file",
        "§6.17",
        "a file of the host where a fifo belongs",
        Test(STREAM, stream_plain),
        "task.stdio",
    ),
    refused("stream-fifo", "§6.17", "a fifo of another program's", Test(STREAM, stream_fifo), "task.stdio"),
    powerless(
        "stream-link",
        "§6.17, CVE-2026-53489",
        "a link among containerd's fifos to a file of the host",
        Test(STREAM, stream_link),
        "streams are opened without following links, and are fifos",
    ),
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

fn checkpoint(world: &World, runtime: Runtime) -> Meeting {
    let container = world.containerd.detach(&Run::new(runtime, SLEEP))?;
    let answer = world.tasks()?.checkpoint(container.id());
    container.remove()?;
    Ok(seen(answer.is_ok(), format!("{answer:?}")))
}

/// Runs a container that says a word on these streams. The inner value is the answer to create and start.
fn speak(world: &World, runtime: Runtime, stream: &str) -> Result<Option<palisade_integration::Failure>, Failed> {
    let container = Container::make(world, runtime, &["echo", "word"], |_| ())?;
    let stdio = [String::new(), stream.to_owned(), stream.to_owned()];
    match container.start(CreateOptions { stdio, ..Default::default() }) {
        Err(failure) => Ok(Some(failure)),
        Ok(_) => {
            container.tasks.wait(&container.id, "")?;
            container.tasks.delete(&container.id)?;
            Ok(None)
        }
    }
}

/// What became of a file of the host: through where the container's word, or a program's work, is there.
fn into(canary: &Path, failure: Option<palisade_integration::Failure>, before: &str) -> Meeting {
    let now = fs::read_to_string(canary).unwrap_or_else(|_| "nothing".to_owned());
    Ok(match failure {
        _ if now != before => Met::Through,
        Some(failure) => Met::Refused(failure),
        None => Met::Powerless(format!("the file has {now:?}")),
    })
}

fn canary(world: &World) -> std::path::PathBuf {
    world.containerd.layout().base.join(unique("canary"))
}

/// The program makes the file that it is named as an argument; that it is no logger comes later.
fn stream_program(world: &World, runtime: Runtime) -> Meeting {
    let canary = canary(world);
    let failure = speak(world, runtime, &format!("binary:///usr/bin/touch?{}", canary.display()))?;
    into(&canary, failure, "nothing")
}

fn stream_file(world: &World, runtime: Runtime) -> Meeting {
    let canary = canary(world);
    let failure = speak(world, runtime, &format!("file://{}", canary.display()))?;
    into(&canary, failure, "nothing")
}

fn stream_plain(world: &World, runtime: Runtime) -> Meeting {
    let canary = canary(world);
    fs::write(&canary, "before")?;
    let failure = speak(world, runtime, &canary.display().to_string())?;
    into(&canary, failure, "before")
}

fn stream_fifo(world: &World, runtime: Runtime) -> Meeting {
    let fifo = canary(world);
    nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let mut reader = fs::File::options().read(true).write(true).open(&fifo)?;
    let failure = speak(world, runtime, &fifo.display().to_string())?;
    match failure {
        Some(failure) => Ok(Met::Refused(failure)),
        None => {
            let mut word = [0; 4];
            std::io::Read::read_exact(&mut reader, &mut word)?;
            Ok(Met::Through)
        }
    }
}

fn stream_link(world: &World, runtime: Runtime) -> Meeting {
    let canary = canary(world);
    fs::write(&canary, "before")?;
    let folder = Path::new("/run/containerd/fifo").join(unique("link"));
    fs::create_dir_all(&folder)?;
    symlink(&canary, folder.join("stdout"))?;
    let failure = speak(world, runtime, &folder.join("stdout").display().to_string());
    fs::remove_dir_all(&folder)?;
    let failure = failure?;
    match into(&canary, failure, "before")? {
        Met::Refused(failure) => Ok(Met::Powerless(failure.to_string())),
        met => Ok(met),
    }
}

fn rootfs_of_host(world: &World, runtime: Runtime) -> Meeting {
    let container = Container::make(world, runtime, &["/bin/true"], |_| ())?;
    let source = super::spec::host_root(world)?.display().to_string();
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
