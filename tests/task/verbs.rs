//! All 17 verbs under both names of the service, over a socket.

use std::fs::{self, File, OpenOptions};
use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use containerd_shim_protos::api::{
    CheckpointTaskRequest, CloseIORequest, ConnectRequest, ConnectResponse, CreateTaskResponse, DeleteRequest,
    DeleteResponse, Empty, KillRequest, PauseRequest, PidsRequest, PidsResponse, ResizePtyRequest, ResumeRequest,
    ShutdownRequest, StartRequest, StartResponse, StateRequest, StateResponse, StatsRequest, StatsResponse,
    UpdateTaskRequest, WaitRequest, WaitResponse,
};
use containerd_shim_protos::events::task::{TaskCreate, TaskDelete, TaskExit};
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{Message as _, MessageField};
use containerd_shim_protos::shim::oci::ProcessDetails;
use containerd_shim_protos::types::mount::Mount;
use containerd_shim_protos::types::task::Status;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pty::{OpenptFlags, openpt, unlockpt};
use rustix::termios::tcgetwinsize;
use ttrpc::Code;

use crate::client::{Client, Served, V2, V3, block_on};
use crate::log::{Event, read};
use crate::pod::{NAMESPACE, Pod, exec_request};
use crate::stand_in::{Life, Oddity, Outcome};

/// Requests that name a process and nothing else.
macro_rules! request {
    ($kind:ident, $id:expr) => {
        $kind { id: $id.into(), ..$kind::default() }
    };
    ($kind:ident, $id:expr, $exec:expr) => {
        $kind { id: $id.into(), exec_id: $exec.into(), ..$kind::default() }
    };
}
pub(crate) use request;

/// New limits that change nothing.
pub(crate) fn update_request(id: &str) -> UpdateTaskRequest {
    let resources = Any { value: b"{}".to_vec(), ..Any::default() };
    UpdateTaskRequest { id: id.into(), resources: MessageField::some(resources), ..UpdateTaskRequest::default() }
}

pub(crate) fn kill_request(id: &str, exec: &str, signal: u32) -> KillRequest {
    KillRequest { signal, ..request!(KillRequest, id, exec) }
}

async fn create(pod: &Pod, client: &Client, id: &str) -> u32 {
    client.call::<CreateTaskResponse>("Create", &pod.create_request(id)).await.unwrap().pid
}

async fn start(client: &Client, id: &str, exec: &str) -> u32 {
    client.call::<StartResponse>("Start", &request!(StartRequest, id, exec)).await.unwrap().pid
}

async fn state(client: &Client, id: &str, exec: &str) -> StateResponse {
    client.call("State", &request!(StateRequest, id, exec)).await.unwrap()
}

async fn wait(client: &Client, id: &str, exec: &str) -> u32 {
    client.call::<WaitResponse>("Wait", &request!(WaitRequest, id, exec)).await.unwrap().exit_status
}

async fn delete(client: &Client, id: &str, exec: &str) -> Result<DeleteResponse, Code> {
    client.call("Delete", &request!(DeleteRequest, id, exec)).await
}

fn events(pod: &Pod) -> Vec<Event> {
    pod.events.waiting().iter().map(|envelope| read(envelope).1).collect()
}

#[test]
fn a_whole_life_by_every_verb_of_both_versions() {
    for service in [V3, V2] {
        block_on(async {
            let pod = Pod::new();
            let client = Served::new(&pod).await;
            let client = client.client(service).await;
            whole_life(&pod, &client).await;
        });
    }
}

