//! Every verb in every state: what may be done, and the code of what may not.

use containerd_shim_protos::api::{
    CheckpointTaskRequest, CloseIORequest, ConnectRequest, CreateTaskRequest, CreateTaskResponse, DeleteRequest, Empty,
    PauseRequest, PidsRequest, ResizePtyRequest, ResumeRequest, ShutdownRequest, StartRequest, StateRequest,
    StatsRequest, WaitRequest,
};
use containerd_shim_protos::protobuf::Message;
use ttrpc::Code;

use crate::client::{Client, Served, V2, V3, block_on};
use crate::pod::{Pod, exec_request};
use crate::stand_in::Oddity;
use crate::verbs::{kill_request, request, update_request};

/// States of a container.
const STATES: [&str; 5] = ["absent", "created", "running", "paused", "stopped"];

/// What each verb on a container answers in [`STATES`]. `-` is good, `waits` is no answer yet.
const CONTAINER: [(&str, [&str; 5]); 17] = [
    ("State", ["NOT_FOUND", "-", "-", "-", "-"]),
    ("Create", ["-", "ALREADY_EXISTS", "ALREADY_EXISTS", "ALREADY_EXISTS", "ALREADY_EXISTS"]),
    ("Start", ["NOT_FOUND", "-", "FAILED_PRECONDITION", "FAILED_PRECONDITION", "FAILED_PRECONDITION"]),
    ("Delete", ["NOT_FOUND", "-", "FAILED_PRECONDITION", "FAILED_PRECONDITION", "-"]),
    ("Pids", ["NOT_FOUND", "-", "-", "-", "-"]),
    ("Pause", ["NOT_FOUND", "FAILED_PRECONDITION", "-", "FAILED_PRECONDITION", "FAILED_PRECONDITION"]),
    ("Resume", ["NOT_FOUND", "FAILED_PRECONDITION", "FAILED_PRECONDITION", "-", "FAILED_PRECONDITION"]),
    ("Checkpoint", ["UNIMPLEMENTED"; 5]),
    ("Kill", ["NOT_FOUND", "-", "-", "-", "NOT_FOUND"]),
    ("Exec", ["NOT_FOUND", "-", "-", "FAILED_PRECONDITION", "FAILED_PRECONDITION"]),
    ("ResizePty", ["NOT_FOUND", "-", "-", "-", "-"]),
    ("CloseIO", ["NOT_FOUND", "-", "-", "-", "-"]),
    ("Update", ["NOT_FOUND", "-", "-", "-", "FAILED_PRECONDITION"]),
    ("Wait", ["NOT_FOUND", "waits", "waits", "waits", "-"]),
    ("Stats", ["NOT_FOUND", "-", "-", "-", "-"]),
    ("Connect", ["-"; 5]),
    ("Shutdown", ["-"; 5]),
];

/// States of an exec: the first four in a container that runs.
const EXEC_STATES: [&str; 6] = ["absent", "added", "running", "stopped", "added, then paused", "added, then stopped"];

/// What each verb on an exec answers in [`EXEC_STATES`].
const EXEC: [(&str, [&str; 6]); 8] = [
    ("State", ["NOT_FOUND", "-", "-", "-", "-", "-"]),
    (
        "Start",
        ["NOT_FOUND", "-", "FAILED_PRECONDITION", "FAILED_PRECONDITION", "FAILED_PRECONDITION", "FAILED_PRECONDITION"],
    ),
    ("Delete", ["NOT_FOUND", "-", "FAILED_PRECONDITION", "-", "-", "-"]),
    ("Kill", ["NOT_FOUND", "FAILED_PRECONDITION", "-", "NOT_FOUND", "FAILED_PRECONDITION", "NOT_FOUND"]),
    ("Exec", ["-", "ALREADY_EXISTS", "ALREADY_EXISTS", "ALREADY_EXISTS", "FAILED_PRECONDITION", "FAILED_PRECONDITION"]),
    ("ResizePty", ["NOT_FOUND", "-", "-", "-", "-", "-"]),
    ("CloseIO", ["NOT_FOUND", "-", "-", "-", "-", "-"]),
    ("Wait", ["NOT_FOUND", "waits", "waits", "-", "waits", "-"]),
];

