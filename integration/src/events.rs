//! What containerd tells its subscribers of tasks, and whether it is whole and in order.

mod order;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use containerd_client::events as messages;
use containerd_client::services::v1 as api;
use containerd_client::types::Envelope;
use prost::Message as _;
use prost_types::Any;
use tokio::sync::oneshot;
use tonic::Request;

pub use order::{Life, faults_in};

use crate::containerd::Containerd;
use crate::{Failure, poll};

/// Topic of the events by which a recorder sees that its subscription is in force.
const PROBE: &str = "/palisade/probe";

/// What happened to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The task was created.
    Create,
    /// Init was started.
    Start,
    /// An exec was added.
    ExecAdded,
    /// An exec was started.
    ExecStarted,
    /// A process ended with this status.
    Exit(u32),
    /// The task was deleted.
    Delete,
    /// The kernel killed for want of memory.
    Oom,
    /// The task was paused.
    Paused,
    /// The task was resumed.
    Resumed,
}

/// One event of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The container's id.
    pub container: String,
    /// The exec's id, empty for init.
    pub exec: String,
    /// What happened.
    pub what: What,
    /// The process id, 0 where the event has none.
    pub pid: u32,
}

/// An event and when it came.
type Seen = (Instant, Event);

/// A subscription to the events of a containerd namespace, kept since it was made.
#[derive(Debug)]
pub struct Recorder {
    seen: Arc<Mutex<Vec<Seen>>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Subscribes, and returns once events come.
    ///
    /// # Errors
    /// containerd does not answer, or its events do not come.
    pub fn start(containerd: &Containerd) -> Result<Self, Failure> {
        Self::of_namespace(containerd, containerd.tag())
    }

    /// The same for another containerd namespace, such as CRI's.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn of_namespace(containerd: &Containerd, namespace: &str) -> Result<Self, Failure> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let probed = Arc::new(AtomicU32::new(0));
        let (end, ended) = oneshot::channel();
        let (socket, its_namespace) = (containerd.layout().socket().to_owned(), namespace.to_owned());
        let thread = thread::spawn({
            let (seen, probed) = (Arc::clone(&seen), Arc::clone(&probed));
            move || {
                let Ok(executor) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
                executor.block_on(async {
                    tokio::select! {
                        // A stream that breaks is a recording that ends; whoever waits for an event says so.
                        _ = subscribe(&socket, &its_namespace, &seen, &probed) => {}
                        _ = ended => {}
                    }
                });
            }
        });
        let recorder = Self { seen, end: Some(end), thread: Some(thread) };
        poll::eventually("an event by a new subscription", 20, || {
            publish_probe(containerd, namespace).map_err(|failure| failure.to_string())?;
            if probed.load(Ordering::Relaxed) > 0 { Ok(()) } else { Err("none".to_owned()) }
        })?;
        Ok(recorder)
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The events of a container, as they came.
    #[must_use]
    pub fn of(&self, container: &str) -> Vec<Event> {
        self.seen().iter().map(|(_, event)| event).filter(|event| event.container == container).cloned().collect()
    }

    /// Waits for the event of the end of a container's init; when it came.
    ///
    /// # Errors
    /// None comes within `seconds`.
    pub fn exited_at(&self, container: &str, seconds: u64) -> Result<Instant, Failure> {
        let is_end = |event: &Event| {
            event.container == container && event.exec.is_empty() && matches!(event.what, What::Exit(_))
        };
        poll::eventually(&format!("the exit of {container}"), seconds, || {
            let at = self.seen().iter().rev().find(|(_, event)| is_end(event)).map(|(at, _)| *at);
            at.ok_or_else(|| told(&self.of(container)))
        })
    }

    /// Waits until a container's events hold one like this, and returns them all.
    ///
    /// # Errors
    /// None comes within `seconds`.
    pub fn until(
        &self,
        container: &str,
        seconds: u64,
        wanted: impl Fn(&[Event]) -> bool,
    ) -> Result<Vec<Event>, Failure> {
        poll::eventually(&format!("the events of {container}"), seconds, || {
            let events = self.of(container);
            if wanted(&events) { Ok(events) } else { Err(told(&events)) }
        })
    }

