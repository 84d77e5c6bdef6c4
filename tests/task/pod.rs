//! One shim without a daemon around it: the real service, gate and bundles on plain directories, over the stand-in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use containerd_shim_protos::api::{CreateTaskRequest, ExecProcessRequest};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use futures_util::FutureExt as _;
use palisade::bundle::PrivateDir;
use palisade::gate::{Gate, PolicySource};
use palisade::runtime::{ContainerRecord, RECORD_NAME};
use palisade::task::{EventQueue, Reaper, TaskApi, TaskService};
use rustix::process::{getegid, geteuid};
use serde_json::json;

use crate::stand_in::StandIn;

/// containerd's namespace.
pub(crate) const NAMESPACE: &str = "ns";

/// A directory that is gone with its owner.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("palisade-task-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // In memory where there is such a place: thousands of pods come and go.
        let parent = ["/dev/shm"].iter().map(PathBuf::from).find(|dir| dir.is_dir());
        let path = parent.unwrap_or_else(std::env::temp_dir).join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A policy that lets everything pass that can be let pass, and records it in the scratch directory. The orderings do not
/// depend on what is judged, and the user of the test need not be one that a profile admits.
pub(crate) fn policy(scratch: &Path) -> PolicySource {
    let path = scratch.join("policy.toml");
    let audit = scratch.join("audit.jsonl");
    let text = format!("version = 1\nprofile = \"privileged\"\n[audit]\npath = {audit:?}\n");
    fs::write(&path, text).unwrap();
    PolicySource::at(path)
}

/// A shim with its stand-in and its event queue.
pub(crate) struct Pod {
    pub(crate) scratch: Scratch,
    pub(crate) host: Arc<StandIn>,
    pub(crate) events: EventQueue,
    pub(crate) service: Arc<TaskService>,
    pub(crate) api: Arc<TaskApi>,
    pids_shared: bool,
}

impl Pod {
    pub(crate) fn new() -> Self {
        Self::with_pids(false)
    }

    /// Containers are in the host's pid namespace.
    pub(crate) fn sharing_pids() -> Self {
        Self::with_pids(true)
    }

    fn with_pids(shared: bool) -> Self {
        let scratch = Scratch::new();
        let reaper = Reaper::default();
        let events = EventQueue::new(NAMESPACE);
        let host = StandIn::new(reaper.clone());
        let gate = Gate::new(policy(scratch.path()));
        let socket = format!("unix://{}", scratch.path().join("socket").display());
        let service = TaskService::new(NAMESPACE, &socket, gate, host.clone(), reaper, events.clone());
        Self { scratch, host, events, api: TaskApi::new(Arc::clone(&service)), service, pids_shared: shared }
    }

    pub(crate) fn bundle(&self, id: &str) -> PathBuf {
        self.scratch.path().join(NAMESPACE).join(id)
    }

    /// Whether the shim was asked to end, and agreed.
    pub(crate) fn shut_down(&self) -> bool {
        self.service.shutdown_requested().notified().now_or_never().is_some()
    }

    /// The bundle that containerd makes, once for an id, and the request for it.
    pub(crate) fn create_request(&self, id: &str) -> CreateTaskRequest {
        let bundle = self.bundle(id);
        fs::create_dir_all(bundle.join("rootfs")).unwrap();
        fs::write(bundle.join("config.json"), spec(id, self.pids_shared).to_string()).unwrap();
        CreateTaskRequest { id: id.into(), bundle: bundle.to_str().unwrap().into(), ..CreateTaskRequest::default() }
    }

    /// What `shim delete` would go by if the shim died now.
    pub(crate) fn record(&self, id: &str) -> Option<ContainerRecord> {
        PrivateDir::open(&self.bundle(id)).ok()?.read_record(RECORD_NAME).ok()
    }

    /// What is left of a container on disk beside what containerd has put there.
    pub(crate) fn leftovers(&self, id: &str) -> Vec<String> {
        let entries = fs::read_dir(self.bundle(id)).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "config.json" && name != "rootfs").collect();
        names.sort();
        names
    }
}

/// A request for a process that is there for nothing.
pub(crate) fn exec_request(id: &str, exec: &str) -> ExecProcessRequest {
    let process = json!({ "user": user(), "cwd": "/", "args": ["true"], "env": ["PATH=/bin"] });
    let spec = Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".into(),
        value: process.to_string().into_bytes(),
        ..Any::default()
    };
    ExecProcessRequest {
        id: id.into(),
        exec_id: exec.into(),
        spec: MessageField::some(spec),
        ..ExecProcessRequest::default()
    }
}

/// The test's own: pipes can be given to nobody else without root.
fn user() -> serde_json::Value {
    json!({ "uid": geteuid().as_raw(), "gid": getegid().as_raw() })
}

fn spec(id: &str, pids_shared: bool) -> serde_json::Value {
    let kinds = ["pid", "mount", "ipc", "uts", "network"];
    let own = kinds.iter().filter(|kind| **kind != "pid" || !pids_shared);
    let namespaces: Vec<_> = own.map(|kind| json!({ "type": kind })).collect();
    json!({
        "ociVersion": "1.2.1",
        "process": { "user": user(), "cwd": "/", "args": ["true"], "env": ["PATH=/bin"] },
        "root": { "path": "rootfs" },
        "linux": {
            "cgroupsPath": format!("/palisade-stand-in/{id}"),
            "namespaces": namespaces,
        },
    })
}
