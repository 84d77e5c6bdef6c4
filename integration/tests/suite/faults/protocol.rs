//! What no client of ttrpc sends: garbage, cut-off and oversized messages, unknown services and methods. The shim answers or hangs up,
//! and goes on serving everybody else.

use containerd_shim_protos::api::StateRequest;
use containerd_shim_protos::protobuf::Message as _;
use containerd_shim_protos::ttrpc::proto::{Request, Response};
use libtest_mimic::{Failed, Trial};
use palisade_integration::events::{Life, Recorder};
use palisade_integration::shim_client::{RawConnection, frame};

use super::confined::{descriptors, settled_descriptors};
use super::fault;
use super::victim::{Victim, parent};
use crate::support::{Check, World};

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const DATA: u8 = 3;
const TASK: &str = "containerd.task.v3.Task";
/// gRPC codes. Source: grpc `doc/statuscodes.md`.
const UNKNOWN: i32 = 2;
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const UNIMPLEMENTED: i32 = 12;
/// Most bytes of a message. Source: containerd/ttrpc `channel.go`.
const MOST: usize = 4 << 20;

pub(super) fn trials(world: &'static World) -> Vec<Trial> {
    vec![
        fault(world, "malformed and oversized messages", malformed),
        fault(world, "unknown services, methods and types of messages", unknown),
        fault(world, "every method with a payload that is no message", no_message),
        fault(world, "a hundred connections that send half a message", half_messages),
        fault(world, "a caller that asks and never reads the answers", unread_answers),
    ]
}

/// Bytes that are sent, and the code of the answer, if there is to be one.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    code: Option<i32>,
}

impl Case {
    fn new(name: &'static str, bytes: Vec<u8>, code: Option<i32>) -> Self {
        Self { name, bytes, code }
    }
}

fn request(service: &str, method: &str, payload: Vec<u8>) -> Result<Vec<u8>, Failed> {
    let request = Request { service: service.into(), method: method.into(), payload, ..Request::default() };
    Ok(request.write_to_bytes()?)
}

fn state(id: &str) -> Result<Vec<u8>, Failed> {
    request(TASK, "State", StateRequest { id: id.into(), ..StateRequest::default() }.write_to_bytes()?)
}

/// Sends each on a connection of its own; the shim stays, with what it had open, and answers as before.
fn try_all(world: &World, cases: impl FnOnce(&str) -> Result<Vec<Case>, Failed>) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let victim = Victim::running(world)?;
    let shim = parent(*victim.tasks.pids(&victim.id)?.first().ok_or("no init process")?)?;
    let open = settled_descriptors(shim)?;
    for case in cases(&victim.id)? {
        let mut connection = RawConnection::to(&world.containerd, &victim.id)?;
        let written = connection.write(&case.bytes);
        if case.code.is_none() {
            connection.finish();
        }
        let answer = connection.read().map_err(|failure| format!("{}: {failure}", case.name))?;
        let code = answer.map(|(kind, payload)| code_of(kind, &payload)).transpose()?;
        expect_eq!(code, case.code, "answer to {} (all written: {written})", case.name);
        alive(world, &victim, shim)
            .map_err(|failed| format!("after {}: {}", case.name, failed.message().unwrap_or("")))?;
    }
    hung_up(shim, open)?;
    finish(&recorder, victim)
}

fn code_of(kind: u8, payload: &[u8]) -> Result<i32, Failed> {
    expect_eq!(kind, RESPONSE, "type of the answer");
    Ok(Response::parse_from_bytes(payload)?.status.code.value())
}

/// A new connection is served, by the same process.
fn alive(world: &World, victim: &Victim<'_>, shim: u32) -> Check {
    let mut connection = RawConnection::to(&world.containerd, &victim.id)?;
    connection.write(&frame(1, REQUEST, 0, &state(&victim.id)?));
    let (kind, payload) = connection.read()?.ok_or("the shim hung up")?;
    expect_eq!(code_of(kind, &payload)?, 0, "answer to an ordinary call");
    expect_eq!(parent(*victim.tasks.pids(&victim.id)?.first().ok_or("no init process")?)?, shim, "the shim");
    Ok(())
}

/// The connections of the test are closed on the shim's side too.
fn hung_up(shim: u32, open: u64) -> Check {
    palisade_integration::poll::eventually("the descriptors that were open before", 20, || {
        let now = descriptors(shim).map_err(|_| "the shim is gone".to_owned())?;
        if now <= open { Ok(()) } else { Err(format!("{now} descriptors, and {open} before")) }
    })?;
    Ok(())
}

fn finish(recorder: &Recorder, victim: Victim<'_>) -> Check {
    victim.kill()?;
    let id = victim.id.clone();
    victim.remove()?;
    recorder.whole_life(&id, 20, &Life { started: true, ..Life::default() })?;
    Ok(())
}