async fn whole_life(pod: &Pod, client: &Client) {
    let pid = create(pod, client, "c").await;
    let created = state(client, "c", "").await;
    assert_eq!((created.pid, created.status.enum_value().unwrap()), (pid, Status::CREATED));
    assert_eq!(created.bundle, pod.bundle("c").to_str().unwrap());
    assert_eq!(start(client, "c", "").await, pid);
    assert_eq!(state(client, "c", "").await.status.enum_value().unwrap(), Status::RUNNING);

    let connected: ConnectResponse = client.call("Connect", &request!(ConnectRequest, "c")).await.unwrap();
    assert_eq!((connected.shim_pid, connected.task_pid), (std::process::id(), pid));
    let stats: StatsResponse = client.call("Stats", &request!(StatsRequest, "c")).await.unwrap();
    assert_eq!(stats.stats.type_url, "io.containerd.cgroups.v2.Metrics");
    client.call::<Empty>("Update", &update_request("c")).await.unwrap();

    client.call::<Empty>("Exec", &exec_request("c", "e")).await.unwrap();
    assert_eq!(state(client, "c", "e").await.status.enum_value().unwrap(), Status::CREATED);
    let exec_pid = start(client, "c", "e").await;
    pids_name_the_exec(client, pid, exec_pid).await;
    for (verb, status) in [("Pause", Status::PAUSED), ("Resume", Status::RUNNING)] {
        let request = request!(PauseRequest, "c");
        client.call::<Empty>(verb, &request).await.unwrap();
        assert_eq!(state(client, "c", "").await.status.enum_value().unwrap(), status);
        assert_eq!(state(client, "c", "e").await.status.enum_value().unwrap(), status, "the exec with it");
    }
    client.call::<Empty>("ResizePty", &request!(ResizePtyRequest, "c", "e")).await.unwrap();
    client.call::<Empty>("CloseIO", &request!(CloseIORequest, "c", "e")).await.unwrap();
    let refused = client.call::<Empty>("Checkpoint", &request!(CheckpointTaskRequest, "c")).await;
    assert_eq!(refused.unwrap_err(), Code::UNIMPLEMENTED);

    client.call::<Empty>("Kill", &kill_request("c", "e", 9)).await.unwrap();
    assert_eq!(wait(client, "c", "e").await, 137);
    let deleted = delete(client, "c", "e").await.unwrap();
    assert_eq!((deleted.pid, deleted.exit_status), (exec_pid, 137));
    client.call::<Empty>("Shutdown", &request!(ShutdownRequest, "c")).await.unwrap();
    assert!(!pod.shut_down(), "a container is there");
    pod.host.end(pid, 3);
    assert_eq!(wait(client, "c", "").await, 3);
    let stopped = state(client, "c", "").await;
    assert_eq!((stopped.status.enum_value().unwrap(), stopped.exit_status), (Status::STOPPED, 3));
    assert!(stopped.exited_at.seconds > 0);
    let deleted = delete(client, "c", "").await.unwrap();
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 3));
    assert_eq!(deleted.exited_at, stopped.exited_at);
    client.call::<Empty>("Shutdown", &request!(ShutdownRequest, "c")).await.unwrap();
    assert!(pod.shut_down());
    assert_eq!(pod.leftovers("c"), [""; 0]);
    told(pod, pid, exec_pid);
}

async fn pids_name_the_exec(client: &Client, init: u32, exec: u32) {
    let pids: PidsResponse = client.call("Pids", &request!(PidsRequest, "c")).await.unwrap();
    let named: Vec<(u32, String)> = pids
        .processes
        .iter()
        .map(|process| {
            let name = process.info.as_ref().map(|info| ProcessDetails::parse_from_bytes(&info.value).unwrap().exec_id);
            (process.pid, name.unwrap_or_default())
        })
        .collect();
    assert_eq!(named, [(init, String::new()), (exec, "e".into())]);
}

fn told(pod: &Pod, pid: u32, exec_pid: u32) {
    let exec = || "e".to_owned();
    let expected = [
        Event::Create { pid },
        Event::Start { pid },
        Event::ExecAdded { exec: exec() },
        Event::ExecStarted { exec: exec(), pid: exec_pid },
        Event::Paused,
        Event::Resumed,
        Event::Exit { exec: exec(), pid: exec_pid, status: 137 },
        Event::Exit { exec: String::new(), pid, status: 3 },
        Event::Delete { pid, status: 3 },
    ];
    assert_eq!(events(pod), expected);
    let calls = ["create c", "start c", "update c", "exec c/e", "freeze c", "thaw c", "delete c"];
    assert_eq!(pod.host.calls(), calls);
}