/// States in which a verb of init is under way, or its end is not reported yet.
const BETWEEN: [&str; 5] = ["creating", "starting", "pausing", "ending", "deleting"];

/// What each verb on a container answers in [`BETWEEN`]. What waits goes on when that verb has ended.
const MEANWHILE: [(&str, [&str; 5]); 17] = [
    ("State", ["NOT_FOUND", "-", "-", "-", "-"]),
    ("Create", ["ALREADY_EXISTS"; 5]),
    ("Start", ["NOT_FOUND", "waits", "waits", "FAILED_PRECONDITION", "waits"]),
    ("Delete", ["NOT_FOUND", "waits", "waits", "FAILED_PRECONDITION", "waits"]),
    ("Pids", ["NOT_FOUND", "-", "-", "-", "-"]),
    ("Pause", ["NOT_FOUND", "waits", "waits", "-", "waits"]),
    ("Resume", ["NOT_FOUND", "waits", "waits", "FAILED_PRECONDITION", "waits"]),
    ("Checkpoint", ["UNIMPLEMENTED"; 5]),
    ("Kill", ["NOT_FOUND", "-", "-", "NOT_FOUND", "NOT_FOUND"]),
    ("Exec", ["NOT_FOUND", "-", "-", "-", "FAILED_PRECONDITION"]),
    ("ResizePty", ["NOT_FOUND", "-", "-", "-", "-"]),
    ("CloseIO", ["NOT_FOUND", "-", "-", "-", "-"]),
    ("Update", ["NOT_FOUND", "waits", "waits", "UNKNOWN", "waits"]),
    ("Wait", ["NOT_FOUND", "waits", "waits", "waits", "-"]),
    ("Stats", ["NOT_FOUND", "-", "-", "-", "-"]),
    ("Connect", ["-"; 5]),
    ("Shutdown", ["-"; 5]),
];

async fn code<R: Message>(client: &Client, verb: &str, request: &impl Message) -> String {
    match client.call::<R>(verb, request).await {
        Ok(_) => "-".into(),
        Err(code) => format!("{code:?}"),
    }
}

/// Calls a verb and answers its code.
async fn call(pod: &Pod, client: &Client, verb: &str, exec: &str) -> String {
    let id = "c";
    match verb {
        "State" => code::<Empty>(client, verb, &request!(StateRequest, id, exec)).await,
        "Create" => code::<CreateTaskResponse>(client, verb, &pod.create_request(id)).await,
        "Start" => code::<Empty>(client, verb, &request!(StartRequest, id, exec)).await,
        "Delete" => code::<Empty>(client, verb, &request!(DeleteRequest, id, exec)).await,
        "Pids" => code::<Empty>(client, verb, &request!(PidsRequest, id)).await,
        "Pause" => code::<Empty>(client, verb, &request!(PauseRequest, id)).await,
        "Resume" => code::<Empty>(client, verb, &request!(ResumeRequest, id)).await,
        "Checkpoint" => code::<Empty>(client, verb, &request!(CheckpointTaskRequest, id)).await,
        "Kill" => code::<Empty>(client, verb, &kill_request(id, exec, 15)).await,
        "Exec" => code::<Empty>(client, verb, &exec_request(id, if exec.is_empty() { "new" } else { exec })).await,
        "ResizePty" => code::<Empty>(client, verb, &request!(ResizePtyRequest, id, exec)).await,
        "CloseIO" => code::<Empty>(client, verb, &request!(CloseIORequest, id, exec)).await,
        "Update" => code::<Empty>(client, verb, &update_request(id)).await,
        "Wait" => code::<Empty>(client, verb, &request!(WaitRequest, id, exec)).await,
        "Stats" => code::<Empty>(client, verb, &request!(StatsRequest, id)).await,
        "Connect" => code::<Empty>(client, verb, &request!(ConnectRequest, id)).await,
        "Shutdown" => code::<Empty>(client, verb, &request!(ShutdownRequest, id)).await,
        other => panic!("{other}"),
    }
}

