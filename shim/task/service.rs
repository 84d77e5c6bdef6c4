//! The verbs of the task API. Source: containerd `api/runtime/task/v3/shim.proto`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use containerd_shim_protos::api::{
    CheckpointTaskRequest, CloseIORequest, ConnectRequest, ConnectResponse, CreateTaskRequest, CreateTaskResponse,
    DeleteRequest, DeleteResponse, Empty, ExecProcessRequest, KillRequest, PauseRequest, PidsRequest, PidsResponse,
    ResizePtyRequest, ResumeRequest, ShutdownRequest, StartRequest, StartResponse, StateRequest, StateResponse,
    StatsRequest, StatsResponse, UpdateTaskRequest, WaitRequest, WaitResponse,
};
use containerd_shim_protos::events::task::{TaskDelete, TaskPaused, TaskResumed, TaskStart};
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{EnumOrUnknown, Message as _, MessageField};
use containerd_shim_protos::shim::oci::ProcessDetails;
use containerd_shim_protos::shim_async::Task;
use containerd_shim_protos::types::task::ProcessInfo;
use rustix::process::getpid;
use tokio::sync::Notify;
use ttrpc::r#async::TtrpcContext;

use super::container::Container;
use super::error::TaskError;
use super::events::EventQueue;
use super::exit::timestamp;
use super::process::Process;
use super::reaper::Reaper;
use super::signal::SignalTarget;
use super::state::TaskState;
use super::{create, exec, mount};
use crate::bootstrap::is_identifier;
use crate::gate::{Gate, UpdateTask};

/// SIGKILL's number.
const SIGKILL: u32 = 9;
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
    gate: Gate,
    reaper: Reaper,
    events: EventQueue,
    shutdown: Arc<Notify>,
    containers: Mutex<Containers>,
}

#[derive(Default)]
struct Containers {
    present: BTreeMap<String, Arc<Container>>,
    /// Ids of containers that are being created, so that one id is created once.
    reserved: BTreeSet<String>,
}

impl TaskService {
    /// A service without containers. `socket` is its own address, for `shim delete`.
    #[must_use]
    pub fn new(namespace: &str, socket: &str, gate: Gate, reaper: Reaper, events: EventQueue) -> Arc<Self> {
        Arc::new(Self {
            namespace: namespace.into(),
            socket: socket.into(),
            gate,
            reaper,
            events,
            shutdown: Arc::default(),
            containers: Mutex::default(),
        })
    }

