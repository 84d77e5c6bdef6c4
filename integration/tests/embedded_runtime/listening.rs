//! The listener of a filter, and the filter that counts where there is none. The test stands where the shim does.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};

use super::support::{Answer, Container, within};

/// What `mkdir` says of EPERM and of ENOSYS.
const REFUSED: &str = "Operation not permitted";
const NO_SUCH_CALL: &str = "Function not implemented";

/// A refused call, made by init as soon as it starts.
const CALL: &str = "mkdir /tmp/made; echo done; exec sleep 1000";

fn refusing(spec: &mut Value) {
    spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }],
    });
}

/// A socket in the container's bundle.
struct Shim {
    socket: UnixDatagram,
    path: PathBuf,
}

/// What came.
#[derive(Debug)]
enum Arrival {
    Listener(RawFd),
    Reason(String),
}

impl Shim {
    fn of(container: &Container) -> Self {
        let path = container.bundle().join("listener.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { socket, path }
    }

    fn create(&self, container: &Container) -> Answer {
        container.create_with(|command| {
            command.arg("--report-refusals").arg(&self.path);
        })
    }

    fn receive(&self) -> Arrival {
        let (mut bytes, mut space) = (vec![0; 40_000], nix::cmsg_space!(RawFd));
        let mut into = [IoSliceMut::new(&mut bytes)];
        let message =
            recvmsg::<()>(self.socket.as_raw_fd(), &mut into, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC).unwrap();
        let descriptor = message.cmsgs().unwrap().find_map(|message| match message {
            ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
            _ => None,
        });
        let length = message.bytes;
        match descriptor {
            Some(listener) => {
                assert!(bytes.starts_with(b"PALISC"), "the filter comes with it");
                Arrival::Listener(listener)
            }
            None => Arrival::Reason(String::from_utf8(bytes[..length].to_vec()).unwrap()),
        }
    }

    #[track_caller]
    fn listener(&self) -> RawFd {
        match self.receive() {
            Arrival::Listener(listener) => listener,
            Arrival::Reason(reason) => panic!("no listener: {reason}"),
        }
    }
}

#[test]
fn where_nobody_listens_any_more_a_refused_call_does_not_run() {
    let container = Container::embedded(CALL, refusing);
    let shim = Shim::of(&container);
    shim.create(&container).succeeds();
    container.call(["start"]).succeeds();
    // The call waits for an answer until the last who could give one has gone, as a shim that is killed.
    let listener = shim.listener();
    assert!(!container.output_with("").contains("done"));
    nix::unistd::close(listener).unwrap();
    assert!(container.output_with("done").contains(NO_SUCH_CALL));
    assert!(!container.rootfs().join("tmp/made").exists());
}

#[test]
fn a_shim_that_goes_before_the_start_leaves_the_filter_with_its_own_errno() {
    let container = Container::embedded(CALL, refusing);
    let shim = Shim::of(&container);
    shim.create(&container).succeeds();
    let path = shim.path.clone();
    drop(shim);
    // A program that another test is just starting has the socket too, for a moment.
    let gone = || UnixDatagram::unbound().unwrap().connect(&path).is_err();
    assert!(within(Duration::from_secs(10), gone));
    container.call(["start"]).succeeds();
    let said = container.output_with("done");
    assert!(said.contains(REFUSED), "{said}");
}

#[test]
fn without_a_second_thread_the_filter_counts_and_the_shim_is_told() {
    let container = Container::embedded("", |spec| {
        refusing(spec);
        // Else none would be needed.
        spec["linux"]["seccomp"]["syscalls"][0]["names"] = json!(["mkdir", "mkdirat", "sendmsg"]);
        spec["linux"]["resources"]["pids"] = json!({ "limit": 20 });
        spec["process"]["args"] = json!(["/bin/busybox", "mkdir", "/tmp/made"]);
    });
    let shim = Shim::of(&container);
    shim.create(&container).succeeds();
    let limits: Vec<PathBuf> = container.cgroups().iter().map(|cgroup| cgroup.join("pids.max")).collect();
    limits.iter().filter(|limit| limit.exists()).for_each(|limit| std::fs::write(limit, "1").unwrap());
    container.call(["start"]).succeeds();
    let Arrival::Reason(reason) = shim.receive() else { panic!("a second thread was made") };
    assert!(reason.contains("temporarily unavailable"), "{reason}");
    assert!(container.output_with("/tmp/made").contains(REFUSED));
}

#[test]
fn a_filter_that_refuses_or_kills_what_waiting_takes_is_sent_all_the_same() {
    for action in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"] {
        let container = Container::embedded(CALL, |spec| {
            refusing(spec);
            let more = json!({ "names": ["sched_yield", "futex", "nanosleep", "sendmsg"], "action": action });
            spec["linux"]["seccomp"]["syscalls"].as_array_mut().unwrap().push(more);
        });
        let shim = Shim::of(&container);
        shim.create(&container).succeeds();
        container.call(["start"]).succeeds();
        nix::unistd::close(shim.listener()).unwrap();
        assert!(container.output_with("done").contains(NO_SUCH_CALL), "{action}");
    }
}

#[test]
fn it_is_sent_without_no_new_privileges_and_by_an_exec() {
    let container = Container::embedded("exec sleep 1000", |spec| {
        refusing(spec);
        spec["process"]["noNewPrivileges"] = json!(false);
    });
    let shim = Shim::of(&container);
    shim.create(&container).succeeds();
    container.call(["start"]).succeeds();
    nix::unistd::close(shim.listener()).unwrap();
    let mut command = container.command();
    command.arg("exec").arg("--report-refusals").arg(&shim.path).arg(&container.id);
    let child =
        command.args(["/bin/sh", "-c", "mkdir /tmp/made"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    nix::unistd::close(shim.listener()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(NO_SUCH_CALL), "{said:?}");
}

#[test]
fn a_filter_that_refuses_nothing_by_errno_has_no_listener() {
    let container = Container::embedded("echo done; exec sleep 1000", |spec| {
        refusing(spec);
        // What programs fall back after is no refusal to look at.
        spec["linux"]["seccomp"]["syscalls"][0]["errnoRet"] = json!(38);
    });
    let shim = Shim::of(&container);
    shim.create(&container).succeeds();
    container.call(["start"]).succeeds();
    container.output_with("done");
    shim.socket.set_nonblocking(true).unwrap();
    assert_eq!(shim.socket.recv(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