/// An answer that has not come before those of some calls behind it will not come by itself: all run on one thread.
async fn call_or_wait(pod: &Pod, client: &Client, verb: &str, exec: &str) -> String {
    let behind = async {
        for _ in 0..8 {
            code::<Empty>(client, "Connect", &request!(ConnectRequest, "c")).await;
        }
    };
    tokio::select! {
        biased;
        answer = call(pod, client, verb, exec) => answer,
        () = behind => "waits".into(),
    }
}

async fn good(pod: &Pod, client: &Client, verb: &str, exec: &str) {
    assert_eq!(call(pod, client, verb, exec).await, "-", "{verb} {exec}");
}

async fn bring(pod: &Pod, client: &Client, state: &str) {
    if state == "absent" {
        return;
    }
    good(pod, client, "Create", "").await;
    if state == "created" {
        return;
    }
    good(pod, client, "Start", "").await;
    match state {
        "running" => {}
        "paused" => good(pod, client, "Pause", "").await,
        "stopped" => end(pod, client, "").await,
        other => panic!("{other}"),
    }
}

async fn end(pod: &Pod, client: &Client, exec: &str) {
    pod.host.end(pod.host.pid("c", exec), 0);
    code::<Empty>(client, "Wait", &request!(WaitRequest, "c", exec)).await;
}

async fn bring_exec(pod: &Pod, client: &Client, state: &str) {
    bring(pod, client, "running").await;
    if state == "absent" {
        return;
    }
    good(pod, client, "Exec", "e").await;
    match state {
        "added" => {}
        "added, then paused" => good(pod, client, "Pause", "").await,
        "added, then stopped" => end(pod, client, "").await,
        _ => good(pod, client, "Start", "e").await,
    }
    if state == "stopped" {
        end(pod, client, "e").await;
    }
}

/// Brings a container between two states; the verb that is under way is answered later, if at all.
async fn bring_between(pod: &Pod, client: &Client, state: &str) {
    let (before, verb, call) = match state {
        "creating" => ("absent", "Create", "create c"),
        "starting" => ("created", "Start", "start c"),
        "pausing" => ("running", "Pause", "freeze c"),
        "deleting" => ("stopped", "Delete", "delete c"),
        _ => return bring_ending(pod, client).await,
    };
    bring(pod, client, before).await;
    pod.host.hold(true);
    let under_way = self::call(pod, client, verb, "");
    tokio::select! {
        answer = under_way => panic!("{verb}: {answer}"),
        () = pod.host.arrival(call) => {}
    }
    // What comes now finds a machine that answers at once.
    pod.host.hold(false);
}

/// Init has ended, and its exit waits for that of an exec.
async fn bring_ending(pod: &Pod, client: &Client) {
    bring(pod, client, "running").await;
    pod.host.be_odd(Oddity::ExecsOutliveInit);
    good(pod, client, "Exec", "e").await;
    good(pod, client, "Start", "e").await;
    pod.host.end(pod.host.pid("c", ""), 0);
    // The shim has seen the end when a call behind it is answered.
    good(pod, client, "Connect", "").await;
}

/// One cell of a table, in a pod of its own.
fn answer(service: &'static str, verb: &str, exec: &str, state: &str) -> String {
    block_on(async {
        let pod = Pod::new();
        let served = Served::new(&pod).await;
        let client = served.client(service).await;
        if BETWEEN.contains(&state) {
            bring_between(&pod, &client, state).await;
        } else if exec.is_empty() {
            bring(&pod, &client, state).await;
        } else {
            bring_exec(&pod, &client, state).await;
        }
        call_or_wait(&pod, &client, verb, exec).await
    })
}

