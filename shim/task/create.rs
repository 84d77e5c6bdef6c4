//! Create: from a request to an init process that waits for start.
//!
//! Each step that leaves something behind is undone when a later one fails, in reverse order.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use containerd_shim_protos::api::CreateTaskRequest;
use containerd_shim_protos::events::task::{TaskCreate, TaskIO};
use containerd_shim_protos::protobuf::MessageField;
use palisade_policy::{CallWatch, ImageAnswer, ProfilePlace, RootfsMount as RootfsFact, TaskFacts};

use super::attestation::{self, Look};
use super::container::{Container, Created};
use super::error::TaskError;
use super::host::{ContainerCgroup, Host};
use super::io::{ConsoleSocket, Owner, ProcessIo, Stdio, Streams, TerminalEnds};
use super::mount::RootfsMount;
use super::process::Process;
use super::reaper::Child;
use super::service::TaskService;
use crate::attest::{Attested, Expected, TableMark};
use crate::audit::{Chronicle, Destination};
use crate::bootstrap::runtime_options;
use crate::bundle::{HardenedBundle, OciBundle};
use crate::gate::{CreateTask, LoadedPolicy, Pins};
use crate::image::ImageQuestion;
use crate::runtime::{
    Call, ChildStdio, ContainerRecord, FilterFile, FilterProgram, HostView, Listening, OciRuntime, RECORD_NAME,
    RuntimeError,
};
use crate::watch::{Kind, Subject, Watch};

/// File that the runtime writes init's pid to.
const PID_FILE: &str = "init.pid";
/// Name of the socket for init's terminal.
const CONSOLE_SOCKET: &str = "console.sock";

/// Creates the container of a request.
pub(super) async fn create(service: &TaskService, request: &CreateTaskRequest) -> Result<Arc<Container>, TaskError> {
    let bundle = OciBundle::open(Path::new(&request.bundle), service.namespace(), &request.id)
        .map_err(crate::gate::GateError::Bundle)?;
    let (hardened, policy, pins) = judge(service, request, &bundle).await?;
    let rootfs = bundle.rootfs();
    let made = make(service, request, &bundle, &hardened, &policy, pins).await;
    match made {
        Ok(container) => Ok(container),
        Err(error) => {
            undo(service, hardened, &request.id, &rootfs).await;
            Err(error)
        }
    }
}

async fn judge(
    service: &TaskService,
    request: &CreateTaskRequest,
    bundle: &OciBundle,
) -> Result<(HardenedBundle, LoadedPolicy, Pins), TaskError> {
    let options = runtime_options(request.options.as_ref())
        .map_err(|error| TaskError::Invalid { field: "options", value: error.to_string() })?;
    let rootfs: Vec<RootfsFact<'_>> = request
        .rootfs
        .iter()
        .map(|mount| RootfsFact { kind: &mount.type_, source: &mount.source, options: &mount.options })
        .collect();
    let reading = service.gate().read(bundle)?;
    let question =
        reading.asks_for_image(&request.id).map(|images| ImageQuestion::new(images, service.namespace(), &request.id));
    let image = match question {
        Some(question) => service.host().image_of(question).await,
        None => ImageAnswer::NotAsked,
    };
    let sandboxes = service.sandboxes();
    let task = TaskFacts {
        id: &request.id,
        namespace: service.namespace(),
        bundle: bundle.path(),
        stdin: &request.stdin,
        stdout: &request.stdout,
        stderr: &request.stderr,
        terminal: request.terminal,
        checkpoint: &request.checkpoint,
        parent_checkpoint: &request.parent_checkpoint,
        rootfs_mounts: &rootfs,
        options,
        sandboxes: &sandboxes,
    };
    let (spec, policy, pins) =
        service.gate().create(CreateTask { task, bundle, pod: &service.pod(), image }, reading)?;
    Ok((HardenedBundle::write(bundle.path(), spec)?, policy, pins))
}

