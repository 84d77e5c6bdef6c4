//! Commands and states, with runc as the measure.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::support::{Container, Runtime, busybox, is_unified, within};

const WAIT: &str = "trap 'echo got usr1' USR1; echo ready; while :; do sleep 0.05; done";

/// A step and whether it succeeded, or the status after it.
fn history(runtime: Runtime) -> Vec<String> {
    let container = Container::new(runtime, WAIT, |_| {});
    let mut steps = Vec::new();
    let mut note = |step: &str, code: i32| steps.push(format!("{step}: {}", if code == 0 { "done" } else { "failed" }));
    note("create", container.create().code);
    note("create again", container.create().code);
    note("exec before start", container.exec("true").code);
    note("resume before start", container.call(["resume"]).code);
    note(&format!("{} start", container.status()), container.call(["start"]).code);
    container.output_with("ready");
    note(&format!("{} start again", container.status()), container.call(["start"]).code);
    note("exec", container.exec("true").code);
    note("delete", container.call(["delete"]).code);
    note("pause", container.call(["pause"]).code);
    note(&format!("{} exec", container.status()), container.exec("true").code);
    note("resume", container.call(["resume"]).code);
    note("usr1", container.kill("SIGUSR1").code);
    container.output_with("got usr1");
    note(&format!("{} kill", container.status()), container.kill("KILL").code);
    container.becomes("stopped");
    note("kill again", container.kill("KILL").code);
    note(&format!("pid {} delete", container.state()["pid"]), container.call(["delete"]).code);
    note("state", container.call(["state"]).code);
    note("delete again", container.call(["delete"]).code);
    note("delete by force", container.call(["delete", "--force"]).code);
    steps
}

#[test]
fn every_command_ends_as_with_runc() {
    let ours = history(Runtime::Embedded);
    assert_eq!(ours.iter().filter(|step| step.ends_with("done")).count(), 9, "{ours:#?}");
    // runc also runs things in a container that nobody has started, and so nobody has attested.
    let mut theirs = history(Runtime::Runc);
    let earlier = theirs.iter_mut().find(|step| *step == "exec before start: done");
    *earlier.expect("runc runs it") = "exec before start: failed".to_owned();
    assert_eq!(ours, theirs);
}

#[test]
fn the_exit_code_of_an_exec_is_its_process_s() {
    let container = Container::embedded(WAIT, |_| {});
    container.run();
    assert_eq!(container.exec("exit 7").code, 7);
    assert_eq!(container.exec("kill -9 $$").code, 137);
}