#[test]
fn each_signal_arrives_as_it_is_and_all_reaches_every_process() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        let init = create(&pod, &client, "c").await;
        start(&client, "c", "").await;
        client.call::<Empty>("Exec", &exec_request("c", "e")).await.unwrap();
        let exec = start(&client, "c", "e").await;
        for signal in [1, 15, 37, 64] {
            client.call::<Empty>("Kill", &kill_request("c", "", signal)).await.unwrap();
        }
        client.call::<Empty>("Kill", &KillRequest { all: true, ..kill_request("c", "", 10) }).await.unwrap();
        let signals = |pid| pod.host.processes().get(&pid).unwrap().signals.clone();
        assert_eq!((signals(init), signals(exec)), (vec![1, 15, 37, 64, 10], vec![10]));
        client.call::<Empty>("Kill", &KillRequest { all: true, ..kill_request("c", "", 9) }).await.unwrap();
        assert_eq!((wait(&client, "c", "e").await, wait(&client, "c", "").await), (137, 137));
    });
}

/// Of a pid that was given to a stranger between its listing and its opening.
#[test]
fn a_signal_to_all_hits_no_stranger() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        let init = create(&pod, &client, "c").await;
        start(&client, "c", "").await;
        pod.host.be_odd(Oddity::PidsAreReused);
        client.call::<Empty>("Kill", &KillRequest { all: true, ..kill_request("c", "", 15) }).await.unwrap();
        assert_eq!(pod.host.processes().get(&init).unwrap().signals, [0; 0]);
    });
}

/// Init ends and its pid is given out again, all during one slow create: neither the stranger nor its cgroup is the container's.
#[test]
fn a_stranger_under_inits_pid_is_not_taken_for_it() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        pod.host.hold(true);
        let request = pod.create_request("c");
        let creating = tokio::spawn(async move { client.call::<CreateTaskResponse>("Create", &request).await });
        pod.host.arrival("create c").await;
        let pid = pod.host.pid("c", "");
        pod.host.reuse(pid);
        pod.host.hold(false);
        pod.host.answer("create c", Outcome::Success);
        assert_eq!(creating.await.unwrap().unwrap_err(), Code::UNKNOWN);
        let stranger = &pod.host.processes()[&pid];
        assert_eq!((stranger.life, stranger.signals.len()), (Life::Alive, 0));
        assert_eq!(pod.leftovers("c"), [""; 0]);
    });
}

/// What an exec that hung has left is killed, if it is still that.
#[test]
fn a_stranger_under_the_pid_of_an_exec_is_not_killed() {
    for reused in [false, true] {
        block_on(async {
            let pod = Pod::new();
            let client = Served::new(&pod).await.client(V3).await;
            create(&pod, &client, "c").await;
            start(&client, "c", "").await;
            client.call::<Empty>("Exec", &exec_request("c", "e")).await.unwrap();
            pod.host.hold(true);
            let starting =
                tokio::spawn(async move { client.call::<Empty>("Start", &request!(StartRequest, "c", "e")).await });
            pod.host.arrival("exec c/e").await;
            let pid = pod.host.pid("c", "e");
            if reused {
                pod.host.reuse(pid);
            }
            pod.host.answer("exec c/e", Outcome::Deadline);
            assert_eq!(starting.await.unwrap().unwrap_err(), Code::DEADLINE_EXCEEDED);
            let signals = &pod.host.processes()[&pid].signals;
            assert_eq!(signals[..], [9][..usize::from(!reused)]);
        });
    }
}

/// A process with much memory takes its time to end, and was killed all the same.
#[test]
fn a_kill_of_all_is_done_when_the_signals_are_sent() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        create(&pod, &client, "c").await;
        start(&client, "c", "").await;
        pod.host.be_odd(Oddity::KilledEndLate);
        client.call::<Empty>("Kill", &KillRequest { all: true, ..kill_request("c", "", 9) }).await.unwrap();
    });
}

/// Not "no such container": on that containerd takes the shim for a leaked one when it is started again.
#[test]
fn a_container_whose_cgroup_is_gone_has_no_processes() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        create(&pod, &client, "c").await;
        start(&client, "c", "").await;
        pod.host.be_odd(Oddity::CgroupIsGone);
        let pids: PidsResponse = client.call("Pids", &request!(PidsRequest, "c")).await.unwrap();
        assert!(pids.processes.is_empty());
        let refused = client.call::<StatsResponse>("Stats", &request!(StatsRequest, "c")).await;
        assert_eq!(refused.unwrap_err(), Code::NOT_FOUND, "as containerd's own shim answers");
    });
}