    /// Notified when containerd wants the shim to end and no container is left.
    #[must_use]
    pub fn shutdown_requested(&self) -> Arc<Notify> {
        Arc::clone(&self.shutdown)
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn socket(&self) -> &str {
        &self.socket
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
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

    fn container(&self, id: &str) -> Result<Arc<Container>, TaskError> {
        self.containers().present.get(id).cloned().ok_or_else(|| TaskError::NoContainer(id.into()))
    }

    fn process(&self, id: &str, exec_id: &str) -> Result<Arc<Process>, TaskError> {
        self.container(id)?.process(exec_id)
    }

    /// Keeps an id from being created twice; released when dropped.
    fn reserve(&self, id: &str) -> Result<Reservation<'_>, TaskError> {
        if !is_identifier(id) {
            return Err(TaskError::Invalid { field: "id", value: id.into() });
        }
        let mut containers = self.containers();
        if containers.present.contains_key(id) || !containers.reserved.insert(id.to_owned()) {
            return Err(TaskError::Exists(id.into()));
        }
        Ok(Reservation { service: self, id: id.to_owned() })
    }

    async fn create_task(&self, request: CreateTaskRequest) -> Result<CreateTaskResponse, TaskError> {
        let reservation = self.reserve(&request.id)?;
        let container = create::create(self, &request).await?;
        let pid = container.init().pid();
        self.containers().present.insert(request.id, container);
        drop(reservation);
        Ok(CreateTaskResponse { pid, ..CreateTaskResponse::default() })
    }

    async fn start_task(&self, request: &StartRequest) -> Result<StartResponse, TaskError> {
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
        created.runtime.start(&created.dir, &created.id).run(&self.reaper).await?;
        init.set_state(TaskState::Running);
        let pid = init.pid();
        self.events.send(&TaskStart { container_id: created.id.clone(), pid, ..TaskStart::default() });
        drop(order);
        Ok(pid)
    }

    async fn delete_process(&self, request: &DeleteRequest) -> Result<DeleteResponse, TaskError> {
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
        init.state().may_delete()?;
        end_unstarted(init).await?;
        let order = init.in_order().await;
        // Another Delete may have been faster.
        self.container(&created.id)?;
        if let Some(mut io) = init.take_io() {
            io.drain(DRAIN).await;
        }
        created.runtime.delete(&created.dir, &created.id, true).run(&self.reaper).await?;
        let (cgroup, rootfs) = (Arc::clone(&created.cgroup), created.bundle.join("rootfs"));
        off_loop("remove the cgroup", move || cgroup.remove()).await?;
        off_loop("unmount the rootfs", move || mount::unmount(&rootfs)).await?;
        created.dir.clone().destroy()?;
        self.containers().present.remove(&created.id);
        drop(order);
        Ok(())
    }

    async fn kill_process(&self, request: &KillRequest) -> Result<(), TaskError> {
        let container = self.container(&request.id)?;
        let process = container.process(&request.exec_id)?;
        if !request.exec_id.is_empty() {
            process.state().may_kill_exec()?;
        }
        if request.all {
            return kill_all(&container, request.signal).await;
        }
        process.signal(request.signal)?;
        if request.signal == SIGKILL && container.init().state() == TaskState::Paused {
            // A process that is frozen by the v1 freezer dies only when it is thawed.
            let cgroup = Arc::clone(&container.created().cgroup);
            off_loop("thaw the container", move || cgroup.thaw()).await?;
        }
        Ok(())
    }

    async fn pause_task(&self, id: &str) -> Result<(), TaskError> {
        let container = self.container(id)?;
        let order = container.init().in_order().await;
        container.init().state().may_pause()?;
        let cgroup = Arc::clone(&container.created().cgroup);
        off_loop("freeze the container", move || cgroup.freeze()).await?;
        container.init().set_state(TaskState::Paused);
        self.events.send(&TaskPaused { container_id: id.into(), ..TaskPaused::default() });
        drop(order);
        Ok(())
    }

    async fn resume_task(&self, id: &str) -> Result<(), TaskError> {
        let container = self.container(id)?;
        let order = container.init().in_order().await;
        container.init().state().may_resume()?;
        let cgroup = Arc::clone(&container.created().cgroup);
        off_loop("thaw the container", move || cgroup.thaw()).await?;
        container.init().set_state(TaskState::Running);
        self.events.send(&TaskResumed { container_id: id.into(), ..TaskResumed::default() });
        drop(order);
        Ok(())
    }

    async fn update_task(&self, request: &UpdateTaskRequest) -> Result<(), TaskError> {
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
        })?;
        created.dir.remove(RESOURCES_FILE)?;
        let resources = created.dir.write_new(RESOURCES_FILE, hardened.as_bytes())?;
        let updated = created.runtime.update(&created.dir, &created.id, &resources).run(&self.reaper).await;
        created.dir.remove(RESOURCES_FILE)?;
        drop(order);
        Ok(updated?)
    }

    fn pids_of(&self, id: &str) -> Result<PidsResponse, TaskError> {
        let container = self.container(id)?;
        let execs = container.exec_ids_by_pid();
        let processes = container.created().cgroup.pids()?.into_iter().map(|pid| ProcessInfo {
            pid,
            info: execs.get(&pid).and_then(|exec_id| process_details(exec_id)).into(),
            ..ProcessInfo::default()
        });
        Ok(PidsResponse { processes: processes.collect(), ..PidsResponse::default() })
    }

    fn state_of(&self, request: &StateRequest) -> Result<StateResponse, TaskError> {
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

/// File that new limits go through to the runtime.
const RESOURCES_FILE: &str = "resources.json";

/// See [`TaskService::reserve`].
struct Reservation<'a> {
    service: &'a TaskService,
    id: String,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.service.containers().reserved.remove(&self.id);
    }
}

/// An init process that waits for start is killed, and its end awaited, before its container is removed.
async fn end_unstarted(init: &Process) -> Result<(), TaskError> {
    if init.state() != TaskState::Created {
        return Ok(());
    }
    match init.signal(SIGKILL) {
        Ok(()) | Err(TaskError::Finished) => {}
        Err(error) => return Err(error),
    }
    let ended = tokio::time::timeout(KILL_WAIT, init.wait()).await;
    ended.map(drop).map_err(|elapsed| TaskError::System { action: "end a created process", source: elapsed.into() })
}

async fn delete_exec(container: &Container, process: &Process) -> Result<(), TaskError> {
    let order = process.in_order().await;
    process.state().may_delete()?;
    if let Some(mut io) = process.take_io() {
        io.drain(DRAIN).await;
    }
    exec::forget(container, process.exec_id())?;
    drop(order);
    Ok(())
}

/// What waits for the kernel runs on a thread of its own, so that other verbs and exits go on meanwhile.
pub(super) async fn off_loop<E: Into<TaskError> + Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> Result<(), E> + Send + 'static,
) -> Result<(), TaskError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| TaskError::System { action, source: error.into() })?.map_err(Into::into)
}

