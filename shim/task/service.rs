//! The verbs of the task API. Source: containerd `api/runtime/task/v3/shim.proto`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use containerd_shim_protos::api::{
    CreateTaskRequest, CreateTaskResponse, DeleteRequest, DeleteResponse, ExecProcessRequest, KillRequest,
    PidsResponse, StartRequest, StartResponse, StateRequest, StateResponse, UpdateTaskRequest,
};
use containerd_shim_protos::events::task::{TaskDelete, TaskPaused, TaskResumed, TaskStart};
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{EnumOrUnknown, Message as _};
use containerd_shim_protos::shim::oci::ProcessDetails;
use containerd_shim_protos::types::task::ProcessInfo;
use tokio::sync::Notify;

use super::attestation::{self, Look};
use super::container::{Container, Created};
use super::error::TaskError;
use super::events::EventQueue;
use super::exit::timestamp;
use super::host::Host;
use super::limit_hits::HitsRecorder;
use super::process::Process;
use super::reaper::{Reaper, Remembered};
use super::signal::SignalNumber;
use super::state::TaskState;
use super::{create, exec};
use crate::attest::{Attested, Seen, Stage};
use crate::audit::InForce;
use crate::bootstrap::is_identifier;
use crate::cgroup::CgroupError;
use crate::gate::{Gate, PodFacts, UpdateTask};
use crate::rest::Rest;
use crate::runtime::RuntimeError;
use palisade_policy::{ContainerKind, Identity};

/// How long Delete waits for output that is still on its way.
const DRAIN: Duration = Duration::from_secs(10);
/// How long Delete waits for an init process that was never started to die.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// Type under which clients decode the exec id in `Pids`.
const PROCESS_DETAILS_TYPE: &str = "containerd.runc.v1.ProcessDetails";

/// All containers of one pod.
pub struct TaskService {
    namespace: String,
    socket: String,
    gate: Arc<Gate>,
    host: Arc<dyn Host>,
    reaper: Reaper,
    events: EventQueue,
    shutdown: Arc<Notify>,
    rest: Rest,
    containers: Mutex<Containers>,
}

#[derive(Default)]
struct Containers {
    present: BTreeMap<String, Arc<Container>>,
    /// Ids of containers that are being created, so that one id is created once.
    reserved: BTreeSet<String>,
    /// The shim is about to end and takes no container any more.
    closing: bool,
}

impl TaskService {
    /// A service without containers. `socket` is its own address, for `shim delete`; the exits of the host's processes
    /// come through `reaper`.
    #[must_use]
    pub fn new(
        namespace: &str,
        socket: &str,
        gate: Gate,
        host: Arc<dyn Host>,
        reaper: Reaper,
        events: EventQueue,
    ) -> Arc<Self> {
        Arc::new(Self {
            namespace: namespace.into(),
            socket: socket.into(),
            gate: Arc::new(gate),
            host,
            reaper,
            events,
            shutdown: Arc::default(),
            rest: Rest::default(),
            containers: Mutex::default(),
        })
    }

    /// Notified when containerd wants the shim to end and no container is left.
    #[must_use]
    pub fn shutdown_requested(&self) -> Arc<Notify> {
        Arc::clone(&self.shutdown)
    }

