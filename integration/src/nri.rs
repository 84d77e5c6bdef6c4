//! A plugin of NRI, the node resource interface: what containerd tells of the lives of pods and containers, and what a plugin makes of
//! a container before the shim sees it.
//!
//! One socket carries two ttrpc connections, one for each side's services. Source: `pkg/net/multiplex` and `pkg/api/api.proto` of
//! containerd's nri, version 0.8; what is understood of the messages here is what the suite needs.

mod frames;
mod message;

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::containerd::Containerd;
use crate::{Failure, poll};
use frames::{Frame, Frames};
use message::{Fields, Message};

/// Connections of the multiplexed socket.
const PLUGIN: u32 = 1;
const RUNTIME: u32 = 2;
/// Every event of version 0.8, as a mask.
const ALL_EVENTS: u64 = (1 << 11) - 1;
const REGISTRATION: Duration = Duration::from_secs(20);
/// Where a plugin is called by a state change, the names of the changes by number.
const CHANGES: [&str; 12] = [
    "Unknown",
    "RunPodSandbox",
    "StopPodSandbox",
    "RemovePodSandbox",
    "CreateContainer",
    "PostCreateContainer",
    "StartContainer",
    "PostStartContainer",
    "UpdateContainer",
    "PostUpdateContainer",
    "StopContainer",
    "RemoveContainer",
];

/// What a plugin adds to a container.
#[derive(Clone, Debug, Default)]
pub struct Adjustment {
    /// An environment variable, name and value.
    pub variable: Option<(&'static str, &'static str)>,
    /// A directory of the host that is bound, and where.
    pub bind: Option<(String, &'static str)>,
    /// Most bytes of memory.
    pub memory: Option<i64>,
}

/// A plugin that is registered until it is dropped. It adjusts the containers of one pod and hears of no other.
#[derive(Debug)]
pub struct Plugin {
    stream: UnixStream,
    heard: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Plugin {
    /// Registers one that adjusts the containers of the pod of this name.
    ///
    /// # Errors
    /// containerd takes no plugin.
    pub fn register(containerd: &Containerd, pod: &str, adjustment: Adjustment) -> Result<Self, Failure> {
        let path = containerd.layout().base.join("nri.sock");
        let stream = UnixStream::connect(&path).map_err(Failure::io("connect to", &path))?;
        let copy = stream.try_clone().map_err(Failure::io("share", &path))?;
        let heard = Arc::default();
        let (ready, synchronized) = channel();
        let mut ears =
            Ears { frames: Frames::of(copy), pod: pod.to_owned(), adjustment, heard: Arc::clone(&heard), ready };
        let thread = std::thread::spawn(move || ears.listen());
        let plugin = Self { stream, heard, thread: Some(thread) };
        plugin.await_synchronization(&synchronized)?;
        Ok(plugin)
    }

    fn await_synchronization(&self, synchronized: &Receiver<()>) -> Result<(), Failure> {
        synchronized.recv_timeout(REGISTRATION).map_err(|_| Failure::Late {
            what: "a plugin's registration".to_owned(),
            seconds: REGISTRATION.as_secs(),
            last: self.heard().join(" "),
        })
    }

    /// What it heard of its pod so far, in order.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has heard this.
    ///
    /// # Errors
    /// It does not come.
    pub fn hears(&self, event: &str) -> Result<Vec<String>, Failure> {
        poll::eventually(event, 20, || {
            let heard = self.heard();
            if heard.iter().any(|one| one == event) { Ok(heard) } else { Err(heard.join(" ")) }
        })
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // The other side may have closed it already; either way the thread's next read ends it.
        self.stream.shutdown(Shutdown::Both).ok();
        self.thread.take().map(JoinHandle::join);
    }
}

/// The thread of a plugin.
struct Ears {
    frames: Frames,
    pod: String,
    adjustment: Adjustment,
    heard: Arc<Mutex<Vec<String>>>,
    ready: std::sync::mpsc::Sender<()>,
}

impl Ears {
    /// Answers until the connection ends.
    fn listen(&mut self) {
        let name = Message::new().text(1, &format!("suite-{}", self.pod)).text(2, "10");
        let request =
            Message::new().text(1, "nri.pkg.api.v1alpha1.Runtime").text(2, "RegisterPlugin").bytes(3, &name.0);
        if self.frames.send(RUNTIME, &Frame::request(1, request.0)).is_err() {
            return;
        }
        while let Ok((connection, frame)) = self.frames.receive() {
            if connection == PLUGIN && frame.is_request() && self.answer(&frame).is_err() {
                return;
            }
        }
    }

    fn answer(&mut self, frame: &Frame) -> std::io::Result<()> {
        let request = Fields::of(&frame.payload);
        let (method, payload) = (request.text(2), Fields::of(request.bytes(3)));
        let answer = match method.as_str() {
            "Configure" => Message::new().number(2, ALL_EVENTS),
            "Synchronize" => Message::new().number(2, payload.number(3)),
            "StateChange" => {
                let change = usize::try_from(payload.number(1)).ok().and_then(|number| CHANGES.get(number));
                self.hear(change.copied().unwrap_or("Unknown"), &Fields::of(payload.bytes(2)));
                Message::new()
            }
            "CreateContainer" if self.hear("CreateContainer", &Fields::of(payload.bytes(1))) => {
                Message::new().bytes(1, &self.adjustment.message().0)
            }
            "CreateContainer" => Message::new(),
            other => {
                self.hear(other, &Fields::of(payload.bytes(1)));
                Message::new()
            }
        };
        let response = Message::new().bytes(2, &answer.0);
        self.frames.send(PLUGIN, &Frame::response(frame.stream, response.0))?;
        if method == "Synchronize" && payload.number(3) == 0 {
            // Who registered may have given up meanwhile.
            self.ready.send(()).ok();
        }
        Ok(())
    }

    /// Keeps an event of its own pod, and says whether it was one.
    fn hear(&self, event: &str, pod: &Fields<'_>) -> bool {
        let own = pod.text(2) == self.pod;
        if own {
            self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(event.to_owned());
        }
        own
    }
}

impl Adjustment {
    fn message(&self) -> Message {
        let mut message = Message::new();
        if let Some((source, at)) = &self.bind {
            let mount = Message::new().text(1, at).text(2, "bind").text(3, source).text(4, "rbind").text(4, "ro");
            message = message.bytes(3, &mount.0);
        }
        if let Some((name, value)) = self.variable {
            message = message.bytes(4, &Message::new().text(1, name).text(2, value).0);
        }
        if let Some(bytes) = self.memory {
            let limit = Message::new().number(1, bytes.cast_unsigned());
            let memory = Message::new().bytes(1, &limit.0);
            let resources = Message::new().bytes(1, &memory.0);
            message = message.bytes(6, &Message::new().bytes(2, &resources.0).0);
        }
        message
    }
}
