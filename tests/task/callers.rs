//! Callers that go away, that send nonsense, and that are away when they should listen.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use containerd_shim_protos::api::{
    CreateTaskResponse, DeleteRequest, Empty, ForwardRequest, StartRequest, StateRequest, StateResponse, WaitRequest,
    WaitResponse,
};
use containerd_shim_protos::events::task::TaskOOM;
use containerd_shim_protos::protobuf::Message as _;
use containerd_shim_protos::shim_async::{Events, create_events};
use containerd_shim_protos::types::task::Status;
use palisade::task::{EventQueue, Publisher};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use ttrpc::Code;
use ttrpc::r#async::TtrpcContext;
use ttrpc::asynchronous::Server;
use ttrpc::proto::{Codec as _, MessageHeader, Request, Response};

use crate::client::{Client, Served, V3, block_on};
use crate::log::{Event, read};
use crate::pod::{NAMESPACE, Pod, Scratch};
use crate::stand_in::Outcome;
use crate::verbs::{kill_request, request};

async fn status(client: &Client) -> Result<Status, Code> {
    let state = client.call::<StateResponse>("State", &request!(StateRequest, "c")).await;
    state.map(|state| state.status.enum_value().unwrap())
}

/// What a restart of containerd does to a create that is under way.
#[test]
fn a_create_whose_connection_closes_is_finished() {
    block_on(async {
        let pod = Pod::new();
        let served = Served::new(&pod).await;
        pod.host.hold(true);
        let request = pod.create_request("c");
        let caller = tokio::spawn({
            let client = served.client(V3).await;
            async move { client.call::<CreateTaskResponse>("Create", &request).await }
        });
        pod.host.arrival("create c").await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        let next = served.client(V3).await;
        let taken = next.call::<Empty>("Create", &pod.create_request("c")).await;
        assert_eq!(taken.unwrap_err(), Code::ALREADY_EXISTS, "the first is still at it");
        pod.host.answer("create c", Outcome::Success);
        // The verb is a task of the same thread: it runs before this connection's next answer is read.
        assert_eq!(status(&next).await, Ok(Status::CREATED));
        assert_eq!(pod.events.waiting().len(), 1);
    });
}

#[test]
fn verbs_whose_deadline_passes_are_finished() {
    block_on(async {
        let pod = Pod::new();
        let served = Served::new(&pod).await;
        let client = served.client(V3).await;
        client.call::<Empty>("Create", &pod.create_request("c")).await.unwrap();
        pod.host.hold(true);
        let soon = Duration::from_millis(20);
        let late = client.call_for::<Empty>("Start", &request!(StartRequest, "c"), soon).await;
        assert_eq!(late.unwrap_err(), Code::DEADLINE_EXCEEDED);
        pod.host.answer("start c", Outcome::Success);
        assert_eq!(status(&client).await, Ok(Status::RUNNING));
        let late = client.call_for::<Empty>("Wait", &request!(WaitRequest, "c"), soon).await;
        assert_eq!(late.unwrap_err(), Code::DEADLINE_EXCEEDED);
        client.call::<Empty>("Kill", &kill_request("c", "", 9)).await.unwrap();
        pod.host.reap(pod.host.pid("c", ""));
        let ended = client.call::<WaitResponse>("Wait", &request!(WaitRequest, "c")).await.unwrap();
        assert_eq!(ended.exit_status, 137);
        let late = client.call_for::<Empty>("Delete", &request!(DeleteRequest, "c"), soon).await;
        assert_eq!(late.unwrap_err(), Code::DEADLINE_EXCEEDED);
        pod.host.answer("delete c", Outcome::Success);
        assert_eq!(status(&client).await, Err(Code::NOT_FOUND));
        let told: Vec<Event> = pod.events.waiting().iter().map(|envelope| read(envelope).1).collect();
        assert!(matches!(
            told[..],
            [Event::Create { .. }, Event::Start { .. }, Event::Exit { .. }, Event::Delete { .. }]
        ));
    });
}

