//! Events to containerd, in order.
//!
//! One queue, one publisher: what is put in first arrives first. containerd may be away for a while (it is
//! restarted under running pods); the publisher then keeps the front of the queue until it gets through.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use containerd_shim_protos::events::task::{
    TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit, TaskOOM, TaskPaused, TaskResumed, TaskStart,
};
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{EnumOrUnknown, Message, MessageField};
use containerd_shim_protos::shim::event::Envelope;
use containerd_shim_protos::shim::events::ForwardRequest;
use containerd_shim_protos::shim_async::{Client, EventsClient};
use containerd_shim_protos::topics;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use ttrpc::Code;

use super::exit::timestamp;

/// Most events that wait for containerd; a pod that ends while containerd is away makes a handful.
const CAPACITY: usize = 2048;
/// Longest time for one delivery.
const DELIVERY: Duration = Duration::from_secs(5);
/// Times that containerd may answer with an error before an event is given up: those behind it wait for it.
/// A containerd that can't be reached is waited for without an end.
const MAX_REFUSALS: u32 = 5;
/// Pauses between attempts, the last one repeated.
const BACKOFF: [Duration; 4] =
    [Duration::from_millis(20), Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5)];

/// An event of a task, with the names that containerd knows it by.
pub trait TaskEvent: Message {
    /// Source: containerd `core/runtime/events.go`.
    const TOPIC: &'static str;
    /// The message's full name. To ask the message itself builds descriptors of five files, 0.4 MB that a shim would keep.
    const TYPE: &'static str;
}

macro_rules! topics {
    ($($message:ident => $topic:ident,)*) => {
        $(impl TaskEvent for $message {
            const TOPIC: &'static str = topics::$topic;
            const TYPE: &'static str = concat!("containerd.events.", stringify!($message));
        })*

        /// The names in use, with those that the messages' own descriptions have.
        #[cfg(test)]
        fn types() -> Vec<(&'static str, String)> {
            use containerd_shim_protos::protobuf::MessageFull;

            vec![$((<$message as TaskEvent>::TYPE, $message::descriptor().full_name().to_owned()),)*]
        }
    };
}

topics! {
    TaskCreate => TASK_CREATE_EVENT_TOPIC,
    TaskStart => TASK_START_EVENT_TOPIC,
    TaskOOM => TASK_OOM_EVENT_TOPIC,
    TaskExit => TASK_EXIT_EVENT_TOPIC,
    TaskDelete => TASK_DELETE_EVENT_TOPIC,
    TaskExecAdded => TASK_EXEC_ADDED_EVENT_TOPIC,
    TaskExecStarted => TASK_EXEC_STARTED_EVENT_TOPIC,
    TaskPaused => TASK_PAUSED_EVENT_TOPIC,
    TaskResumed => TASK_RESUMED_EVENT_TOPIC,
}

/// Where verbs put events. Cloning shares it.
#[derive(Clone)]
pub struct EventQueue {
    namespace: Arc<str>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<VecDeque<Envelope>>,
    /// One permit for "there is something", one for "it is empty now".
    filled: Notify,
    drained: Notify,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Envelope>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventQueue {
    /// An empty queue for the events of containerd's `namespace`.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.into(), shared: Arc::default() }
    }

    /// Queues an event. Never waits; over capacity the oldest is given up and logged.
    pub fn send<E: TaskEvent>(&self, event: &E) {
        let Some(envelope) = self.envelope(event) else { return };
        let mut waiting = self.shared.waiting();
        if waiting.len() >= CAPACITY
            && let Some(lost) = waiting.pop_front()
        {
            crate::warn!("event {} given up: containerd has not taken {CAPACITY} events", lost.topic);
        }
        waiting.push_back(envelope);
        drop(waiting);
        self.shared.filled.notify_one();
    }

    fn envelope<E: TaskEvent>(&self, event: &E) -> Option<Envelope> {
        let value = match event.write_to_bytes() {
            Ok(value) => value,
            Err(error) => {
                crate::warn!("event {} can't be encoded: {error}", E::TOPIC);
                return None;
            }
        };
        let any = Any { type_url: E::TYPE.to_owned(), value, ..Any::default() };
        Some(Envelope {
            timestamp: MessageField::some(timestamp(SystemTime::now())),
            namespace: self.namespace.to_string(),
            topic: E::TOPIC.to_owned(),
            event: MessageField::some(any),
            ..Envelope::default()
        })
    }