    /// Who is told of verbs, to give back memory when none come.
    pub(crate) fn rest(&self) -> Rest {
        self.rest.clone()
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn socket(&self) -> &str {
        &self.socket
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Who knows where records go by the policy of now.
    pub(super) fn audit_in_force(&self) -> Arc<dyn InForce> {
        Arc::clone(&self.gate) as Arc<dyn InForce>
    }

    /// Who tells of a container's limits when it has ended, which may be after the service is gone.
    pub(super) fn hits_recorder(&self) -> HitsRecorder {
        HitsRecorder { gate: Arc::clone(&self.gate), namespace: self.namespace.clone() }
    }

    pub(super) fn host(&self) -> &dyn Host {
        &*self.host
    }

    pub(super) fn reaper(&self) -> &Reaper {
        &self.reaper
    }

    pub(super) fn events(&self) -> &EventQueue {
        &self.events
    }

    fn containers(&self) -> MutexGuard<'_, Containers> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pod's sandbox, as it was created here.
    pub(super) fn sandboxes(&self) -> Vec<Identity> {
        let containers = self.containers();
        let identities = containers.present.values().map(|container| container.created().grant.identity());
        identities.filter(|identity| identity.kind == ContainerKind::Sandbox).cloned().collect()
    }

    /// The pod, as far as it is created here.
    pub(super) fn pod(&self) -> PodFacts {
        let containers = self.containers();
        let mut pod = PodFacts::default();
        for container in containers.present.values() {
            if container.init().exit().is_none() {
                pod.inits.push(container.init().pid());
            }
            let created = container.created();
            if created.grant.identity().kind == ContainerKind::Sandbox {
                pod.cgroup = Some(created.cgroups_path.clone());
            }
        }
        pod
    }

    fn container(&self, id: &str) -> Result<Arc<Container>, TaskError> {
        self.containers().present.get(id).cloned().ok_or_else(|| TaskError::NoContainer(id.into()))
    }

    pub(super) fn process(&self, id: &str, exec_id: &str) -> Result<Arc<Process>, TaskError> {
        self.container(id)?.process(exec_id)
    }

    /// A pod whose last container has gone keeps nothing that others may want.
    fn release_if_none(&self, containers: &Containers) {
        if containers.present.is_empty() && containers.reserved.is_empty() {
            self.gate.release();
        }
    }

    /// Keeps an id from being created twice; released when dropped.
    fn reserve(&self, id: &str) -> Result<Reservation<'_>, TaskError> {
        if !is_identifier(id) {
            return Err(TaskError::Invalid { field: "id", value: id.into() });
        }
        let mut containers = self.containers();
        if containers.closing {
            return Err(TaskError::Closing);
        }
        if containers.present.contains_key(id) || !containers.reserved.insert(id.to_owned()) {
            return Err(TaskError::Exists(id.into()));
        }
        Ok(Reservation { service: self, id: id.to_owned() })
    }

    pub(super) async fn create_task(&self, request: CreateTaskRequest) -> Result<CreateTaskResponse, TaskError> {
        let reservation = self.reserve(&request.id)?;
        // The daemon has done it for the first one.
        if !self.containers().present.is_empty() {
            self.host.expect_attach();
        }
        let container = create::create(self, &request).await?;
        let pid = container.init().pid();
        self.containers().present.insert(request.id, container);
        drop(reservation);
        Ok(CreateTaskResponse { pid, ..CreateTaskResponse::default() })
    }

    pub(super) async fn start_task(&self, request: &StartRequest) -> Result<StartResponse, TaskError> {
        let container = self.container(&request.id)?;
        let process = container.process(&request.exec_id)?;
        let pid = if request.exec_id.is_empty() {
            self.start_init(&container).await?
        } else {
            exec::start(self, &container, process).await?
        };
        Ok(StartResponse { pid, ..StartResponse::default() })
    }

    async fn start_init(&self, container: &Container) -> Result<u32, TaskError> {
        let (init, created) = (container.init(), container.created());
        let order = init.in_order().await;
        init.state().may_start()?;
        let (attested, waiting) = self.attest_unstarted(container).await?;
        let remembered = self.reaper.remember(init.pid());
        self.host.run(created.runtime.start(&created.dir, &created.id, &attested)).await?;
        init.set_state(TaskState::Running);
        if let Some(waiting) = waiting {
            self.attest_started(container, &waiting, &remembered).await?;
        }
        let pid = init.pid();
        self.events.send(&TaskStart { container_id: created.id.clone(), pid, ..TaskStart::default() });
        drop(order);
        Ok(pid)
    }

    /// Looks again at what was created: it may have waited for long.
    ///
    /// Of one whose program gets its filter only now also what was seen: it is to be looked at once more.
    async fn attest_unstarted(&self, container: &Container) -> Result<(Attested, Option<Seen>), TaskError> {
        let (init, created) = (container.init(), container.created());
        let expected = created.expected();
        let look = Look {
            service: self,
            id: &created.id,
            exec_id: "",
            grant: &created.grant,
            stage: attestation::created(&created.runtime, created.table),
            cgroup: created.cgroup.as_ref(),
            chronicle: &created.chronicle,
        };
        match look.at(init.pid(), &expected).await {
            Ok(Some((attested, seen))) if !seen.has_ended() => {
                let is_late = created.runtime.is_embedded() || seen.is_to_be_filtered(&expected);
                Ok((attested, is_late.then_some(seen)))
            }
            Ok(_) => Err(TaskError::Finished),
            Err(error) => {
                init.kill()?;
                Err(error)
            }
        }
    }

    /// Looks at a program that has just begun. The whole container is killed if it is not what was decided.
    async fn attest_started(
        &self,
        container: &Container,
        waiting: &Seen,
        remembered: &Remembered,
    ) -> Result<(), TaskError> {
        let (init, created) = (container.init(), container.created());
        // The embedded runtime's start ends with the execve.
        if !created.runtime.is_embedded() {
            attestation::gone_on(created, init.pid(), waiting).await?;
        }
        let look = Look {
            service: self,
            id: &created.id,
            exec_id: "",
            grant: &created.grant,
            stage: Stage::Begun,
            cgroup: created.cgroup.as_ref(),
            chronicle: &created.chronicle,
        };
        let looked = look.begun(init.pid(), remembered.last_status(), &created.expected()).await;
        if looked.is_err() {
            init.kill()?;
            created.cgroup.kill_all().await?;
        }
        looked
    }

    pub(super) async fn delete_process(&self, request: &DeleteRequest) -> Result<DeleteResponse, TaskError> {
        let container = self.container(&request.id)?;
        let process = container.process(&request.exec_id)?;
        if request.exec_id.is_empty() {
            self.delete_init(&container).await?;
        } else {
            delete_exec(&container, &process).await?;
        }
        let response = DeleteResponse {
            pid: process.pid(),
            exit_status: process.exit().map_or(0, super::Exit::status),
            exited_at: process.exit().map(|exit| timestamp(exit.at())).into(),
            ..DeleteResponse::default()
        };
        if request.exec_id.is_empty() {
            self.events.send(&TaskDelete {
                container_id: request.id.clone(),
                pid: response.pid,
                exit_status: response.exit_status,
                exited_at: response.exited_at.clone(),
                ..TaskDelete::default()
            });
        }
        Ok(response)
    }

    async fn delete_init(&self, container: &Container) -> Result<(), TaskError> {
        let (init, created) = (container.init(), container.created());
        end_unstarted(init).await?;
        let order = init.in_order().await;
        // Another Delete may have been faster, and the id a new container's.
        if !std::ptr::eq(&*self.container(&created.id)?, container) {
            return Err(TaskError::NoContainer(created.id.clone()));
        }
        if let Some(mut io) = init.take_io() {
            io.drain(DRAIN).await;
        }
        self.delete_by_runtime(created).await?;
        container.end_watch().await;
        created.cgroup.remove().await?;
        self.host.unmount_rootfs(&created.bundle.join("rootfs")).await?;
        created.dir.clone().destroy()?;
        let mut containers = self.containers();
        containers.present.remove(&created.id);
        self.release_if_none(&containers);
        drop(containers);
        drop(order);
        Ok(())
    }

    /// A runtime that hangs or can't be started must not keep the container: what it would do is done without it, as
    /// `shim delete` does.
    async fn delete_by_runtime(&self, created: &Created) -> Result<(), TaskError> {
        match self.host.run(created.runtime.delete(&created.dir, &created.id, true)).await {
            Err(error @ (RuntimeError::Deadline { .. } | RuntimeError::Spawn { .. })) => {
                crate::warn!("{} is removed without its runtime: {}", created.id, crate::log::chain(&error));
                created.cgroup.kill_all().await
            }
            deleted => Ok(deleted?),
        }
    }

    pub(super) async fn kill_process(&self, request: &KillRequest) -> Result<(), TaskError> {
        let container = self.container(&request.id)?;
        let process = container.process(&request.exec_id)?;
        if !request.exec_id.is_empty() {
            process.state().may_kill_exec()?;
        }
        if request.all && container.init().state() == TaskState::Stopped {
            return Err(TaskError::Finished);
        }
        let signal = SignalNumber::parse(request.signal)?;
        if request.all {
            return self.kill_all(&container, signal).await;
        }
        process.signal(signal)?;
        let is_init = request.exec_id.is_empty();
        if is_init && signal == SignalNumber::KILL && process.state() == TaskState::Paused {
            thaw_killed(&container).await?;
        }
        Ok(())
    }

    async fn kill_all(&self, container: &Container, signal: SignalNumber) -> Result<(), TaskError> {
        let cgroup = &container.created().cgroup;
        if signal == SignalNumber::KILL {
            return match cgroup.kill_all().await {
                // All were killed. One that has much memory to give back takes its time to end.
                Err(TaskError::Cgroup(CgroupError::StillPopulated { .. })) => Ok(()),
                killed => killed,
            };
        }
        let targets: Vec<_> = cgroup.pids()?.into_iter().map(|pid| (pid, self.host.signal_target(pid))).collect();
        // A pid may have been given to a stranger before it was opened: those that are still listed are the container's.
        let members = cgroup.pids()?;
        for (_, target) in targets.into_iter().filter(|(pid, _)| members.contains(pid)) {
            match target.and_then(|target| target.send(signal)) {
                // Gone in the meantime.
                Ok(()) | Err(TaskError::Finished) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) async fn pause_task(&self, id: &str) -> Result<(), TaskError> {
        let container = self.container(id)?;
        let order = container.init().in_order().await;
        let no_exec_starts = container.no_exec_starts().await;
        container.init().state().may_pause()?;
        container.created().cgroup.freeze().await?;
        container.init().set_state(TaskState::Paused);
        self.events.send(&TaskPaused { container_id: id.into(), ..TaskPaused::default() });
        if container.init().was_killed() {
            thaw_killed(&container).await?;
        }
        drop((no_exec_starts, order));
        Ok(())
    }

    pub(super) async fn resume_task(&self, id: &str) -> Result<(), TaskError> {
        let container = self.container(id)?;
        let order = container.init().in_order().await;
        container.init().state().may_resume()?;
        container.created().cgroup.thaw().await?;
        container.init().set_state(TaskState::Running);
        self.events.send(&TaskResumed { container_id: id.into(), ..TaskResumed::default() });
        drop(order);
        Ok(())
    }

    pub(super) async fn update_task(&self, request: &UpdateTaskRequest) -> Result<(), TaskError> {
        let container = self.container(&request.id)?;
        let (init, created) = (container.init(), container.created());
        let order = init.in_order().await;
        init.state().may_update()?;
        let annotations = request.annotations.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let hardened = self.gate.update(UpdateTask {
            namespace: &self.namespace,
            id: &created.id,
            resources: &request.resources.value,
            annotations: &annotations,
            grant: &created.grant,
            in_force: created.expected().resources(),
        })?;
        created.dir.remove(RESOURCES_FILE)?;
        let resources = created.dir.write_new(RESOURCES_FILE, hardened.as_bytes())?;
        let updated = self.host.run(created.runtime.update(&created.dir, &created.id, &resources)).await;
        created.dir.remove(RESOURCES_FILE)?;
        updated?;
        created.hold_to(hardened.as_bytes())?;
        let read_back = attestation::updated(self, created, init.pid());
        drop(order);
        read_back
    }

    pub(super) fn pids_of(&self, id: &str) -> Result<PidsResponse, TaskError> {
        let container = self.container(id)?;
        if container.init().state() == TaskState::Stopped {
            return Ok(PidsResponse::default());
        }
        let execs = container.exec_ids_by_pid();
        let pids = match container.created().cgroup.pids() {
            // Whoever made the cgroup, such as systemd, may remove it as soon as it is empty.
            Err(CgroupError::Gone { .. }) => Vec::new(),
            pids => pids?,
        };
        let processes = pids.into_iter().map(|pid| ProcessInfo {
            pid,
            info: execs.get(&pid).and_then(|exec_id| process_details(exec_id)).into(),
            ..ProcessInfo::default()
        });
        Ok(PidsResponse { processes: processes.collect(), ..PidsResponse::default() })
    }

    pub(super) fn add_exec(&self, request: &ExecProcessRequest) -> Result<(), TaskError> {
        exec::add(self, &*self.container(&request.id)?, request)
    }

    pub(super) fn stats_of(&self, id: &str) -> Result<Any, TaskError> {
        Ok(self.container(id)?.created().cgroup.metrics()?)
    }

    /// Ends the shim if it holds no container. From then on it takes none: containerd starts another.
    pub(super) fn shutdown_if_empty(&self) {
        if self.close_if_empty() {
            self.shutdown.notify_one();
        }
    }

    /// Takes no container any more, if it holds none; whether that is so.
    pub fn close_if_empty(&self) -> bool {
        let mut containers = self.containers();
        containers.closing |= containers.present.is_empty() && containers.reserved.is_empty();
        containers.closing
    }

    pub(super) fn state_of(&self, request: &StateRequest) -> Result<StateResponse, TaskError> {
        let container = self.container(&request.id)?;
        let process = container.process(&request.exec_id)?;
        let mut state = process.state();
        if state == TaskState::Running && container.init().state() == TaskState::Paused {
            state = TaskState::Paused;
        }
        let stdio = process.stdio();
        Ok(StateResponse {
            id: request.id.clone(),
            bundle: container.created().bundle.display().to_string(),
            pid: process.pid(),
            status: EnumOrUnknown::new(state.status()),
            stdin: stdio.stdin.clone(),
            stdout: stdio.stdout.clone(),
            stderr: stdio.stderr.clone(),
            terminal: stdio.terminal,
            exit_status: process.exit().map_or(0, super::Exit::status),
            exited_at: process.exit().map(|exit| timestamp(exit.at())).into(),
            exec_id: request.exec_id.clone(),
            ..StateResponse::default()
        })
    }
}

/// A process that is frozen by the v1 freezer dies only when it is thawed.
async fn thaw_killed(container: &Container) -> Result<(), TaskError> {
    container.created().cgroup.thaw().await
}

/// File that new limits go through to the runtime.
const RESOURCES_FILE: &str = "resources.json";

/// See [`TaskService::reserve`].
struct Reservation<'a> {
    service: &'a TaskService,
    id: String,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut containers = self.service.containers();
        containers.reserved.remove(&self.id);
        self.service.release_if_none(&containers);
    }
}

/// An init process that waits for start is killed, and its end awaited, before its container is removed. One whose start is
/// under way is waited for: it may be running then.
async fn end_unstarted(init: &Process) -> Result<(), TaskError> {
    let order = init.in_order().await;
    init.state().may_delete()?;
    if init.state() != TaskState::Created {
        return Ok(());
    }
    init.kill()?;
    // The report of the exit takes it.
    drop(order);
    let ended = tokio::time::timeout(KILL_WAIT, init.wait()).await;
    ended.map(drop).map_err(|elapsed| TaskError::System { action: "end a created process", source: elapsed.into() })
}

async fn delete_exec(container: &Container, process: &Process) -> Result<(), TaskError> {
    let order = process.in_order().await;
    // Another Delete may have been faster, and the id a new exec's.
    if !std::ptr::eq(&*container.process(process.exec_id())?, process) {
        let (id, exec) = (container.created().id.clone(), process.exec_id().to_owned());
        return Err(TaskError::NoProcess { id, exec });
    }
    process.state().may_delete()?;
    if let Some(mut io) = process.take_io() {
        io.drain(DRAIN).await;
    }
    process.never_ran();
    exec::forget(container, process.exec_id())?;
    drop(order);
    Ok(())
}

fn process_details(exec_id: &str) -> Option<Any> {
    let details = ProcessDetails { exec_id: exec_id.into(), ..ProcessDetails::default() };
    let value = details.write_to_bytes().ok()?;
    Some(Any { type_url: PROCESS_DETAILS_TYPE.into(), value, ..Any::default() })
}