async fn kill_all(container: &Container, signal: u32) -> Result<(), TaskError> {
    let cgroup = Arc::clone(&container.created().cgroup);
    if signal == SIGKILL {
        return off_loop("kill all processes", move || cgroup.kill_all()).await;
    }
    for pid in cgroup.pids()? {
        match SignalTarget::open(pid).and_then(|target| target.send(signal)) {
            // Gone in the meantime.
            Ok(()) | Err(TaskError::Finished) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn process_details(exec_id: &str) -> Option<Any> {
    let details = ProcessDetails { exec_id: exec_id.into(), ..ProcessDetails::default() };
    let value = details.write_to_bytes().ok()?;
    Some(Any { type_url: PROCESS_DETAILS_TYPE.into(), value, ..Any::default() })
}

#[async_trait]
impl Task for TaskService {
    async fn state(&self, _ctx: &TtrpcContext, request: StateRequest) -> ttrpc::Result<StateResponse> {
        Ok(self.state_of(&request)?)
    }

    async fn create(&self, _ctx: &TtrpcContext, request: CreateTaskRequest) -> ttrpc::Result<CreateTaskResponse> {
        Ok(self.create_task(request).await?)
    }

    async fn start(&self, _ctx: &TtrpcContext, request: StartRequest) -> ttrpc::Result<StartResponse> {
        Ok(self.start_task(&request).await?)
    }

    async fn delete(&self, _ctx: &TtrpcContext, request: DeleteRequest) -> ttrpc::Result<DeleteResponse> {
        Ok(self.delete_process(&request).await?)
    }

    async fn pids(&self, _ctx: &TtrpcContext, request: PidsRequest) -> ttrpc::Result<PidsResponse> {
        Ok(self.pids_of(&request.id)?)
    }

    async fn pause(&self, _ctx: &TtrpcContext, request: PauseRequest) -> ttrpc::Result<Empty> {
        self.pause_task(&request.id).await?;
        Ok(Empty::default())
    }

    async fn resume(&self, _ctx: &TtrpcContext, request: ResumeRequest) -> ttrpc::Result<Empty> {
        self.resume_task(&request.id).await?;
        Ok(Empty::default())
    }

    /// A checkpoint restores credentials and filters from its image, past every check of a spec.
    async fn checkpoint(&self, _ctx: &TtrpcContext, _request: CheckpointTaskRequest) -> ttrpc::Result<Empty> {
        Err(TaskError::Unimplemented("Checkpoint").into())
    }

    async fn kill(&self, _ctx: &TtrpcContext, request: KillRequest) -> ttrpc::Result<Empty> {
        self.kill_process(&request).await?;
        Ok(Empty::default())
    }

    async fn exec(&self, _ctx: &TtrpcContext, request: ExecProcessRequest) -> ttrpc::Result<Empty> {
        exec::add(self, &*self.container(&request.id)?, &request)?;
        Ok(Empty::default())
    }

    async fn resize_pty(&self, _ctx: &TtrpcContext, request: ResizePtyRequest) -> ttrpc::Result<Empty> {
        let size = |field, value: u32| {
            u16::try_from(value).map_err(|_| TaskError::Invalid { field, value: value.to_string() })
        };
        let (width, height) = (size("width", request.width)?, size("height", request.height)?);
        self.process(&request.id, &request.exec_id)?.resize(width, height)?;
        Ok(Empty::default())
    }

    async fn close_io(&self, _ctx: &TtrpcContext, request: CloseIORequest) -> ttrpc::Result<Empty> {
        if request.stdin {
            self.process(&request.id, &request.exec_id)?.close_stdin();
        }
        Ok(Empty::default())
    }

    async fn update(&self, _ctx: &TtrpcContext, request: UpdateTaskRequest) -> ttrpc::Result<Empty> {
        self.update_task(&request).await?;
        Ok(Empty::default())
    }

    async fn wait(&self, _ctx: &TtrpcContext, request: WaitRequest) -> ttrpc::Result<WaitResponse> {
        let exit = self.process(&request.id, &request.exec_id)?.wait().await;
        Ok(WaitResponse {
            exit_status: exit.status(),
            exited_at: MessageField::some(timestamp(exit.at())),
            ..WaitResponse::default()
        })
    }

    async fn stats(&self, _ctx: &TtrpcContext, request: StatsRequest) -> ttrpc::Result<StatsResponse> {
        let container = self.container(&request.id)?;
        let stats = container.created().cgroup.metrics().map_err(TaskError::Cgroup)?;
        Ok(StatsResponse { stats: MessageField::some(stats), ..StatsResponse::default() })
    }

    async fn connect(&self, _ctx: &TtrpcContext, request: ConnectRequest) -> ttrpc::Result<ConnectResponse> {
        let task_pid = self.container(&request.id).map_or(0, |container| container.init().pid());
        Ok(ConnectResponse {
            shim_pid: getpid().as_raw_nonzero().get().unsigned_abs(),
            task_pid,
            ..ConnectResponse::default()
        })
    }

    async fn shutdown(&self, _ctx: &TtrpcContext, request: ShutdownRequest) -> ttrpc::Result<Empty> {
        let containers = self.containers();
        let empty = containers.present.is_empty() && containers.reserved.is_empty();
        drop(containers);
        if empty || request.now {
            self.shutdown.notify_one();
        }
        Ok(Empty::default())
    }
}