async fn send(stream: &mut UnixStream, header: MessageHeader, payload: &[u8]) {
    let mut frame: Vec<u8> = header.into();
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await.unwrap();
}

/// The code of the next answer on a connection; `None` when the other side has closed it.
async fn answer(stream: &mut UnixStream) -> Option<Code> {
    let mut header = [0; 10];
    if stream.read_exact(&mut header).await.is_err() {
        return None;
    }
    let length = u32::from_be_bytes(header[..4].try_into().unwrap());
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).await.unwrap();
    let response = Response::decode(payload).unwrap();
    Some(response.status.code.enum_value().unwrap())
}

fn frame(length: usize, kind: u8) -> MessageHeader {
    MessageHeader { length: u32::try_from(length).unwrap(), stream_id: 1, type_: kind, flags: 0 }
}

fn payload(service: &str, method: &str, payload: &[u8]) -> Vec<u8> {
    let (service, method, payload) = (service.into(), method.into(), payload.to_vec());
    Request { service, method, payload, ..Request::default() }.write_to_bytes().unwrap()
}

/// Whatever one connection sends, the shim goes on and answers the next.
#[test]
fn nonsense_on_the_wire_is_answered_or_hung_up_on() {
    block_on(async {
        let pod = Pod::new();
        let served = Served::new(&pod).await;
        let cases: [(&str, MessageHeader, Vec<u8>, Option<Code>); 8] = {
            let known = |method, bytes: &[u8]| payload(V3, method, bytes);
            let with = |bytes: Vec<u8>| (frame(bytes.len(), 1), bytes);
            let case = |name, (header, bytes), code| (name, header, bytes, code);
            [
                case("no request", with(vec![0xff; 64]), Some(Code::INVALID_ARGUMENT)),
                case("no service", with(payload("x", "State", b"")), Some(Code::INVALID_ARGUMENT)),
                case("no method", with(known("Nothing", b"")), Some(Code::UNIMPLEMENTED)),
                case("no message", with(known("State", &[0xff; 9])), Some(Code::UNKNOWN)),
                case("no text", with(known("State", &[0x0a, 2, 0xc3, 0x28])), Some(Code::UNKNOWN)),
                case(
                    "deeper than its length",
                    with(known("State", &[0x0a, 0xff, 0xff, 0xff, 0x7f])),
                    Some(Code::UNKNOWN),
                ),
                case("larger than is read", (frame(5 << 20, 1), vec![0; 5 << 20]), Some(Code::INVALID_ARGUMENT)),
                case("cut off", (frame(100, 1), vec![0; 7]), None),
            ]
        };
        for (name, header, bytes, expected) in cases {
            let mut stream = served.connection().await;
            send(&mut stream, header, &bytes).await;
            if expected.is_none() {
                stream.shutdown().await.unwrap();
            }
            assert_eq!(answer(&mut stream).await, expected, "{name}");
            let client = served.client(V3).await;
            assert_eq!(status(&client).await, Err(Code::NOT_FOUND), "after {name}");
        }
    });
}

/// A length of 4 GiB in a header is not a size to allocate.
#[test]
fn a_frame_that_claims_4_gib_costs_nothing() {
    block_on(async {
        let pod = Pod::new();
        let served = Served::new(&pod).await;
        let before = peak_kib();
        let mut streams = Vec::new();
        for _ in 0..16 {
            let mut stream = served.connection().await;
            let header = MessageHeader { length: u32::MAX, stream_id: 1, type_: 1, flags: 0 };
            send(&mut stream, header, &[0; 4096]).await;
            streams.push(stream);
        }
        let client = served.client(V3).await;
        assert_eq!(status(&client).await, Err(Code::NOT_FOUND));
        // Other tests run beside this one; all of them need far less.
        assert!(peak_kib() - before < 1 << 20, "{} KiB more", peak_kib() - before);
    });
}