fn malformed(world: &World) -> Check {
    try_all(world, |id| {
        let whole = frame(1, REQUEST, 0, &state(id)?);
        let header = |length: u32| [&length.to_be_bytes()[..], &1_u32.to_be_bytes(), &[REQUEST, 0]].concat();
        let half = whole.get(..whole.len() / 2).unwrap_or_default().to_vec();
        Ok(vec![
            Case::new("nothing", Vec::new(), None),
            Case::new("a part of a header", vec![0; 7], None),
            Case::new("half a message", half, None),
            Case::new("a length that never comes", header(u32::MAX), None),
            Case::new("ones", vec![0xff; 4096], None),
            Case::new("an empty message", frame(1, REQUEST, 0, b""), Some(INVALID_ARGUMENT)),
            Case::new("noise for a message", frame(1, REQUEST, 0, &[0xa5; 100]), Some(INVALID_ARGUMENT)),
            Case::new("a message beyond the limit", frame(1, REQUEST, 0, &vec![0; MOST + 1]), Some(INVALID_ARGUMENT)),
            Case::new("an even stream", frame(2, REQUEST, 0, &state(id)?), Some(INVALID_ARGUMENT)),
            Case::new("stream zero", frame(0, REQUEST, 0, &state(id)?), Some(INVALID_ARGUMENT)),
            Case::new("data of no stream", frame(7, DATA, 0, b"data"), Some(INVALID_ARGUMENT)),
            Case::new("flags that mean nothing", frame(1, REQUEST, 0xff, &state(id)?), Some(0)),
        ])
    })
}

fn unknown(world: &World) -> Check {
    try_all(world, |id| {
        Ok(vec![
            Case::new(
                "another service",
                frame(1, REQUEST, 0, &request("a.B", "State", Vec::new())?),
                Some(INVALID_ARGUMENT),
            ),
            Case::new(
                "the sandbox service",
                frame(1, REQUEST, 0, &request("containerd.runtime.sandbox.v1.Sandbox", "Platform", Vec::new())?),
                Some(INVALID_ARGUMENT),
            ),
            Case::new(
                "another method",
                frame(1, REQUEST, 0, &request(TASK, "Explode", Vec::new())?),
                Some(UNIMPLEMENTED),
            ),
            Case::new("no such container", frame(1, REQUEST, 0, &state("nobody")?), Some(NOT_FOUND)),
            Case::new("a long id", frame(1, REQUEST, 0, &state(&"x".repeat(1 << 20))?), Some(NOT_FOUND)),
            Case::new("a response", frame(1, RESPONSE, 0, &state(id)?), None),
            Case::new("a type of the future", frame(1, 0x77, 0, &state(id)?), None),
        ])
    })
}

fn no_message(world: &World) -> Check {
    const METHODS: [&str; 17] = [
        "State",
        "Create",
        "Start",
        "Delete",
        "Pids",
        "Pause",
        "Resume",
        "Checkpoint",
        "Kill",
        "Exec",
        "ResizePty",
        "CloseIO",
        "Update",
        "Wait",
        "Stats",
        "Connect",
        "Shutdown",
    ];
    try_all(world, |_| {
        METHODS
            .iter()
            .map(|method| {
                Ok(Case::new(method, frame(1, REQUEST, 0, &request(TASK, method, vec![0xff; 64])?), Some(UNKNOWN)))
            })
            .collect()
    })
}

fn half_messages(world: &World) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let victim = Victim::running(world)?;
    let shim = parent(*victim.tasks.pids(&victim.id)?.first().ok_or("no init process")?)?;
    let open = settled_descriptors(shim)?;
    let half = frame(1, REQUEST, 0, &vec![0; MOST]);
    let mut connections = Vec::new();
    for _ in 0..100 {
        let mut connection = RawConnection::to(&world.containerd, &victim.id)?;
        connection.write(half.get(..1000).unwrap_or_default());
        connections.push(connection);
    }
    alive(world, &victim, shim)?;
    expect_eq!(victim.exec("beside", &["sh", "-c", "exit 4"])?, 4, "exit status beside them");
    drop(connections);
    hung_up(shim, open)?;
    victim.kill()?;
    let id = victim.id.clone();
    victim.remove()?;
    recorder.whole_life(&id, 20, &Life { started: true, execs: 1, ..Life::default() })?;
    Ok(())
}

fn unread_answers(world: &World) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let victim = Victim::running(world)?;
    let shim = parent(*victim.tasks.pids(&victim.id)?.first().ok_or("no init process")?)?;
    let open = settled_descriptors(shim)?;
    let mut connection = RawConnection::to(&world.containerd, &victim.id)?;
    for stream in 0..3000 {
        // Past what the sockets hold the shim may stop reading; the test does not wait for it.
        if !connection.write(&frame(stream * 2 + 1, REQUEST, 0, &state(&victim.id)?)) {
            break;
        }
    }
    alive(world, &victim, shim)?;
    drop(connection);
    hung_up(shim, open)?;
    finish(&recorder, victim)
}