/// Whatever its delete leaves alive goes with the cgroup.
#[test]
fn a_create_that_fails_late_and_cannot_be_deleted_is_removed_by_its_cgroup() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        pod.host.hold(true);
        let request = pod.create_request("c");
        let creating = tokio::spawn(async move { client.call::<CreateTaskResponse>("Create", &request).await });
        pod.host.arrival("create c").await;
        pod.host.end(pod.host.pid("c", ""), 1);
        pod.host.answer("create c", Outcome::Success);
        pod.host.arrival("delete c").await;
        pod.host.answer("delete c", Outcome::Failure);
        assert_eq!(creating.await.unwrap().unwrap_err(), Code::UNKNOWN);
        assert_eq!(pod.host.calls(), ["create c", "delete c", "remove /palisade-stand-in/c"]);
    });
}

/// Whether the newest record of the log is of an attestation that failed by this check at this stage.
fn is_recorded(pod: &Pod, stage: &str) -> bool {
    is_recorded_as(pod, stage, "capabilities.bounding")
}

fn is_recorded_as(pod: &Pod, stage: &str, check: &str) -> bool {
    let log = fs::read_to_string(pod.scratch.path().join("audit.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    (last["event"].as_str(), last["stage"].as_str(), last["mismatches"][0]["check"].as_str())
        == (Some("attestation"), Some(stage), Some(check))
}

/// Once, when it ends, and before anybody is told of that; nothing of one that met none, or whose cgroup is gone.
#[test]
fn how_often_a_container_met_its_limits_is_recorded_at_its_end() {
    for (oddities, refused) in [
        (&[Oddity::TasksAreRefused][..], Some(3)),
        (&[], None),
        (&[Oddity::TasksAreRefused, Oddity::CgroupIsGone], None),
    ] {
        block_on(async {
            let pod = Pod::new();
            let client = Served::new(&pod).await.client(V3).await;
            let pid = create(&pod, &client, "c").await;
            client.call::<StartResponse>("Start", &request!(StartRequest, "c")).await.unwrap();
            oddities.iter().for_each(|oddity| pod.host.be_odd(*oddity));
            pod.host.end(pid, 1);
            client.call::<WaitResponse>("Wait", &request!(WaitRequest, "c")).await.unwrap();
            let log = fs::read_to_string(pod.scratch.path().join("audit.jsonl")).unwrap();
            let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            let told: Vec<_> = lines.filter(|line| line["event"] == "limits").collect();
            let counts: Vec<_> = told.iter().map(|line| line["pids_refused"].as_u64()).collect();
            assert_eq!(counts, refused.map(Some).into_iter().collect::<Vec<_>>(), "{oddities:?}");
            assert!(told.iter().all(|line| line["container"] == "c" && line.get("oom_kills").is_none()), "{told:?}");
        });
    }
}

#[test]
fn a_container_that_is_not_what_was_decided_is_not_created() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        pod.host.be_odd(Oddity::TooMuch);
        let refused = client.call::<CreateTaskResponse>("Create", &pod.create_request("c")).await.unwrap_err();
        assert_eq!(refused, Code::PERMISSION_DENIED);
        assert!(is_recorded(&pod, "created"));
        assert_eq!(pod.host.calls(), ["create c", "delete c"]);
        assert_eq!(pod.leftovers("c"), [""; 0]);
        pod.host.be_usual();
        create(&pod, &client, "c").await;
    });
}

#[test]
fn an_update_that_did_not_come_to_be_is_refused_and_on_record() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        create(&pod, &client, "c").await;
        pod.host.be_odd(Oddity::UpdatesAreLost);
        let refused = client.call::<Empty>("Update", &update_request("c")).await.unwrap_err();
        assert_eq!(refused, Code::PERMISSION_DENIED);
        assert!(is_recorded_as(&pod, "running", "limits"));
        pod.host.be_usual();
        client.call::<Empty>("Update", &update_request("c")).await.unwrap();
    });
}

