//! The task API as ttrpc calls it: decoding, and one rule: a verb that changes something runs to its end.
//!
//! ttrpc drops a handler when the caller's deadline passes or its connection closes, which a restart of
//! containerd does. A verb that was dropped half-way would leave a container that nobody holds, so it runs as a
//! task of its own, and only the waiting for it is dropped.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use containerd_shim_protos::api::{
    CheckpointTaskRequest, CloseIORequest, ConnectRequest, ConnectResponse, CreateTaskRequest, CreateTaskResponse,
    DeleteRequest, DeleteResponse, Empty, ExecProcessRequest, KillRequest, PauseRequest, PidsRequest, PidsResponse,
    ResizePtyRequest, ResumeRequest, ShutdownRequest, StartRequest, StartResponse, StateRequest, StateResponse,
    StatsRequest, StatsResponse, UpdateTaskRequest, WaitRequest, WaitResponse,
};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::shim_async::{Task, create_task};
use rustix::process::getpid;
use ttrpc::r#async::{Service, TtrpcContext};

use super::error::TaskError;
use super::exit::timestamp;
use super::service::TaskService;
use crate::rest::Rest;

/// Name under which containerd 2.x calls the service.
const TASK_V3: &str = "containerd.task.v3.Task";
/// Name under which 1.7 calls it, and 2.x a shim that answered with version 2. The messages are the same.
const TASK_V2: &str = "containerd.task.v2.Task";

/// The service as ttrpc sees it.
pub struct TaskApi(Arc<TaskService>);

impl TaskApi {
    /// Serves this service's containers.
    #[must_use]
    pub fn new(service: Arc<TaskService>) -> Arc<Self> {
        Arc::new(Self(service))
    }

    /// The service under both of its names, for a ttrpc server.
    #[must_use]
    pub fn services(self: Arc<Self>) -> HashMap<String, Service> {
        let mut services = create_task(self.clone());
        let older = create_task(self).remove(TASK_V3);
        services.extend(older.map(|older| (TASK_V2.to_owned(), older)));
        services
    }
}

/// Runs a verb whose caller may go away.
async fn to_end<T: Send + 'static>(
    rest: Rest,
    verb: impl Future<Output = Result<T, TaskError>> + Send + 'static,
) -> ttrpc::Result<T> {
    // Boxed: a future by value is copied through a dozen frames, and stack once used stays the shim's.
    let outcome = tokio::spawn(Box::pin(verb)).await;
    rest.worked();
    match outcome {
        Ok(outcome) => Ok(outcome?),
        Err(error) => Err(TaskError::System { action: "finish the verb", source: error.into() }.into()),
    }
}

#[async_trait]
impl Task for TaskApi {
    async fn state(&self, _ctx: &TtrpcContext, request: StateRequest) -> ttrpc::Result<StateResponse> {
        Ok(self.0.state_of(&request)?)
    }

    async fn create(&self, _ctx: &TtrpcContext, request: CreateTaskRequest) -> ttrpc::Result<CreateTaskResponse> {
        let service = Arc::clone(&self.0);
        to_end(service.rest(), async move { service.create_task(request).await }).await
    }

    async fn start(&self, _ctx: &TtrpcContext, request: StartRequest) -> ttrpc::Result<StartResponse> {
        let service = Arc::clone(&self.0);
        to_end(service.rest(), async move { service.start_task(&request).await }).await
    }

    async fn delete(&self, _ctx: &TtrpcContext, request: DeleteRequest) -> ttrpc::Result<DeleteResponse> {
        let service = Arc::clone(&self.0);
        to_end(service.rest(), async move { service.delete_process(&request).await }).await
    }

    async fn pids(&self, _ctx: &TtrpcContext, request: PidsRequest) -> ttrpc::Result<PidsResponse> {
        Ok(self.0.pids_of(&request.id)?)
    }

    async fn pause(&self, _ctx: &TtrpcContext, request: PauseRequest) -> ttrpc::Result<Empty> {
        let service = Arc::clone(&self.0);
        to_end(service.rest(), async move { service.pause_task(&request.id).await }).await?;
        Ok(Empty::default())
    }

    async fn resume(&self, _ctx: &TtrpcContext, request: ResumeRequest) -> ttrpc::Result<Empty> {
        let service = Arc::clone(&self.0);
        to_end(service.rest(), async move { service.resume_task(&request.id).await }).await?;
        Ok(Empty::default())
    }

    /// A checkpoint restores credentials and filters from its image, past every check of a spec.
    async fn checkpoint(&self, _ctx: &TtrpcContext, _request: CheckpointTaskRequest) -> ttrpc::Result<Empty> {
        Err(TaskError::Unimplemented("Checkpoint").into())
    }

    async fn kill(&self, _ctx: &TtrpcContext, request: KillRequest) -> ttrpc::Result<Empty> {
        let service = Arc::clone(&self.0);
        to_end(service.rest(), async move { service.kill_process(&request).await }).await?;
        Ok(Empty::default())
    }

    async fn exec(&self, _ctx: &TtrpcContext, request: ExecProcessRequest) -> ttrpc::Result<Empty> {
        self.0.add_exec(&request)?;
        Ok(Empty::default())
    }

    async fn resize_pty(&self, _ctx: &TtrpcContext, request: ResizePtyRequest) -> ttrpc::Result<Empty> {
        let size = |field, value: u32| {
            u16::try_from(value).map_err(|_| TaskError::Invalid { field, value: value.to_string() })
        };
        let (width, height) = (size("width", request.width)?, size("height", request.height)?);
        self.0.process(&request.id, &request.exec_id)?.resize(width, height)?;
        Ok(Empty::default())
    }

    async fn close_io(&self, _ctx: &TtrpcContext, request: CloseIORequest) -> ttrpc::Result<Empty> {
        let process = self.0.process(&request.id, &request.exec_id)?;
        if request.stdin {
            process.close_stdin();
        }
        Ok(Empty::default())
    }

    async fn update(&self, _ctx: &TtrpcContext, request: UpdateTaskRequest) -> ttrpc::Result<Empty> {
        let service = Arc::clone(&self.0);
        to_end(service.rest(), async move { service.update_task(&request).await }).await?;
        Ok(Empty::default())
    }

    async fn wait(&self, _ctx: &TtrpcContext, request: WaitRequest) -> ttrpc::Result<WaitResponse> {
        let exit = self.0.process(&request.id, &request.exec_id)?.wait().await;
        Ok(WaitResponse {
            exit_status: exit.status(),
            exited_at: MessageField::some(timestamp(exit.at())),
            ..WaitResponse::default()
        })
    }

    async fn stats(&self, _ctx: &TtrpcContext, request: StatsRequest) -> ttrpc::Result<StatsResponse> {
        let stats = self.0.stats_of(&request.id)?;
        Ok(StatsResponse { stats: MessageField::some(stats), ..StatsResponse::default() })
    }

    async fn connect(&self, _ctx: &TtrpcContext, request: ConnectRequest) -> ttrpc::Result<ConnectResponse> {
        Ok(ConnectResponse {
            shim_pid: getpid().as_raw_nonzero().get().unsigned_abs(),
            task_pid: self.0.process(&request.id, "").map_or(0, |init| init.pid()),
            ..ConnectResponse::default()
        })
    }

    /// `now` is not obeyed: a shim that ends before its containers loses them.
    async fn shutdown(&self, _ctx: &TtrpcContext, _request: ShutdownRequest) -> ttrpc::Result<Empty> {
        self.0.shutdown_if_empty();
        Ok(Empty::default())
    }
}