async fn make(
    service: &TaskService,
    request: &CreateTaskRequest,
    bundle: &OciBundle,
    hardened: &HardenedBundle,
    policy: &LoadedPolicy,
    pins: Pins,
) -> Result<Arc<Container>, TaskError> {
    let runtime = OciRuntime::chosen_by(policy.policy());
    let record = ContainerRecord::new(
        runtime.clone(),
        hardened.grant().identity().sandbox_id(),
        service.socket(),
        hardened.spec().cgroups_path(),
    );
    hardened.dir().write_record(RECORD_NAME, &record)?;
    // While another thread mounts.
    let compiled = async { FilterProgram::of(hardened.spec(), &runtime) };
    let (mounted, compiled) = tokio::join!(mount_rootfs(service, request, bundle), compiled);
    mounted?;
    let filter = compiled.map_err(RuntimeError::Filter)?.map(|program| program.write(hardened.dir())).transpose()?;
    service.gate().rootfs(service.namespace(), &request.id, hardened.spec(), &pins, policy)?;
    let files = attestation::identities(hardened, &pins)?;
    let destination = Destination::following(service.audit_in_force(), policy.policy().audit());
    let chronicle = Chronicle::new(service.namespace(), &request.id, hardened.grant(), policy.sha256(), destination);
    let init = Process::new("", stdio_of(request));
    let adoption = service.reaper().expect_child();
    let watch = watch(service, hardened, policy, &runtime, &chronicle);
    let listening = watch.as_ref().map(Watch::listening);
    let asked = Asked { service, hardened, runtime: &runtime, id: &request.id, listening, filter };
    // While the runtime is at work.
    let decided = async { attestation::expected_of(hardened, &files) };
    let (called, decided) = tokio::join!(run_create(asked, init.stdio(), pins), decided);
    let held = called
        .and_then(|(pid, io)| hold(service.host(), hardened.spec().cgroups_path(), &init, adoption.adopt(pid), io));
    let finished = match held.and_then(|(child, cgroup)| Ok((child, cgroup, Arc::new(decided?)))) {
        Ok((child, cgroup, expected)) => {
            let look = Look {
                service,
                id: &request.id,
                exec_id: "",
                grant: hardened.grant(),
                stage: attestation::created(&runtime, None),
                cgroup: cgroup.as_ref(),
                chronicle: &chronicle,
            };
            let attested = attest(&look, child.pid(), &expected).await;
            let finished = attested
                .and_then(|attested| finish(request, hardened, &runtime, child.pid(), cgroup, attested, record));
            finished.map(|created| (child, created))
        }
        Err(error) => Err(error),
    };
    let (child, created) = match finished {
        Ok(made) => made,
        Err(error) => {
            let killed = matches!(error, TaskError::Runtime(RuntimeError::Deadline { .. }));
            remove_half_created(service, hardened, &runtime, &request.id, killed).await;
            return Err(error);
        }
    };
    let container = Container::new(created, Arc::clone(&init), service.events().clone(), watch);
    let order = init.in_order().await;
    container.watch_init(child, service.hits_recorder());
    container.watch_oom();
    container.watch_limits();
    service.events().send(&created_event(request, init.pid()));
    drop(order);
    Ok(container)
}

/// A runtime that was killed at its deadline, or that succeeded where the shim then failed, has left a container.
/// One that was killed may not have noted it yet, so that its own delete finds nothing and succeeds.
async fn remove_half_created(
    service: &TaskService,
    hardened: &HardenedBundle,
    runtime: &OciRuntime,
    id: &str,
    killed: bool,
) {
    let deleted = service.host().run(runtime.delete(hardened.dir(), id, true)).await;
    if let Err(failed) = &deleted {
        crate::warn!("remove a half-created container: {}", crate::log::chain(failed));
    }
    if killed || deleted.is_err() {
        remove_cgroup(service, hardened.spec().cgroups_path(), id).await;
    }
}

/// Kills what the runtime could not. Only a cgroup that carries the container's id is certain to be this container's.
async fn remove_cgroup(service: &TaskService, cgroups_path: &str, id: &str) {
    if cgroups_path.rsplit(['/', ':']).next().is_none_or(|name| name != id) {
        return;
    }
    if let Err(error) = service.host().remove_cgroup_at(cgroups_path).await {
        crate::warn!("cgroup of {id}: {}", crate::log::chain(&error));
    }
}

/// From here on neither init nor its cgroup can be taken for another's.
fn hold(
    host: &dyn Host,
    cgroups_path: &str,
    init: &Process,
    child: Child,
    io: ProcessIo,
) -> Result<(Child, Arc<dyn ContainerCgroup>), TaskError> {
    if child.was_collected() {
        return Err(TaskError::EndedEarly);
    }
    init.spawned(host, &child, io)?;
    let cgroup = host.cgroup_of(child.pid(), cgroups_path)?;
    Ok((child, cgroup))
}

