//! The container runtime interface, as kubelet speaks it.

use std::future::Future;
use std::time::Duration;

use k8s_cri::v1 as cri;
use tokio::runtime::{Builder, Runtime as Executor};
use tonic::{Response, Status};

use crate::cgroup::{by_systemd, slice_place};
use crate::containerd::{Containerd, Runtime};
use crate::ctr::unique;
use crate::{Failure, image, poll};

const SECONDS: u64 = 90;

/// The generated client of CRI's runtime service.
pub type Client = cri::runtime_service_client::RuntimeServiceClient<tonic::transport::Channel>;

/// A connection.
#[derive(Debug)]
pub struct Cri {
    executor: Executor,
    channel: tonic::transport::Channel,
    tag: String,
    logs: String,
}

/// What a command in a container did.
#[derive(Clone, Debug)]
pub struct Executed {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A pod sandbox; removed with everything in it when dropped.
#[derive(Debug)]
pub struct Pod<'a> {
    cri: &'a Cri,
    /// Its id, which is also its pause container's.
    pub id: String,
    /// What it was asked for with.
    pub config: cri::PodSandboxConfig,
    kept: bool,
}

impl Cri {
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
        let logs = containerd.layout().base.join("pods").display().to_string();
        Ok(Self { executor, channel, tag: containerd.tag().to_owned(), logs })
    }

    fn call<R>(
        &self,
        name: &'static str,
        answer: impl Future<Output = Result<Response<R>, Status>>,
    ) -> Result<R, Failure> {
        match self.executor.block_on(async { tokio::time::timeout(Duration::from_secs(SECONDS), answer).await }) {
            Ok(answer) => answer.map(Response::into_inner).map_err(Failure::rpc(name)),
            Err(elapsed) => Err(Failure::Late { what: name.to_owned(), seconds: SECONDS, last: elapsed.to_string() }),
        }
    }

    /// Asks for the runtime's status, which CRI answers only when it has recovered its pods.
    ///
    /// # Errors
    /// It has not yet.
    pub fn ready(&self) -> Result<(), Failure> {
        let mut client = self.client();
        self.call("Status", async move { client.status(cri::StatusRequest { verbose: false }).await }).map(drop)
    }

    /// Fetches an image; what it is called by then.
    ///
    /// # Errors
    /// containerd or a verifier refuses, or the registry does not answer.
    pub fn pull(&self, name: &str) -> Result<String, Failure> {
        let mut client = cri::image_service_client::ImageServiceClient::new(self.channel.clone());
        let image = cri::ImageSpec { image: name.to_owned(), ..Default::default() };
        let request = cri::PullImageRequest { image: Some(image), ..Default::default() };
        self.call("PullImage", async move { client.pull_image(request).await }).map(|answer| answer.image_ref)
    }

    /// What CRI knows of an image, by a name or its id; `None`: nothing.
    ///
    /// # Errors
    /// containerd does not answer.
    pub fn image(&self, name: &str) -> Result<Option<cri::Image>, Failure> {
        let mut client = cri::image_service_client::ImageServiceClient::new(self.channel.clone());
        let image = cri::ImageSpec { image: name.to_owned(), ..Default::default() };
        let request = cri::ImageStatusRequest { image: Some(image), verbose: false };
        self.call("ImageStatus", async move { client.image_status(request).await }).map(|answer| answer.image)
    }

    fn client(&self) -> Client {
        Client::new(self.channel.clone())
    }

    /// Makes any call of the runtime service, for those that have no method of their own here.
    ///
    /// # Errors
    /// containerd or the shim refuses, or does not answer.
    pub fn ask<R, F>(&self, name: &'static str, request: impl FnOnce(Client) -> F) -> Result<R, Failure>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        self.call(name, request(self.client()))
    }

    /// The next message of an answer that is a stream; `None` at its end.
    ///
    /// # Errors
    /// The stream breaks off, or nothing comes.
    pub fn next<M>(&self, name: &'static str, stream: &mut tonic::Streaming<M>) -> Result<Option<M>, Failure> {
        self.call(name, async { stream.message().await.map(Response::new) })
    }

    /// A pod's configuration with a network of its own, to be changed before it is run.
    #[must_use]
    pub fn pod_config(&self) -> cri::PodSandboxConfig {
        let name = unique("pod");
        cri::PodSandboxConfig {
            metadata: Some(cri::PodSandboxMetadata {
                name: name.clone(),
                uid: format!("uid-{name}"),
                namespace: "tests".to_owned(),
                attempt: 0,
            }),
            hostname: name.clone(),
            log_directory: format!("{}/{name}", self.logs),
            linux: Some(cri::LinuxPodSandboxConfig {
                cgroup_parent: if by_systemd() { slice_place(&self.tag) } else { format!("/{}", self.tag) },
                security_context: Some(cri::LinuxSandboxSecurityContext::default()),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// Runs a pod sandbox under a runtime's handler.
    ///
    /// # Errors
    /// containerd, the network or the shim refuses.
    pub fn run_pod(&self, runtime: Runtime, config: cri::PodSandboxConfig) -> Result<Pod<'_>, Failure> {
        let mut client = self.client();
        let request =
            cri::RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: runtime.handler().to_owned() };
        let answer = self.call("RunPodSandbox", async move { client.run_pod_sandbox(request).await })?;
        Ok(Pod { cri: self, id: answer.pod_sandbox_id, config, kept: false })
    }

    /// Creates a container; the shim hears of it only when it is started.
    ///
    /// # Errors
    /// containerd refuses.
    pub fn create(&self, pod: &Pod<'_>, config: cri::ContainerConfig) -> Result<String, Failure> {
        let mut client = self.client();
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: pod.id.clone(),
            config: Some(config),
            sandbox_config: Some(pod.config.clone()),
        };
        Ok(self.call("CreateContainer", async move { client.create_container(request).await })?.container_id)
    }

    /// Starts a created container.
    ///
    /// # Errors
    /// containerd or the shim refuses.
    pub fn begin(&self, container: &str) -> Result<(), Failure> {
        let mut client = self.client();
        let request = cri::StartContainerRequest { container_id: container.to_owned() };
        self.call("StartContainer", async move { client.start_container(request).await }).map(drop)
    }

    /// Creates a container and starts it.
    ///
    /// # Errors
    /// containerd or the shim refuses.
    pub fn start(&self, pod: &Pod<'_>, config: cri::ContainerConfig) -> Result<String, Failure> {
        let id = self.create(pod, config)?;
        self.begin(&id)?;
        Ok(id)
    }

    /// Runs a command in a container.
    ///
    /// # Errors
    /// containerd or the shim refuses; a command that fails is no error.
    pub fn exec(&self, container: &str, command: &[&str]) -> Result<Executed, Failure> {
        let mut client = self.client();
        let request = cri::ExecSyncRequest {
            container_id: container.to_owned(),
            cmd: command.iter().map(|&word| word.to_owned()).collect(),
            timeout: 30,
        };
        let answer = self.call("ExecSync", async move { client.exec_sync(request).await })?;
        Ok(Executed {
            code: answer.exit_code,
            stdout: String::from_utf8_lossy(&answer.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&answer.stderr).into_owned(),
        })
    }

    /// Changes a container's limits.
    ///
    /// # Errors
    /// containerd, the shim or the kernel refuses.
    pub fn update(&self, container: &str, resources: cri::LinuxContainerResources) -> Result<(), Failure> {
        let mut client = self.client();
        let request = cri::UpdateContainerResourcesRequest {
            container_id: container.to_owned(),
            linux: Some(resources),
            ..Default::default()
        };
        self.call("UpdateContainerResources", async move { client.update_container_resources(request).await }).map(drop)
    }

    /// A container's usage.
    ///
    /// # Errors
    /// containerd or the shim refuses.
    pub fn stats(&self, container: &str) -> Result<cri::ContainerStats, Failure> {
        let mut client = self.client();
        let request = cri::ContainerStatsRequest { container_id: container.to_owned() };
        let answer = self.call("ContainerStats", async move { client.container_stats(request).await })?;
        answer.stats.ok_or_else(|| Failure::unreadable("ContainerStats", &"no statistics"))
    }

    /// A container's state, exit code and reason; the verbose answer's `info` document as well.
    ///
    /// # Errors
    /// containerd does not know it.
    pub fn status(&self, container: &str) -> Result<(cri::ContainerStatus, String), Failure> {
        let mut client = self.client();
        let request = cri::ContainerStatusRequest { container_id: container.to_owned(), verbose: true };
        let mut answer = self.call("ContainerStatus", async move { client.container_status(request).await })?;
        let info = answer.info.remove("info").unwrap_or_default();
        answer.status.map(|status| (status, info)).ok_or_else(|| Failure::unreadable("ContainerStatus", &"no status"))
    }

    /// Waits until CRI knows that a container has ended: it takes the event after others may have seen it.
    ///
    /// # Errors
    /// It has not within twenty seconds.
    pub fn await_exit(&self, container: &str) -> Result<cri::ContainerStatus, Failure> {
        poll::eventually(&format!("the end of {container}"), 20, || {
            let (status, _) = self.status(container).map_err(|failure| failure.to_string())?;
            if status.state() == cri::ContainerState::ContainerExited { Ok(status) } else { Err(format!("{status:?}")) }
        })
    }

    /// Stops a container: SIGTERM, then SIGKILL after `seconds`.
    ///
    /// # Errors
    /// containerd or the shim refuses.
    pub fn stop(&self, container: &str, seconds: i64) -> Result<(), Failure> {
        let mut client = self.client();
        let request = cri::StopContainerRequest { container_id: container.to_owned(), timeout: seconds };
        self.call("StopContainer", async move { client.stop_container(request).await }).map(drop)
    }

    /// Removes a stopped container.
    ///
    /// # Errors
    /// containerd or the shim refuses.
    pub fn remove(&self, container: &str) -> Result<(), Failure> {
        let mut client = self.client();
        let request = cri::RemoveContainerRequest { container_id: container.to_owned() };
        self.call("RemoveContainer", async move { client.remove_container(request).await }).map(drop)
    }

    /// Stops and removes a pod by its id.
    ///
    /// # Errors
    /// A step was refused.
    pub fn remove_pod(&self, id: &str) -> Result<(), Failure> {
        let mut client = self.client();
        let request = cri::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        self.call("StopPodSandbox", async move { client.stop_pod_sandbox(request).await })?;
        let mut client = self.client();
        let request = cri::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        self.call("RemovePodSandbox", async move { client.remove_pod_sandbox(request).await }).map(drop)
    }
}