#[test]
fn an_exec_leaves_no_files() {
    let container = Container::embedded(WAIT, |_| {});
    container.run();
    let listing = || {
        let mut names: Vec<_> =
            fs::read_dir(container.state_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = listing();
    assert!(!before.is_empty());
    container.exec("true").succeeds();
    container.exec("no-such-program; exec no-such-program");
    assert_eq!(container.call(["exec", "--process", "/nowhere"]).code, 1);
    assert_eq!(listing(), before);
}

#[test]
fn a_detached_exec_has_a_pid_file_and_runs_on() {
    let container = Container::embedded(WAIT, |_| {});
    container.run();
    let process = container.bundle().join("process.json");
    let text = json!({ "user": { "uid": 5, "gid": 6 }, "args": ["sleep", "100"], "env": ["PATH=/bin"], "cwd": "/tmp" });
    fs::write(&process, text.to_string()).unwrap();
    let pid_file = container.bundle().join("exec.pid");
    let mut command = container.command();
    command
        .arg("exec")
        .arg("--process")
        .arg(&process)
        .arg("--pid-file")
        .arg(&pid_file)
        .args(["--detach", &container.id]);
    // The process keeps the descriptors, so pipes would not end.
    assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let pid = fs::read_to_string(&pid_file).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t5\t5\t5\t5") && status.contains("Gid:\t6\t6\t6\t6"), "{status}");
    let listed: Vec<i32> = serde_json::from_str(&container.call(["ps", "--format", "json"]).succeeds().stdout).unwrap();
    assert!(listed.contains(&pid.parse().unwrap()) && listed.contains(&container.pid()), "{listed:?}");
}

#[test]
fn real_time_signals_are_sent() {
    for signal in ["37", "SIGRTMIN+3"] {
        let container = Container::embedded("echo ready; sleep 100", |spec| {
            spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
            spec["process"]["args"] = json!(["sleep", "100"]);
        });
        container.run();
        container.kill(signal).succeeds();
        container.becomes("stopped");
    }
}

#[test]
fn a_pid_that_was_used_again_is_not_the_container() {
    let container = Container::embedded(WAIT, |_| {});
    container.run();
    let record = container.state_dir().join("record.json");
    let text = fs::read_to_string(&record).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["init"]["startTime"] = json!(value["init"]["startTime"].as_u64().unwrap() + 1);
    fs::write(&record, value.to_string()).unwrap();
    assert_eq!(container.status(), "stopped");
    container.kill("KILL").fails_with("it is stopped");
    fs::write(&record, text).unwrap();
    assert_eq!(container.status(), "running");
}

#[test]
fn all_processes_get_a_signal_for_all() {
    let container = Container::embedded("sleep 1000 & sleep 1000 & wait", |_| {});
    container.run();
    let pids =
        || -> Vec<i32> { serde_json::from_str(&container.call(["ps", "--format", "json"]).succeeds().stdout).unwrap() };
    assert!(within(Duration::from_secs(5), || pids().len() == 3));
    let answer = container.command().args(["kill", "--all", &container.id, "KILL"]).output().unwrap();
    assert!(answer.status.success());
    container.becomes("stopped");
    assert!(within(Duration::from_secs(5), || pids().is_empty()));
}

#[test]
fn a_terminal_goes_over_the_console_socket() {
    use std::io::IoSliceMut;
    use std::os::fd::AsRawFd as _;
    use std::process::Command;

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

    let container = Container::embedded("tty; echo on a terminal", |spec| spec["process"]["terminal"] = json!(true));
    container.create().fails_with("console socket");
    let path = container.bundle().join("console.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let with_socket = |command: &mut Command| {
        command.arg("--console-socket").arg(&path);
    };
    container.create_with(with_socket).succeeds();
    let (socket, _) = listener.accept().unwrap();
    let mut name = [0u8; 64];
    let mut parts = [IoSliceMut::new(&mut name)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()).unwrap();
    let Some(ControlMessageOwned::ScmRights(fds)) = message.cmsgs().unwrap().next() else {
        panic!("no descriptor came")
    };
    container.call(["start"]).succeeds();
    // The descriptor is inherited, so a shell can read it until the other end is closed.
    let read = Command::new(busybox()).args(["sh", "-c", &format!("cat <&{}", fds[0])]).output().unwrap();
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    assert!(text.contains("/dev/") && text.contains("on a terminal"), "{text:?}");
}

/// A container that may write to its cgroup names its sub-cgroups as it likes.
#[test]
fn a_process_in_a_cgroup_whose_name_is_no_text_is_seen_and_removed() {
    let container = Container::embedded("exec sleep 1000", |_| {});
    container.run();
    let name = OsStr::from_bytes(b"\xff\xfe");
    for directory in container.cgroups() {
        let inner = directory.join(name);
        fs::create_dir(&inner).unwrap();
        for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|file| directory.join(file).exists() && !is_unified())
        {
            fs::copy(directory.join(file), inner.join(file)).unwrap();
        }
        fs::write(inner.join("cgroup.procs"), container.pid().to_string()).unwrap();
    }
    let listed: Vec<i32> = serde_json::from_str(&container.call(["ps", "--format", "json"]).succeeds().stdout).unwrap();
    assert_eq!(listed, [container.pid()]);
    container.call(["delete", "--force"]).succeeds();
    container.leaves_nothing();
}