#[test]
fn every_verb_in_every_state_of_a_container() {
    for service in [V3, V2] {
        for (verb, expected) in CONTAINER {
            let answers = STATES.map(|state| answer(service, verb, "", state));
            assert_eq!(answers, expected, "{service} {verb} when {STATES:?}");
        }
    }
}

#[test]
fn every_verb_while_another_is_under_way() {
    for service in [V3, V2] {
        for (verb, expected) in MEANWHILE {
            let answers = BETWEEN.map(|state| answer(service, verb, "", state));
            assert_eq!(answers, expected, "{service} {verb} when {BETWEEN:?}");
        }
    }
}

#[test]
fn every_verb_in_every_state_of_an_exec() {
    for service in [V3, V2] {
        for (verb, expected) in EXEC {
            let answers = EXEC_STATES.map(|state| answer(service, verb, "e", state));
            assert_eq!(answers, expected, "{service} {verb} when {EXEC_STATES:?}");
        }
    }
}

#[test]
fn what_is_gone_is_not_found_and_may_come_again() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        for _ in 0..2 {
            bring(&pod, &client, "stopped").await;
            good(&pod, &client, "Delete", "").await;
            for (verb, [absent, ..]) in CONTAINER.into_iter().filter(|(verb, _)| !["Create", "Shutdown"].contains(verb))
            {
                assert_eq!(call_or_wait(&pod, &client, verb, "").await, absent, "{verb}");
            }
        }
    });
}

#[test]
fn a_shim_that_is_to_end_takes_no_container() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        good(&pod, &client, "Shutdown", "").await;
        assert!(pod.shut_down());
        assert_eq!(call(&pod, &client, "Create", "").await, "UNAVAILABLE");
        assert_eq!(pod.leftovers("c"), [""; 0]);
    });
}

#[test]
fn what_no_client_sends_is_refused_by_name() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        bring(&pod, &client, "running").await;
        for id in ["", "..", "a/b", "a\n", &"a".repeat(77)] {
            let request = CreateTaskRequest { id: id.into(), ..pod.create_request("x") };
            let refused = client.call::<Empty>("Create", &request).await.unwrap_err();
            assert_eq!(refused, Code::INVALID_ARGUMENT, "{id:?}");
            let refused = client.call::<Empty>("Exec", &exec_request("c", id)).await.unwrap_err();
            assert_eq!(refused, Code::INVALID_ARGUMENT, "{id:?}");
        }
        for signal in [0, 65, u32::MAX] {
            let refused = client.call::<Empty>("Kill", &kill_request("c", "", signal)).await.unwrap_err();
            assert_eq!(refused, Code::INVALID_ARGUMENT, "{signal}");
        }
        for (width, height) in [(65_536, 1), (1, u32::MAX)] {
            let request = ResizePtyRequest { width, height, ..request!(ResizePtyRequest, "c") };
            assert_eq!(client.call::<Empty>("ResizePty", &request).await.unwrap_err(), Code::INVALID_ARGUMENT);
        }
        let elsewhere = CreateTaskRequest { bundle: "/tmp".into(), ..pod.create_request("x") };
        assert_eq!(client.call::<Empty>("Create", &elsewhere).await.unwrap_err(), Code::FAILED_PRECONDITION);
        let restore = CreateTaskRequest { checkpoint: "/image".into(), ..pod.create_request("x") };
        assert_eq!(client.call::<Empty>("Create", &restore).await.unwrap_err(), Code::PERMISSION_DENIED);
        let mut exec = exec_request("c", "e");
        exec.spec.mut_or_insert_default().value = b"{".to_vec();
        assert_eq!(client.call::<Empty>("Exec", &exec).await.unwrap_err(), Code::PERMISSION_DENIED);
        let mut update = update_request("c");
        update.resources.mut_or_insert_default().value = b"[]".to_vec();
        assert_eq!(client.call::<Empty>("Update", &update).await.unwrap_err(), Code::PERMISSION_DENIED);
        assert_eq!(pod.leftovers("x"), [""; 0]);
    });
}