/// Nothing of the container's has run yet, and nothing does unless this succeeds.
async fn attest(look: &Look<'_>, pid: u32, expected: &Arc<Expected>) -> Result<Held, TaskError> {
    let Some((attested, seen)) = look.at(pid, expected).await? else { return Err(TaskError::EndedEarly) };
    if seen.has_ended() {
        return Err(TaskError::EndedEarly);
    }
    Ok(Held {
        attested,
        expected: seen.settle(Expected::clone(expected)),
        table: seen.table(),
        chronicle: look.chronicle.clone(),
    })
}

/// A container that was attested, what it is held to from then on, and the mount table that it had.
struct Held {
    attested: Attested,
    expected: Expected,
    table: Option<TableMark>,
    chronicle: Chronicle,
}

fn finish(
    request: &CreateTaskRequest,
    hardened: &HardenedBundle,
    runtime: &OciRuntime,
    pid: u32,
    cgroup: Arc<dyn ContainerCgroup>,
    held: Held,
    record: ContainerRecord,
) -> Result<Created, TaskError> {
    attestation::keep(hardened.dir(), &held.expected)?;
    hardened.dir().write_record(RECORD_NAME, &record.with_init(pid))?;
    Ok(Created {
        id: request.id.clone(),
        bundle: request.bundle.clone().into(),
        dir: hardened.dir().clone(),
        runtime: runtime.clone(),
        grant: hardened.grant().clone(),
        cgroups_path: hardened.spec().cgroups_path().to_owned(),
        cgroup,
        expected: Mutex::new(Arc::new(held.expected)),
        _attested: held.attested,
        table: held.table,
        shares_pid_namespace: hardened.spec().pid_namespace_shared(),
        chronicle: held.chronicle,
    })
}

/// Sees to what the container's filter asks, where the policy wants that and the runtime can do it. The filter counts without it too.
fn watch(
    service: &TaskService,
    hardened: &HardenedBundle,
    policy: &LoadedPolicy,
    runtime: &OciRuntime,
    chronicle: &Chronicle,
) -> Option<Watch> {
    let kind = match policy.policy().call_watch(hardened.grant()) {
        CallWatch::Off => return None,
        _ if !runtime.is_embedded() => return None,
        CallWatch::Refusals => Kind::Refusals,
        CallWatch::Calls => Kind::Calls,
    };
    let subject = Subject {
        namespace: service.namespace().to_owned(),
        id: chronicle.id().to_owned(),
        identity: hardened.grant().identity().clone(),
        profile: hardened.grant().profile().to_owned(),
        chronicle: chronicle.clone(),
        seccomp: if kind == Kind::Calls { hardened.spec().seccomp().cloned() } else { None },
        records: policy.policy().call_records().to_owned(),
    };
    let watch = service.host().watch(hardened.dir(), kind, subject);
    watch.inspect_err(|error| crate::warn!("the calls of {} are not watched: {error}", chronicle.id())).ok().flatten()
}

/// What is created, and how.
struct Asked<'a> {
    service: &'a TaskService,
    hardened: &'a HardenedBundle,
    runtime: &'a OciRuntime,
    id: &'a str,
    listening: Option<&'a Listening>,
    filter: Option<FilterFile>,
}

async fn run_create(asked: Asked<'_>, stdio: &Stdio, pins: Pins) -> Result<(u32, ProcessIo), TaskError> {
    let Asked { service, hardened, runtime, id, listening, filter } = asked;
    let dir = hardened.dir();
    let profile = filter.as_ref().map_or(ProfilePlace::Document, |_| ProfilePlace::Compiled);
    let view = HostView::of(dir, hardened.spec(), pins, runtime, profile)?;
    let pid_file = dir.path().join(PID_FILE);
    let systemd = is_systemd_path(hardened.spec().cgroups_path());
    let create = |child, console: Option<&Path>| {
        runtime
            .create(dir, id, child, console, &pid_file, systemd)
            .asking(listening)
            .filtered_by(filter.as_ref())
            .seeing(view)
    };
    let streams = streams(service, stdio, owner_of(hardened.grant()), id);
    let made = connect(&streams, dir.path(), CONSOLE_SOCKET, &pid_file, create).await;
    // The runtime has ended, and with it the mounts.
    dir.remove_view()?;
    made
}