#[test]
fn a_container_that_is_not_any_more_what_was_decided_is_killed_instead_of_started() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        let pid = create(&pod, &client, "c").await;
        pod.host.be_odd(Oddity::TooMuch);
        let refused = client.call::<StartResponse>("Start", &request!(StartRequest, "c", "")).await.unwrap_err();
        assert_eq!(refused, Code::PERMISSION_DENIED);
        assert!(is_recorded(&pod, "created"));
        assert_eq!(pod.host.calls(), ["create c"], "it was never started");
        assert_eq!(pod.host.processes().get(&pid).unwrap().signals, [9]);
        wait(&client, "c", "").await;
        delete(&client, "c", "").await.unwrap();
    });
}

#[test]
fn a_program_that_has_begun_with_more_than_was_decided_is_killed() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        let pid = create(&pod, &client, "c").await;
        pod.host.be_odd(Oddity::TooMuchOnceBegun);
        let refused = client.call::<StartResponse>("Start", &request!(StartRequest, "c", "")).await.unwrap_err();
        assert_eq!(refused, Code::PERMISSION_DENIED);
        assert!(is_recorded(&pod, "begun"));
        assert_eq!(pod.host.processes().get(&pid).unwrap().signals, [9]);
        wait(&client, "c", "").await;
        delete(&client, "c", "").await.unwrap();
    });
}

#[test]
fn an_exec_that_is_not_what_was_decided_is_killed_and_its_container_goes_on() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        let pid = create(&pod, &client, "c").await;
        start(&client, "c", "").await;
        pod.host.be_odd(Oddity::TooMuchOnceBegun);
        client.call::<Empty>("Exec", &exec_request("c", "e")).await.unwrap();
        let refused = client.call::<StartResponse>("Start", &request!(StartRequest, "c", "e")).await.unwrap_err();
        assert_eq!(refused, Code::PERMISSION_DENIED);
        assert!(is_recorded(&pod, "begun"));
        assert_eq!(pod.host.processes().get(&pod.host.pid("c", "e")).unwrap().signals, [9]);
        assert!(pod.host.calls().iter().any(|call| call == "kill what has begun in c"), "its children go on");
        assert_eq!(pod.host.processes().get(&pid).unwrap().life, Life::Alive);
    });
}

/// Every field that containerd's own shim sets.
#[test]
fn events_are_complete() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        make_fifos(pod.scratch.path());
        let mut request = pod.create_request("c");
        (request.stdin, request.stdout) = (path(pod.scratch.path(), "in"), path(pod.scratch.path(), "out"));
        let rootfs = Mount { type_: "bind".into(), source: "/image".into(), ..Mount::default() };
        request.rootfs.push(rootfs.clone());
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let pid = client.call::<CreateTaskResponse>("Create", &request).await.unwrap().pid;
        pod.host.end(pid, 3);
        wait(&client, "c", "").await;
        let deleted = delete(&client, "c", "").await.unwrap();
        let told = pod.events.waiting();
        let created = TaskCreate::parse_from_bytes(&told[0].event.value).unwrap();
        assert_eq!((created.container_id.as_str(), created.pid), ("c", pid));
        assert_eq!((&created.bundle, &created.rootfs), (&request.bundle, &vec![rootfs]));
        let io = &created.io;
        assert_eq!(
            (&io.stdin, &io.stdout, &io.stderr, io.terminal),
            (&request.stdin, &request.stdout, &request.stderr, false)
        );
        let exit = TaskExit::parse_from_bytes(&told[1].event.value).unwrap();
        assert_eq!((exit.container_id.as_str(), exit.id.as_str(), exit.pid, exit.exit_status), ("c", "c", pid, 3));
        let gone = TaskDelete::parse_from_bytes(&told[2].event.value).unwrap();
        assert_eq!((gone.container_id.as_str(), gone.pid, gone.exit_status), ("c", pid, 3));
        assert_eq!((&exit.exited_at, &gone.exited_at), (&deleted.exited_at, &deleted.exited_at), "one end, one time");
        let times = told.iter().map(|envelope| envelope.timestamp.seconds).chain([exit.exited_at.seconds]);
        assert!(times.into_iter().all(|seconds| seconds.unsigned_abs() >= before));
        assert!(told.iter().all(|envelope| envelope.namespace == NAMESPACE));
    });
}

fn make_fifos(dir: &Path) {
    for name in ["in", "out"] {
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, dir.join(name), kind, 0o600.into(), 0).unwrap();
    }
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

