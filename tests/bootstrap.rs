//! The shim's program as containerd starts it: the handshake on the wire, and the daemon that `start` leaves behind.
//!
//! Requests and replies are written out as bytes, field by field, so that nothing here depends on how the shim reads them.
//! Source: containerd `api/runtime/bootstrap/v1/bootstrap.proto` and `docs/runtime-v2.md`.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::tests_outside_test_module,
    reason = "how a test fails"
)]

use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use containerd_shim_protos::api::{ConnectRequest, ConnectResponse, ShutdownRequest};
use containerd_shim_protos::shim_async::{Client, TaskClient};
use palisade::bootstrap::{Flags, ParamsError, Protocol, StartParams};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::thread::{CoreSchedulingScope, core_scheduling_cookie};

/// A field that holds bytes: its number times eight plus two, the length, the bytes.
fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(value.len()).unwrap()][..], value].concat()
}

fn text(number: u8, value: &str) -> Vec<u8> {
    bytes(number, value.as_bytes())
}

/// What containerd 2.3 writes to stdin: `BootstrapParams`.
fn bootstrap_params(id: &str, namespace: &str, socket_dir: &str) -> Vec<u8> {
    let options = [text(1, "types.containerd.io/containerd.runc.v1.Options"), bytes(2, &[0x38, 1])].concat();
    [
        text(1, id),
        text(2, namespace),
        // log_level: info
        vec![3 << 3, 4],
        text(4, "2.3.1"),
        text(5, "/nowhere/containerd.sock.ttrpc"),
        text(6, "/nowhere/containerd.sock"),
        text(7, "/usr/bin/containerd"),
        bytes(8, &bytes(1, &options)),
        text(9, socket_dir),
    ]
    .concat()
}

/// `BootstrapResult`.
fn bootstrap_result(address: &str) -> Vec<u8> {
    [vec![1 << 3, 3], text(2, address), text(3, "ttrpc")].concat()
}

fn flags() -> Flags {
    let line = "-namespace k8s.io -address /run/c.sock -publish-binary /usr/bin/containerd -id c1 start";
    Flags::parse(line.split(' ').map(OsString::from)).unwrap()
}

fn environment(name: &str) -> String {
    match name {
        "TTRPC_ADDRESS" => "/run/c.sock.ttrpc".into(),
        "MAX_SHIM_VERSION" => "2".into(),
        _ => String::new(),
    }
}

#[test]
fn every_containerd_gets_a_reply_that_it_reads() {
    let address = "unix:///run/s/0a";
    let json = br#"{"version":2,"address":"unix:///run/s/0a","protocol":"ttrpc"}"#.to_vec();
    let any = |kind: &str, value: &[u8]| [text(1, kind), bytes(2, value)].concat();
    let table: [(&str, Vec<u8>, Vec<u8>); 6] = [
        ("1.7 without options", vec![], json.clone()),
        ("1.7 as runc's handler", any("containerd.runc.v1.Options", &[0x38, 1]), json.clone()),
        (
            "2.0 to 2.2 with a handler's table",
            any("runtimeoptions.v1.Options", &text(3, "SystemdCgroup = true")),
            json.clone(),
        ),
        ("options without a value", text(1, "containerd.runc.v1.Options"), json),
        ("2.3", bootstrap_params("c1", "k8s.io", "/run/s"), bootstrap_result(address)),
        // Fields of later versions: 10 is not there yet.
        ("later", [bootstrap_params("c1", "k8s.io", ""), text(10, "new")].concat(), bootstrap_result(address)),
    ];
    for (containerd, stdin, reply) in table {
        let params = StartParams::decide(&stdin, &flags(), environment).unwrap();
        assert_eq!(params.reply(address).unwrap(), reply, "{containerd}");
        let legacy = reply.starts_with(b"{");
        assert_eq!(params.protocol == Protocol::Legacy, legacy, "{containerd}");
        let expected = if legacy { "/run/c.sock.ttrpc" } else { "/nowhere/containerd.sock.ttrpc" };
        assert_eq!(params.ttrpc_address, expected, "{containerd}");
    }
}

#[test]
fn parameters_of_another_container_are_nobodys() {
    for (id, namespace) in [("c2", "k8s.io"), ("c1", "moby")] {
        let refused = StartParams::decide(&bootstrap_params(id, namespace, "/run/s"), &flags(), environment);
        assert!(matches!(refused, Err(ParamsError::OtherContainer { .. })), "{id} {namespace}");
    }
}

