//! A verb that panics. In a release that ends the shim, and `shim delete` goes by what is on disk by then; elsewhere the
//! verb alone is lost.

use std::process::Command;

use containerd_shim_protos::api::{
    CreateTaskResponse, DeleteRequest, DeleteResponse, Empty, StartRequest, StartResponse, WaitRequest, WaitResponse,
};
use ttrpc::Code;

use crate::client::{Served, V3, block_on};
use crate::pod::{Pod, exec_request};
use crate::stand_in::Oddity;
use crate::verbs::{kill_request, request};

/// Tells this program that it is the one that panics.
const CHILD: &str = "PALISADE_TEST_PANICS";

/// Line 1 of the log is all that an admin has of a shim that is gone.
#[test]
fn a_panic_leaves_one_line_with_its_place_in_the_log() {
    if std::env::var_os(CHILD).is_some() {
        palisade::log::log_panics();
        panic!("a text\nwith a second line");
    }
    let name = "panics::a_panic_leaves_one_line_with_its_place_in_the_log";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(!child.status.success());
    let said = String::from_utf8(child.stderr).unwrap();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("level=error")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("panics.rs:") && lines[0].contains(r"a text\nwith a second line"), "{said}");
}

#[test]
fn a_create_that_panics_leaves_a_record_for_shim_delete_and_the_other_containers() {
    block_on(async {
        let pod = Pod::new();
        let client = Served::new(&pod).await.client(V3).await;
        client.call::<CreateTaskResponse>("Create", &pod.create_request("d")).await.unwrap();
        pod.host.be_odd(Oddity::CallsPanic);
        let lost = client.call::<Empty>("Create", &pod.create_request("c")).await;
        assert_eq!(lost.unwrap_err(), Code::UNKNOWN);
        pod.host.be_usual();
        assert!(pod.record("c").is_some(), "what the runtime may have made can be found");
        client.call::<StartResponse>("Start", &request!(StartRequest, "d")).await.unwrap();
        // containerd removes the bundle of what could not be created.
        std::fs::remove_dir_all(pod.bundle("c")).unwrap();
        client.call::<CreateTaskResponse>("Create", &pod.create_request("c")).await.unwrap();
    });
}

#[test]
fn a_container_with_a_verb_that_panicked_can_be_killed_and_deleted() {
    block_on(async {
        for verb in ["Start", "Exec", "Update"] {
            let pod = Pod::new();
            let client = Served::new(&pod).await.client(V3).await;
            client.call::<CreateTaskResponse>("Create", &pod.create_request("c")).await.unwrap();
            if verb != "Start" {
                client.call::<StartResponse>("Start", &request!(StartRequest, "c")).await.unwrap();
                client.call::<Empty>("Exec", &exec_request("c", "e")).await.unwrap();
            }
            pod.host.be_odd(Oddity::CallsPanic);
            let lost = match verb {
                "Start" => client.call::<Empty>("Start", &request!(StartRequest, "c")).await,
                "Exec" => client.call::<Empty>("Start", &request!(StartRequest, "c", "e")).await,
                _ => client.call::<Empty>("Update", &crate::verbs::update_request("c")).await,
            };
            assert_eq!(lost.unwrap_err(), Code::UNKNOWN, "{verb}");
            pod.host.be_usual();
            client.call::<Empty>("Kill", &kill_request("c", "", 9)).await.unwrap();
            let ended: WaitResponse = client.call("Wait", &request!(WaitRequest, "c")).await.unwrap();
            assert_eq!(ended.exit_status, 137, "{verb}");
            client.call::<DeleteResponse>("Delete", &request!(DeleteRequest, "c")).await.unwrap();
            assert_eq!(pod.leftovers("c"), [""; 0]);
        }
    });
}