/// A pod whose container has an exec with FIFOs, and the exec's pid.
async fn exec_with_fifos(pod: &Pod, client: &Client) -> u32 {
    let dir = pod.scratch.path();
    make_fifos(dir);
    create(pod, client, "c").await;
    start(client, "c", "").await;
    let mut request = exec_request("c", "e");
    (request.stdin, request.stdout) = (path(dir, "in"), path(dir, "out"));
    client.call::<Empty>("Exec", &request).await.unwrap();
    start(client, "c", "e").await
}

#[test]
fn close_io_ends_stdin() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        let pid = exec_with_fifos(&pod, &client).await;
        let mut stdin = File::from(pod.host.take_streams(pid).stdin.unwrap());
        OpenOptions::new().write(true).open(pod.scratch.path().join("in")).unwrap().write_all(b"all").unwrap();
        client
            .call::<Empty>("CloseIO", &CloseIORequest { stdin: true, ..request!(CloseIORequest, "c", "e") })
            .await
            .unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            stdin.read_to_string(&mut text).map(|_| text)
        });
        assert_eq!(read.await.unwrap().unwrap(), "all");
    });
}

/// The first waits for output that is on its way; the second must not answer for a process that is deleted already.
#[test]
fn of_two_deletes_that_wait_for_output_one_deletes() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        let pid = exec_with_fifos(&pod, &client).await;
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
        let reader = OpenOptions::new().read(true).custom_flags(flags).open(pod.scratch.path().join("out"));
        let mut stdout = File::from(pod.host.take_streams(pid).stdout.unwrap());
        pod.host.end(pid, 0);
        assert_eq!(wait(&client, "c", "e").await, 0);
        let (first, second, done) = tokio::join!(delete(&client, "c", "e"), delete(&client, "c", "e"), async {
            // Both have come when a call behind them is answered.
            state(&client, "c", "").await;
            stdout.write_all(b"last words").unwrap();
            drop(stdout);
        });
        let () = done;
        let mut codes = [first.map(drop), second.map(drop)];
        codes.sort_by_key(Result::is_err);
        assert_eq!(codes, [Ok(()), Err(Code::NOT_FOUND)]);
        let mut text = String::new();
        // The copy holds no writing end any more, so the FIFO ends.
        reader.unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "last words", "what was written before the end is there");
    });
}

#[test]
fn resize_pty_reaches_the_terminal() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        let mut request = pod.create_request("c");
        request.terminal = true;
        let config = pod.bundle("c").join("config.json");
        let spec = fs::read_to_string(&config).unwrap().replacen("\"process\":{", "\"process\":{\"terminal\":true,", 1);
        fs::write(&config, spec).unwrap();
        pod.host.hold(true);
        let mut creating = tokio::spawn({
            let client = client.clone();
            async move { client.call::<CreateTaskResponse>("Create", &request).await }
        });
        tokio::select! {
            () = pod.host.arrival("create c") => {}
            failed = &mut creating => panic!("{failed:?}"),
        }
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        unlockpt(&master).unwrap();
        send_terminal(&pod.host.console("c", ""), &master);
        pod.host.hold(false);
        pod.host.answer("create c", Outcome::Success);
        creating.await.unwrap().unwrap();
        let size = ResizePtyRequest { width: 132, height: 43, ..request!(ResizePtyRequest, "c") };
        client.call::<Empty>("ResizePty", &size).await.unwrap();
        let seen = tcgetwinsize(&master).unwrap();
        assert_eq!((seen.ws_col, seen.ws_row), (132, 43));
    });
}

fn send_terminal(socket: &Path, master: &OwnedFd) {
    let stream = UnixStream::connect(socket).unwrap();
    let fds = [master.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(&stream, &[IoSlice::new(b"/dev/ptmx")], &mut ancillary, SendFlags::empty()).unwrap();
}

#[test]
fn resume_of_a_request_type_of_its_own() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V2).await;
        create(&pod, &client, "c").await;
        start(&client, "c", "").await;
        client.call::<Empty>("Pause", &request!(PauseRequest, "c")).await.unwrap();
        client.call::<Empty>("Resume", &request!(ResumeRequest, "c")).await.unwrap();
        assert_eq!(events(&pod)[2..], [Event::Paused, Event::Resumed]);
    });
}
