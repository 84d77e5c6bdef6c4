//! Calls of a real program as the runtime. Its children are the whole process's, so this is a test program of its own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::tests_outside_test_module,
    reason = "how a test fails"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use palisade::bundle::PrivateDir;
use palisade::runtime::{OciRuntime, RuntimeError};
use palisade::task::Reaper;
use palisade_policy::Policy;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// Whether this process has a child that nobody has waited for.
fn has_child() -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::All, look) {
        Ok(_) => true,
        Err(Errno::CHILD) => false,
        Err(errno) => panic!("{errno}"),
    }
}

#[test]
fn a_runtime_that_hangs_is_killed_and_gone_when_the_call_fails() {
    let base = std::env::temp_dir().join(format!("palisade-calls-{}", std::process::id()));
    fs::create_dir_all(&base).unwrap();
    let program = base.join("runtime");
    fs::write(&program, "#!/bin/sh\nexec sleep 300\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let runtime = OciRuntime::chosen_by(&Policy::from_toml(&format!("[runtime]\nbinary = {program:?}\n")).unwrap());
    let dir = PrivateDir::create(&base).unwrap();
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    event_loop.block_on(async {
        let reaper = Reaper::default();
        tokio::spawn(reaper.clone().run(Reaper::listen().unwrap()));
        let call = runtime.pause(&dir, "c");
        let hanging = tokio::spawn(async move { call.run(&reaper).await });
        tokio::task::yield_now().await;
        assert!(has_child());
        // A minute passes; from then on time is real again.
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(61)).await;
        tokio::time::resume();
        let outcome = hanging.await.unwrap();
        assert!(matches!(outcome, Err(RuntimeError::Deadline { verb: "pause", .. })), "{outcome:?}");
        assert!(!has_child(), "whoever cleans up now would race it");
    });
    fs::remove_dir_all(base).unwrap();
}