    /// Waits for the end of a container's life and checks it: whole, in order, nothing twice.
    ///
    /// # Errors
    /// No deletion within `seconds`, or what is wrong with the life.
    pub fn whole_life(&self, container: &str, seconds: u64, life: &Life) -> Result<Vec<Event>, Failure> {
        let events = self.until(container, seconds, |events| events.iter().any(|event| event.what == What::Delete))?;
        let faults = faults_in(&events, life);
        if faults.is_empty() {
            return Ok(events);
        }
        let detail = format!("{}; seen: {}", faults.join(", "), told(&events));
        Err(Failure::Unreadable { what: format!("the events of {container}"), detail })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            // The thread may have ended by itself, with containerd.
            end.send(()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Events in a line.
#[must_use]
pub fn told(events: &[Event]) -> String {
    let one = |event: &Event| {
        let of = if event.exec.is_empty() { String::new() } else { format!(" of {}", event.exec) };
        format!("{:?}{of}", event.what)
    };
    // A list of thousands helps nobody.
    let (first, rest) = events.split_at(events.len().min(60));
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    first.iter().map(one).collect::<Vec<_>>().join(", ") + &more
}

async fn subscribe(
    socket: &std::path::Path,
    namespace: &str,
    seen: &Mutex<Vec<Seen>>,
    probed: &AtomicU32,
) -> Result<(), Box<dyn std::error::Error>> {
    let channel = containerd_client::connect(socket).await?;
    let mut client = api::events_client::EventsClient::new(channel);
    let filters = vec![format!("namespace==\"{namespace}\"")];
    let mut stream = client.subscribe(api::SubscribeRequest { filters }).await?.into_inner();
    while let Some(envelope) = stream.message().await? {
        if envelope.topic == PROBE {
            probed.fetch_add(1, Ordering::Relaxed);
        } else if let Some(event) = task_event(&envelope)? {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), event));
        }
    }
    Ok(())
}

/// Publishes an event of no task.
fn publish_probe(containerd: &Containerd, namespace: &str) -> Result<(), Failure> {
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::Io { action: "start an executor".to_owned(), source })?;
    let event = messages::TaskOom { container_id: "probe".to_owned() };
    let event = Any { type_url: "containerd.events.TaskOOM".to_owned(), value: event.encode_to_vec() };
    let mut request = Request::new(api::PublishRequest { topic: PROBE.to_owned(), event: Some(event) });
    let namespace = namespace.parse().map_err(|error| Failure::unreadable("a namespace", &error))?;
    request.metadata_mut().insert("containerd-namespace", namespace);
    request.set_timeout(Duration::from_secs(10));
    let socket = containerd.layout().socket();
    executor.block_on(async {
        let channel =
            containerd_client::connect(socket).await.map_err(|error| Failure::unreadable("the socket", &error))?;
        api::events_client::EventsClient::new(channel).publish(request).await.map_err(Failure::rpc("Publish"))
    })?;
    Ok(())
}

/// `None` for events of other things than tasks.
fn task_event(envelope: &Envelope) -> Result<Option<Event>, prost::DecodeError> {
    let Some(any) = &envelope.event else { return Ok(None) };
    let bytes = any.value.as_slice();
    let event = |container: String, exec: String, what, pid| Event { container, exec, what, pid };
    let of_init = |container: String, what, pid| event(container, String::new(), what, pid);
    Ok(Some(match envelope.topic.as_str() {
        "/tasks/create" => {
            let message = messages::TaskCreate::decode(bytes)?;
            of_init(message.container_id, What::Create, message.pid)
        }
        "/tasks/start" => {
            let message = messages::TaskStart::decode(bytes)?;
            of_init(message.container_id, What::Start, message.pid)
        }
        "/tasks/exec-added" => {
            let message = messages::TaskExecAdded::decode(bytes)?;
            event(message.container_id, message.exec_id, What::ExecAdded, 0)
        }
        "/tasks/exec-started" => {
            let message = messages::TaskExecStarted::decode(bytes)?;
            event(message.container_id, message.exec_id, What::ExecStarted, message.pid)
        }
        "/tasks/exit" => {
            let message = messages::TaskExit::decode(bytes)?;
            let exec = if message.id == message.container_id { String::new() } else { message.id };
            event(message.container_id, exec, What::Exit(message.exit_status), message.pid)
        }
        "/tasks/delete" => {
            let message = messages::TaskDelete::decode(bytes)?;
            of_init(message.container_id, What::Delete, message.pid)
        }
        "/tasks/oom" => of_init(messages::TaskOom::decode(bytes)?.container_id, What::Oom, 0),
        "/tasks/paused" => of_init(messages::TaskPaused::decode(bytes)?.container_id, What::Paused, 0),
        "/tasks/resumed" => of_init(messages::TaskResumed::decode(bytes)?.container_id, What::Resumed, 0),
        _ => return Ok(None),
    }))
}