/// A bundle and a place for sockets, gone with their owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        // The path of a socket has 107 bytes at most, and its name 64 of them.
        let path = std::env::temp_dir().join(format!("palisade-{name}-{}", std::process::id()));
        for id in ["sandbox", "app"] {
            fs::create_dir_all(path.join("ns").join(id)).unwrap();
            let config = r#"{"annotations":{"io.kubernetes.cri.sandbox-id":"sandbox"}}"#;
            fs::write(path.join("ns").join(id).join("config.json"), config).unwrap();
        }
        fs::DirBuilder::new().mode(0o700).create(path.join("s")).unwrap();
        Self(path)
    }

    fn bundle(&self, id: &str) -> PathBuf {
        self.0.join("ns").join(id)
    }

    fn sockets(&self) -> Vec<PathBuf> {
        fs::read_dir(self.0.join("s")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn start(&self, id: &str, variables: &[(&str, &str)]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_containerd-shim-palisade-v1"))
            .args(["-namespace", "ns", "-id", id, "-address", "/nowhere/containerd.sock", "start"])
            .current_dir(self.bundle(id))
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = bootstrap_params(id, "ns", self.0.join("s").to_str().unwrap());
        child.stdin.take().unwrap().write_all(&stdin).unwrap();
        child.wait_with_output().unwrap()
    }

    /// The daemon that a `start` has left.
    fn daemon(&self, id: &str, variables: &[(&str, &str)]) -> Daemon {
        let output = self.start(id, variables);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{said}");
        let address = fs::read_to_string(self.bundle(id).join("address")).unwrap();
        assert_eq!(output.stdout, bootstrap_result(&address));
        Daemon::at(&address)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A shim, ended with its owner.
struct Daemon {
    address: String,
    pid: Pid,
    pidfd: OwnedFd,
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

impl Daemon {
    fn at(address: &str) -> Self {
        let connected: ConnectResponse = block_on(async {
            let client = TaskClient::new(Client::connect(address).await.unwrap());
            client
                .connect(ttrpc::context::with_duration(std::time::Duration::from_secs(20)), &ConnectRequest::default())
                .await
                .unwrap()
        });
        let pid = Pid::from_raw(i32::try_from(connected.shim_pid).unwrap()).unwrap();
        Self { address: address.into(), pid, pidfd: pidfd_open(pid, PidfdFlags::empty()).unwrap() }
    }

    fn socket(&self) -> &Path {
        Path::new(self.address.strip_prefix("unix://").unwrap())
    }

    /// Waits for its end.
    fn ends(&self) {
        let limit = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&limit)).unwrap();
        assert_eq!(ended, 1, "the shim goes on");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Where the test has ended it, there is nothing to do.
        assert!(matches!(pidfd_send_signal(&self.pidfd, Signal::KILL), Ok(()) | Err(Errno::SRCH)));
    }
}

#[test]
fn a_pod_has_one_daemon_that_ends_when_it_is_told_to() {
    let scratch = Scratch::new("one");
    let daemon = scratch.daemon("sandbox", &[]);
    let same = scratch.daemon("app", &[]);
    assert_eq!((&same.address, same.pid), (&daemon.address, daemon.pid));
    assert_eq!(scratch.sockets(), [daemon.socket()]);
    block_on(async {
        let client = TaskClient::new(Client::connect(&daemon.address).await.unwrap());
        client.shutdown(ttrpc::context::Context::default(), &ShutdownRequest::default()).await.unwrap();
    });
    daemon.ends();
    assert_eq!(scratch.sockets(), [""; 0].map(PathBuf::from));
    // The next one is another.
    let next = scratch.daemon("sandbox", &[]);
    assert_eq!((&next.address, next.pid == daemon.pid), (&daemon.address, false));
}

#[test]
fn a_daemon_that_was_killed_is_replaced() {
    let scratch = Scratch::new("killed");
    let daemon = scratch.daemon("sandbox", &[]);
    pidfd_send_signal(&daemon.pidfd, Signal::KILL).unwrap();
    daemon.ends();
    assert_eq!(scratch.sockets(), [daemon.socket()], "it could not remove it");
    assert_ne!(scratch.daemon("sandbox", &[]).pid, daemon.pid);
}

#[test]
fn the_daemon_keeps_nothing_of_containerds_environment_and_logs_to_its_fifo() {
    let scratch = Scratch::new("log");
    let fifo = scratch.bundle("sandbox").join("log");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    let mut log = fs::OpenOptions::new().read(true).custom_flags(flags).open(&fifo).unwrap();
    let daemon = scratch.daemon("sandbox", &[("NOTIFY_SOCKET", "/run/systemd/notify"), ("LISTEN_FDS", "1")]);
    let environment = fs::read_to_string(format!("/proc/{}/environ", daemon.pid.as_raw_nonzero())).unwrap();
    let mut names: Vec<&str> = environment.split_terminator('\0').map(|pair| pair.split('=').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["PALISADE_SOCKET", "PATH", "TTRPC_ADDRESS"]);
    pidfd_send_signal(&daemon.pidfd, Signal::TERM).unwrap();
    daemon.ends();
    let mut said = String::new();
    log.read_to_string(&mut said).unwrap();
    assert!(said.contains("level=info msg=\"SIGTERM\""), "{said}");
    assert!(UnixStream::connect(daemon.socket()).is_err());
}

/// containerd knows of no address then, so nobody would end the daemon.
#[test]
fn a_start_that_fails_leaves_no_daemon() {
    let scratch = Scratch::new("fails");
    fs::create_dir(scratch.bundle("sandbox").join("address")).unwrap();
    let output = scratch.start("sandbox", &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("write the address file of the bundle"), "{said}");
    assert_eq!(output.stdout, b"");
    assert_eq!(scratch.sockets(), [""; 0].map(PathBuf::from));
}

/// With a kernel that has it the pod gets a cookie of its own; without, the pod is refused and the reason named.
#[test]
fn core_scheduling_is_done_or_refused() {
    let scratch = Scratch::new("core");
    let cookie = |pid| core_scheduling_cookie(pid, CoreSchedulingScope::Thread);
    let own = cookie(rustix::process::getpid());
    if let Ok(own) = own {
        let daemon = scratch.daemon("sandbox", &[("SCHED_CORE", "1")]);
        let given = cookie(daemon.pid).unwrap();
        assert!(given != 0 && given != own, "{given:#x}, the test has {own:#x}");
        return;
    }
    let output = scratch.start("sandbox", &[("SCHED_CORE", "1")]);
    let said = String::from_utf8(output.stderr).unwrap();
    let reason = match own.unwrap_err() {
        Errno::NODEV => "no core of this machine runs two threads",
        _ => "the kernel was built without it",
    };
    assert!(!output.status.success() && said.contains("sched_core") && said.contains(reason), "{said}");
    assert_eq!(scratch.sockets(), [""; 0].map(PathBuf::from), "no daemon is left");
    assert!(scratch.daemon("sandbox", &[]).socket().exists(), "without it all is well");
}