/// Runs a call that leaves a process behind, connected to pipes or a terminal.
pub(super) async fn connect(
    streams: &Streams<'_>,
    dir: &Path,
    socket_name: &str,
    pid_file: &Path,
    call: impl FnOnce(ChildStdio, Option<&Path>) -> Call,
) -> Result<(u32, ProcessIo), TaskError> {
    if streams.stdio.terminal {
        let ends = TerminalEnds::open(streams).await?;
        let socket = ConsoleSocket::listen(dir, socket_name)?;
        let call = call(ChildStdio::default(), Some(socket.path_for_runtime()));
        let terminal = tokio::spawn(socket.receive(streams.owner));
        // The call is always waited for: whoever cleans up after a failure must not race it.
        let pid = streams.host.run_for_pid(call, pid_file).await.inspect_err(|_| terminal.abort())?;
        let console =
            terminal.await.map_err(|error| TaskError::System { action: "take the terminal", source: error.into() })?;
        return Ok((pid, ProcessIo::terminal(ends, console?)?));
    }
    let (io, child) = ProcessIo::pipes(streams).await?;
    let pid = streams.host.run_for_pid(call(child, None), pid_file).await?;
    Ok((pid, io))
}

/// `id` is the container's, or the exec's.
pub(super) fn streams<'a>(service: &'a TaskService, stdio: &'a Stdio, owner: Owner, id: &'a str) -> Streams<'a> {
    Streams { stdio, owner, id, namespace: service.namespace(), reaper: service.reaper(), host: service.host() }
}

/// Pipes belong to the user that the process runs as.
pub(super) fn owner_of(grant: &palisade_policy::Grant) -> Owner {
    Owner { uid: grant.host_uid(), gid: grant.host_gid() }
}

/// `slice:prefix:name` is how systemd's cgroup driver writes a path; a cgroupfs path has no colon.
/// Source: runc `docs/systemd.md`.
fn is_systemd_path(path: &str) -> bool {
    path.split(':').count() == 3
}

async fn mount_rootfs(service: &TaskService, request: &CreateTaskRequest, bundle: &OciBundle) -> Result<(), TaskError> {
    let target = bundle.rootfs();
    let made = DirBuilder::new().recursive(true).mode(0o711).create(&target);
    made.map_err(|source| TaskError::System { action: "make the rootfs directory", source })?;
    if request.rootfs.is_empty() {
        return Ok(());
    }
    let mounts = request
        .rootfs
        .iter()
        .map(|mount| RootfsMount {
            kind: mount.type_.clone(),
            source: mount.source.clone(),
            target: mount.target.clone(),
            options: mount.options.clone(),
        })
        .collect();
    service.host().mount_rootfs(&target, mounts).await
}

/// The bundle is as it was before the request.
async fn undo(service: &TaskService, hardened: HardenedBundle, id: &str, rootfs: &Path) {
    if let Err(error) = service.host().unmount_rootfs(rootfs).await {
        crate::warn!("{}", crate::log::chain(&error));
    }
    if hardened.dir().runtime_root().join(id).exists() {
        // The runtime could not remove its container; `shim delete` needs the directory to try again.
        crate::warn!("container {id} is left half-created");
        return;
    }
    if let Err(error) = hardened.dir().clone().destroy() {
        crate::warn!("{}", crate::log::chain(&error));
    }
}

fn stdio_of(request: &CreateTaskRequest) -> Stdio {
    Stdio {
        stdin: request.stdin.clone(),
        stdout: request.stdout.clone(),
        stderr: request.stderr.clone(),
        terminal: request.terminal,
    }
}

fn created_event(request: &CreateTaskRequest, pid: u32) -> TaskCreate {
    TaskCreate {
        container_id: request.id.clone(),
        bundle: request.bundle.clone(),
        rootfs: request.rootfs.clone(),
        io: MessageField::some(TaskIO {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
            ..TaskIO::default()
        }),
        checkpoint: request.checkpoint.clone(),
        pid,
        ..TaskCreate::default()
    }
}

#[cfg(test)]
mod tests {
    use super::is_systemd_path;

    #[test]
    fn the_form_of_the_path_names_the_cgroup_driver() {
        assert!(is_systemd_path("kubepods-burstable.slice:cri-containerd:abc"));
        assert!(!is_systemd_path("/kubepods/burstable/abc"));
    }
}