    /// Waits until everything was delivered; bounded by the caller.
    pub async fn drained(&self) {
        while !self.shared.waiting().is_empty() {
            self.shared.drained.notified().await;
        }
    }

    /// What containerd has not taken yet, oldest first.
    #[must_use]
    pub fn waiting(&self) -> Vec<Envelope> {
        self.shared.waiting().iter().cloned().collect()
    }

    #[cfg(test)]
    fn topics(&self) -> Vec<String> {
        self.shared.waiting().iter().map(|envelope| envelope.topic.clone()).collect()
    }
}

/// Delivers a queue to containerd's ttrpc socket.
pub struct Publisher {
    queue: EventQueue,
    path: String,
    client: Option<EventsClient>,
}

impl Publisher {
    /// A publisher to the ttrpc socket at `address`, a path or a `unix://` URI.
    #[must_use]
    pub fn new(queue: EventQueue, address: &str) -> Self {
        let path = address.strip_prefix("unix://").unwrap_or(address).to_owned();
        Self { queue, path, client: None }
    }

    /// Delivers for as long as the shim lives.
    pub async fn run(mut self) {
        loop {
            let front = self.queue.shared.waiting().front().cloned();
            let Some(envelope) = front else {
                self.queue.shared.drained.notify_waiters();
                self.queue.shared.filled.notified().await;
                continue;
            };
            self.deliver(&envelope).await;
            let mut waiting = self.queue.shared.waiting();
            // Over capacity the front may have been given up meanwhile.
            if waiting.front() == Some(&envelope) {
                waiting.pop_front();
            }
        }
    }

    async fn deliver(&mut self, envelope: &Envelope) {
        let mut backoff = BACKOFF.iter();
        let mut pause = BACKOFF[0];
        let mut refusals = 0;
        while let Err(error) = self.forward(envelope).await {
            self.client = None;
            refusals += u32::from(is_refusal(&error));
            if refusals >= MAX_REFUSALS {
                crate::warn!("event {} given up: containerd refuses it: {error}", envelope.topic);
                return;
            }
            pause = backoff.next().copied().unwrap_or(pause);
            if pause >= Duration::from_secs(1) {
                crate::warn!("event {} is not taken yet: {error}", envelope.topic);
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn forward(&mut self, envelope: &Envelope) -> ttrpc::Result<()> {
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(EventsClient::new(connect(&self.path).await?)),
        };
        let request = ForwardRequest { envelope: MessageField::some(envelope.clone()), ..ForwardRequest::default() };
        let context = ttrpc::context::with_duration(DELIVERY);
        client.forward(context, &request).await.map(drop)
    }
}

/// An answer that another attempt will not change. One that containerd had no time for is none.
fn is_refusal(error: &ttrpc::Error) -> bool {
    matches!(error, ttrpc::Error::RpcStatus(status) if status.code != EnumOrUnknown::new(Code::DEADLINE_EXCEEDED))
}

/// Without waiting for containerd to accept: one that hangs may have a full queue of connections, and the wait of ttrpc's own
/// connect would stop the whole shim.
async fn connect(path: &str) -> ttrpc::Result<Client> {
    let stream = UnixStream::connect(path).await.map_err(|error| ttrpc::Error::Socket(error.to_string()))?;
    Ok(Client::new(stream.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_carries_its_containerd_type() {
        let queue = EventQueue::new("k8s.io");
        queue.send(&TaskOOM { container_id: "c1".into(), ..TaskOOM::default() });
        let envelope = queue.shared.waiting().pop_front().unwrap();
        assert_eq!(envelope.event.type_url, "containerd.events.TaskOOM");
        assert_eq!((envelope.namespace.as_str(), envelope.topic.as_str()), ("k8s.io", "/tasks/oom"));
    }

    #[test]
    fn an_event_has_the_name_of_its_message() {
        for (ours, described) in types() {
            assert_eq!(ours, described);
        }
        assert_eq!(types().len(), 9);
    }

    #[test]
    fn over_capacity_the_oldest_goes() {
        let queue = EventQueue::new("ns");
        queue.send(&TaskCreate::default());
        for _ in 0..CAPACITY {
            queue.send(&TaskOOM::default());
        }
        let topics = queue.topics();
        assert_eq!(topics.len(), CAPACITY);
        assert!(topics.iter().all(|topic| topic == "/tasks/oom"));
    }
}