impl Pod<'_> {
    /// Where a container's log is.
    #[must_use]
    pub fn log(&self, container: &cri::ContainerConfig) -> String {
        format!("{}/{}", self.config.log_directory, container.log_path)
    }

    /// The same pod through another connection, as after a restart of containerd.
    #[must_use]
    pub fn under<'b>(&self, cri: &'b Cri) -> Pod<'b> {
        Pod { cri, id: self.id.clone(), config: self.config.clone(), kept: false }
    }

    /// Lets the pod run on when this is dropped; its id.
    #[must_use]
    pub fn keep(mut self) -> String {
        self.kept = true;
        self.id.clone()
    }

    /// Stops and removes the pod and its containers.
    ///
    /// # Errors
    /// A step was refused.
    pub fn remove(self) -> Result<(), Failure> {
        self.cri.remove_pod(&self.id)
    }
}

impl Drop for Pod<'_> {
    /// For a test that failed; removing a pod twice is allowed by CRI.
    fn drop(&mut self) {
        if !self.kept {
            self.cri.remove_pod(&self.id).ok();
        }
    }
}

/// A container of an image of this run, with kubelet's defaults for an empty security context.
#[must_use]
pub fn container(image: &str, command: &[&str]) -> cri::ContainerConfig {
    let name = unique("container");
    cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata { name: name.clone(), attempt: 0 }),
        image: Some(cri::ImageSpec { image: image.to_owned(), ..Default::default() }),
        command: command.iter().map(|&word| word.to_owned()).collect(),
        log_path: format!("{name}.log"),
        linux: Some(cri::LinuxContainerConfig {
            resources: Some(cri::LinuxContainerResources::default()),
            security_context: Some(cri::LinuxContainerSecurityContext {
                masked_paths: MASKED.iter().map(|&path| path.to_owned()).collect(),
                readonly_paths: READONLY.iter().map(|&path| path.to_owned()).collect(),
                ..Default::default()
            }),
        }),
        ..Default::default()
    }
}

/// The workload image's container that goes on until it is stopped.
#[must_use]
pub fn sleeper() -> cri::ContainerConfig {
    container(image::WORKLOAD, &["/probe", "sleep"])
}

/// The same container, privileged.
#[must_use]
pub fn privileged(mut config: cri::ContainerConfig) -> cri::ContainerConfig {
    if let Some(security) = config.linux.as_mut().and_then(|linux| linux.security_context.as_mut()) {
        *security = cri::LinuxContainerSecurityContext { privileged: true, ..Default::default() };
    }
    config
}

const MASKED: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