/// Most memory that the process had mapped at once, in KiB. Source: proc_pid_status(5).
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmPeak:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// containerd's side of the events.
#[derive(Default)]
struct Containerd {
    taken: Mutex<Vec<Event>>,
    /// How many of the next are refused.
    refuse: Mutex<u32>,
    came: Notify,
}

#[async_trait]
impl Events for Containerd {
    async fn forward(&self, _ctx: &TtrpcContext, request: ForwardRequest) -> ttrpc::Result<Empty> {
        let mut refuse = self.refuse.lock().unwrap();
        if *refuse > 0 {
            *refuse -= 1;
            return Err(ttrpc::Error::RpcStatus(ttrpc::get_status(Code::UNAVAILABLE, "not now")));
        }
        self.taken.lock().unwrap().push(read(&request.envelope).1);
        self.came.notify_waiters();
        Ok(Empty::default())
    }
}

impl Containerd {
    async fn listen(self: &Arc<Self>, path: &std::path::Path) -> Server {
        let address = format!("unix://{}", path.display());
        let mut server = Server::new().bind(&address).unwrap().register_service(create_events(self.clone()));
        server.start().await.unwrap();
        server
    }

    async fn has_taken(&self, count: usize) -> Vec<Event> {
        loop {
            let came = self.came.notified();
            let taken = self.taken.lock().unwrap().clone();
            if taken.len() >= count {
                return taken;
            }
            came.await;
        }
    }
}

#[test]
fn events_wait_for_a_containerd_that_is_away_or_refuses_and_come_in_order() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        let containerd = Arc::new(Containerd { refuse: Mutex::new(2), ..Containerd::default() });
        let path = pod.scratch.path().join("events");
        tokio::spawn(Publisher::new(pod.events.clone(), path.to_str().unwrap()).run());
        client.call::<Empty>("Create", &pod.create_request("c")).await.unwrap();
        client.call::<Empty>("Start", &request!(StartRequest, "c")).await.unwrap();
        let first = containerd.listen(&path).await;
        assert_eq!(containerd.has_taken(2).await.len(), 2);
        // Gone without a word, as by SIGKILL, and back under the same path.
        drop(first);
        std::fs::remove_file(&path).unwrap();
        pod.host.end(pod.host.pid("c", ""), 7);
        let ended = client.call::<WaitResponse>("Wait", &request!(WaitRequest, "c")).await.unwrap();
        assert_eq!(ended.exit_status, 7);
        client.call::<Empty>("Delete", &request!(DeleteRequest, "c")).await.unwrap();
        let _second = containerd.listen(&path).await;
        let taken = containerd.has_taken(4).await;
        let pid = pod.host.pid("c", "");
        let expected = [
            Event::Create { pid },
            Event::Start { pid },
            Event::Exit { exec: String::new(), pid, status: 7 },
            Event::Delete { pid, status: 7 },
        ];
        assert_eq!(taken, expected);
        pod.events.drained().await;
    });
}

/// containerd hangs and accepts nobody: its queue of connections is full, and the shim goes on all the same.
#[test]
fn a_containerd_that_accepts_nobody_stops_no_shim() {
    let scratch = Scratch::new();
    let path = scratch.path().join("events");
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let _queued = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let (sender, said) = std::sync::mpsc::channel();
    let publisher = path.clone();
    // A thread of its own: a connect that waits could not be given up otherwise.
    std::thread::spawn(move || {
        block_on(async {
            let events = EventQueue::new(NAMESPACE);
            events.send(&TaskOOM::default());
            let delivery = tokio::spawn(Publisher::new(events.clone(), publisher.to_str().unwrap()).run());
            // The publisher has tried once when this comes back.
            tokio::task::yield_now().await;
            sender.send(events.waiting().len()).unwrap();
            delivery.abort();
        });
    });
    assert_eq!(said.recv_timeout(Duration::from_secs(20)), Ok(1), "the event waits, the shim does not");
}
