//! The reaper waits for any child of its process, so it is tested in a process of its own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::tests_outside_test_module,
    clippy::zombie_processes,
    reason = "how a test fails"
)]

use std::path::Path;
use std::process::Command;

use palisade::task::{Exit, Reaper};

/// Starts a child behind the reaper's back, as a runtime does, and waits until the reaper has collected it.
async fn orphan_that_has_ended() -> u32 {
    let pid = Command::new("/bin/true").spawn().unwrap().id();
    while Path::new(&format!("/proc/{pid}")).exists() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    pid
}

/// One test for all: the process has one set of children.
#[test]
fn exits_reach_whoever_awaits_them() {
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    event_loop.block_on(async {
        let reaper = Reaper::default();
        tokio::spawn(reaper.clone().run(Reaper::listen().unwrap()));

        let child = reaper.spawn(Command::new("/bin/sh").args(["-c", "exit 7"])).unwrap();
        assert_eq!(child.exit().await.status(), 7);

        let child = reaper.spawn(Command::new("/bin/sh").args(["-c", "kill -37 $$"])).unwrap();
        assert_eq!(child.exit().await.status(), 128 + 37, "real-time signals are not lost");

        let adoption = reaper.expect_child();
        let pid = orphan_that_has_ended().await;
        assert_eq!(adoption.adopt(pid).exit().await.status(), 0, "an early exit waits");
        drop(adoption);

        let adoption = reaper.expect_child();
        let (read, write) = std::io::pipe().unwrap();
        let waits = Command::new("/bin/sh").args(["-c", "read line; exit 5"]).stdin(read).spawn().unwrap();
        reaper.ended(waits.id(), Exit::now(3));
        let child = adoption.adopt(waits.id());
        drop(write);
        assert_eq!(child.exit().await.status(), 5, "not the end of who had the pid before");
        drop(adoption);

        let stranger = orphan_that_has_ended().await;
        let adoption = reaper.expect_child();
        let late = tokio::time::timeout(std::time::Duration::from_millis(50), adoption.adopt(stranger).exit()).await;
        assert!(late.is_err(), "an exit from before the call is another process's");
    });
}
