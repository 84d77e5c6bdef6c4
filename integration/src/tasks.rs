//! containerd's own API, for specs that no command line writes and for measuring without a command line's cost.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use containerd_client::services::v1 as api;
use containerd_client::services::v1::snapshots as snapshots_api;
use containerd_client::types::{Descriptor, Mount};
use prost_types::Any;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime as Executor};
use tonic::{Request, Response, Status};

use crate::containerd::Containerd;
use crate::{Failure, image};

const SNAPSHOTTER: &str = "overlayfs";
const SECONDS: u64 = 60;
const SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
const RESOURCES_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

/// A connection in this run's containerd namespace.
#[derive(Debug)]
pub struct Tasks {
    executor: Executor,
    channel: tonic::transport::Channel,
    namespace: String,
    parent: String,
}

/// What a Create request says beyond the container's id.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// URIs of standard input, output and error.
    pub stdio: [String; 3],
    /// The digest of a checkpoint to restore.
    pub checkpoint: Option<String>,
    /// Runtime options.
    pub options: Option<Any>,
    /// Mounts instead of the snapshot's.
    pub rootfs: Option<Vec<Mount>>,
    /// Whether the streams are a terminal's.
    pub terminal: bool,
}

impl Tasks {
    /// Connects.
    ///
    /// # Errors
    /// containerd does not answer.
    pub fn connect(containerd: &Containerd) -> Result<Self, Failure> {
        let executor = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Failure::Io { action: "start an executor".to_owned(), source })?;
        let channel = executor
            .block_on(containerd_client::connect(containerd.layout().socket()))
            .map_err(|error| Failure::unreadable("containerd's socket", &error))?;
        let parent = containerd.workload_chain().to_owned();
        Ok(Self { executor, channel, namespace: containerd.tag().to_owned(), parent })
    }

    fn call<Q, R, F>(&self, name: &'static str, request: Q, send: impl FnOnce(Request<Q>) -> F) -> Result<R, Failure>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let mut request = Request::new(request);
        let namespace = self.namespace.parse().map_err(|error| Failure::unreadable("a namespace", &error))?;
        request.metadata_mut().insert("containerd-namespace", namespace);
        let deadline = Duration::from_secs(SECONDS);
        match self.executor.block_on(async { tokio::time::timeout(deadline, send(request)).await }) {
            Ok(answer) => answer.map(Response::into_inner).map_err(Failure::rpc(name)),
            Err(elapsed) => Err(Failure::Late { what: name.to_owned(), seconds: SECONDS, last: elapsed.to_string() }),
        }
    }

    fn client(&self) -> api::tasks_client::TasksClient<tonic::transport::Channel> {
        api::tasks_client::TasksClient::new(self.channel.clone())
    }

    /// Makes a container and its snapshot; nothing runs yet.
    ///
    /// # Errors
    /// containerd refuses.
    pub fn make_container(&self, id: &str, runtime: &str, spec: &Value) -> Result<Vec<Mount>, Failure> {
        self.make_container_of(id, runtime, &spec.to_string())
    }

    /// The same for a spec's text, which need not be what a JSON library writes.
    ///
    /// # Errors
    /// containerd refuses.
    pub fn make_container_of(&self, id: &str, runtime: &str, spec: &str) -> Result<Vec<Mount>, Failure> {
        let mut snapshots = snapshots_api::snapshots_client::SnapshotsClient::new(self.channel.clone());
        let prepare = snapshots_api::PrepareSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            key: id.to_owned(),
            parent: self.parent.clone(),
            labels: kept(),
        };
        let mounts = self.call("Prepare", prepare, |request| async move { snapshots.prepare(request).await })?.mounts;
        let container = api::Container {
            id: id.to_owned(),
            image: image::WORKLOAD.to_owned(),
            runtime: Some(api::container::Runtime { name: runtime.to_owned(), options: None }),
            spec: Some(Any { type_url: SPEC_TYPE.to_owned(), value: spec.as_bytes().to_vec() }),
            snapshotter: SNAPSHOTTER.to_owned(),
            snapshot_key: id.to_owned(),
            ..Default::default()
        };
        let mut containers = api::containers_client::ContainersClient::new(self.channel.clone());
        let create = api::CreateContainerRequest { container: Some(container) };
        self.call("CreateContainer", create, |request| async move { containers.create(request).await })?;
        Ok(mounts)
    }

    /// The mounts of a container's snapshot.
    ///
    /// # Errors
    /// There is no snapshot of this name.
    pub fn mounts(&self, id: &str) -> Result<Vec<Mount>, Failure> {
        let mut snapshots = snapshots_api::snapshots_client::SnapshotsClient::new(self.channel.clone());
        let request = snapshots_api::MountsRequest { snapshotter: SNAPSHOTTER.to_owned(), key: id.to_owned() };
        self.call("Mounts", request, |request| async move { snapshots.mounts(request).await })
            .map(|answer| answer.mounts)
    }

    /// The spec that containerd has of a container.
    ///
    /// # Errors
    /// There is no such container, or its spec is no JSON.
    pub fn spec(&self, id: &str) -> Result<Value, Failure> {
        let mut containers = api::containers_client::ContainersClient::new(self.channel.clone());
        let request = api::GetContainerRequest { id: id.to_owned() };
        let answer =
            self.call("GetContainer", request, |request| async move { containers.get(request).await })?.container;
        let spec = answer.and_then(|container| container.spec).unwrap_or_default();
        serde_json::from_slice(&spec.value).map_err(|error| Failure::unreadable("a container's spec", &error))
    }

    /// Removes a container and its snapshot.
    ///
    /// # Errors
    /// It still has a task.
    pub fn remove_container(&self, id: &str) -> Result<(), Failure> {
        let mut containers = api::containers_client::ContainersClient::new(self.channel.clone());
        let delete = api::DeleteContainerRequest { id: id.to_owned() };
        self.call("DeleteContainer", delete, |request| async move { containers.delete(request).await })?;
        let mut snapshots = snapshots_api::snapshots_client::SnapshotsClient::new(self.channel.clone());
        let remove = snapshots_api::RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: id.to_owned() };
        match self.call("RemoveSnapshot", remove, |request| async move { snapshots.remove(request).await }) {
            // One that nothing refers to any more is containerd's to collect, and it may have been quicker.
            Err(Failure::Rpc { code: tonic::Code::NotFound, .. }) => Ok(()),
            removed => removed,
        }
    }

    /// Creates the task; its init process's id.
    ///
    /// # Errors
    /// The shim or the runtime refuses.
    pub fn create(&self, id: &str, mounts: Vec<Mount>, options: CreateOptions) -> Result<u32, Failure> {
        let [stdin, stdout, stderr] = options.stdio;
        let request = api::CreateTaskRequest {
            container_id: id.to_owned(),
            rootfs: options.rootfs.unwrap_or(mounts),
            stdin,
            stdout,
            stderr,
            checkpoint: options.checkpoint.map(|digest| Descriptor {
                media_type: "application/vnd.containerd.container.criu.checkpoint.criu.tar".to_owned(),
                digest,
                size: 1,
                ..Default::default()
            }),
            options: options.options,
            terminal: options.terminal,
            ..Default::default()
        };
        let mut client = self.client();
        self.call("CreateTask", request, |request| async move { client.create(request).await }).map(|answer| answer.pid)
    }

    /// Starts the init process, or the exec process where one is named.
    ///
    /// # Errors
    /// The shim or the runtime refuses.
    pub fn start(&self, id: &str, exec: &str) -> Result<u32, Failure> {
        let mut client = self.client();
        let request = api::StartRequest { container_id: id.to_owned(), exec_id: exec.to_owned() };
        self.call("StartTask", request, |request| async move { client.start(request).await }).map(|answer| answer.pid)
    }

    /// Starts an exec process and goes away after `patience`, as a kubelet does whose own deadline has passed.
    /// True when the answer came in time.
    ///
    /// # Errors
    /// The request cannot be made.
    pub fn start_impatiently(&self, id: &str, exec: &str, patience: Duration) -> Result<bool, Failure> {
        let mut client = self.client();
        let request = api::StartRequest { container_id: id.to_owned(), exec_id: exec.to_owned() };
        let answer = self.call("StartTask", request, |mut request| async move {
            request.set_timeout(patience);
            client.start(request).await
        });
        Ok(answer.is_ok())
    }

    /// Adds an exec process with this OCI `process` object.
    ///
    /// # Errors
    /// The shim refuses.
    pub fn exec(&self, id: &str, exec: &str, process: &Value) -> Result<(), Failure> {
        self.exec_with(id, exec, process, Default::default())
    }

    /// The same with URIs of standard input, output and error.
    ///
    /// # Errors
    /// The shim refuses.
    pub fn exec_with(&self, id: &str, exec: &str, process: &Value, stdio: [String; 3]) -> Result<(), Failure> {
        let mut client = self.client();
        let [stdin, stdout, stderr] = stdio;
        let request = api::ExecProcessRequest {
            container_id: id.to_owned(),
            exec_id: exec.to_owned(),
            spec: Some(json(PROCESS_TYPE, process)),
            stdin,
            stdout,
            stderr,
            ..Default::default()
        };
        self.call("ExecTask", request, |request| async move { client.exec(request).await })
    }

    /// Closes the shim's side of a process's standard input.
    ///
    /// # Errors
    /// The shim refuses.
    pub fn close_stdin(&self, id: &str, exec: &str) -> Result<(), Failure> {
        let mut client = self.client();
        let request = api::CloseIoRequest { container_id: id.to_owned(), exec_id: exec.to_owned(), stdin: true };
        self.call("CloseIO", request, |request| async move { client.close_io(request).await })
    }

    /// Gives the init process's terminal another size, in characters.
    ///
    /// # Errors
    /// The shim refuses.
    pub fn resize(&self, id: &str, width: u32, height: u32) -> Result<(), Failure> {
        let mut client = self.client();
        let request = api::ResizePtyRequest { container_id: id.to_owned(), width, height, ..Default::default() };
        self.call("ResizePty", request, |request| async move { client.resize_pty(request).await })
    }

    /// Waits for the end of a process; its exit status.
    ///
    /// # Errors
    /// There is no such process.
    pub fn wait(&self, id: &str, exec: &str) -> Result<u32, Failure> {
        let mut client = self.client();
        let request = api::WaitRequest { container_id: id.to_owned(), exec_id: exec.to_owned() };
        self.call("WaitTask", request, |request| async move { client.wait(request).await })
            .map(|answer| answer.exit_status)
    }

    /// Sends a signal by its number.
    ///
    /// # Errors
    /// There is no such process.
    pub fn kill(&self, id: &str, exec: &str, signal: u32) -> Result<(), Failure> {
        let mut client = self.client();
        let request = api::KillRequest { container_id: id.to_owned(), exec_id: exec.to_owned(), signal, all: false };
        self.call("KillTask", request, |request| async move { client.kill(request).await })
    }

    /// Deletes a stopped task.
    ///
    /// # Errors
    /// It still runs.
    pub fn delete(&self, id: &str) -> Result<u32, Failure> {
        let mut client = self.client();
        let request = api::DeleteTaskRequest { container_id: id.to_owned() };
        self.call("DeleteTask", request, |request| async move { client.delete(request).await })
            .map(|answer| answer.exit_status)
    }

    /// Deletes a stopped exec process.
    ///
    /// # Errors
    /// It still runs.
    pub fn delete_exec(&self, id: &str, exec: &str) -> Result<u32, Failure> {
        let mut client = self.client();
        let request = api::DeleteProcessRequest { container_id: id.to_owned(), exec_id: exec.to_owned() };
        self.call("DeleteProcess", request, |request| async move { client.delete_process(request).await })
            .map(|answer| answer.exit_status)
    }

    /// Changes limits: `resources` is an OCI `linux.resources` object.
    ///
    /// # Errors
    /// The shim or the kernel refuses.
    pub fn update(&self, id: &str, resources: &Value) -> Result<(), Failure> {
        self.update_annotated(id, resources, &[])
    }

    /// The same with annotations.
    ///
    /// # Errors
    /// The shim or the kernel refuses.
    pub fn update_annotated(&self, id: &str, resources: &Value, annotations: &[(&str, &str)]) -> Result<(), Failure> {
        let mut client = self.client();
        let annotations = annotations.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let request = api::UpdateTaskRequest {
            container_id: id.to_owned(),
            resources: Some(json(RESOURCES_TYPE, resources)),
            annotations: annotations.collect(),
        };
        self.call("UpdateTask", request, |request| async move { client.update(request).await })
    }

    /// Asks for a checkpoint.
    ///
    /// # Errors
    /// The shim refuses.
    pub fn checkpoint(&self, id: &str) -> Result<(), Failure> {
        let mut client = self.client();
        let request = api::CheckpointTaskRequest { container_id: id.to_owned(), ..Default::default() };
        self.call("CheckpointTask", request, |request| async move { client.checkpoint(request).await }).map(drop)
    }

    /// The process ids of a container.
    ///
    /// # Errors
    /// There is no such container.
    pub fn pids(&self, id: &str) -> Result<Vec<u32>, Failure> {
        let mut client = self.client();
        let request = api::ListPidsRequest { container_id: id.to_owned() };
        let answer = self.call("ListPids", request, |request| async move { client.list_pids(request).await })?;
        Ok(answer.processes.into_iter().map(|process| process.pid).collect())
    }

    /// The type names of a container's metrics.
    ///
    /// # Errors
    /// The shim refuses.
    pub fn metrics(&self, id: &str) -> Result<Vec<Any>, Failure> {
        let mut client = self.client();
        let request = api::MetricsRequest { filters: vec![format!("id=={id}")] };
        let answer = self.call("Metrics", request, |request| async move { client.metrics(request).await })?;
        Ok(answer.metrics.into_iter().filter_map(|metric| metric.data).collect())
    }
}

/// Nothing refers to a snapshot until its container is made, and containerd's garbage collector may come in between.
fn kept() -> HashMap<String, String> {
    HashMap::from([("containerd.io/gc.root".to_owned(), "test".to_owned())])
}

fn json(kind: &str, value: &Value) -> Any {
    Any { type_url: kind.to_owned(), value: value.to_string().into_bytes() }
}
