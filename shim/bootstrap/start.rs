//! `start`: leaves a daemon behind that serves the group's socket, and prints the socket's address.

use std::env;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::process::getpid;
use rustix::thread::{CoreSchedulingScope, create_core_scheduling_cookie};
use thiserror::Error;

use super::flags::Flags;
use super::group::group_of;
use super::params::{ParamsError, StartParams, read_stdin};
use super::socket::{Bound, SocketAddress, SocketError};
use crate::bundle::{BundleError, OciBundle};
use crate::gate::CONFIG_VARIABLE;
use crate::runtime::embedded::seal::read_only_mount;

/// Why there is no daemon.
#[derive(Debug, Error)]
pub enum StartError {
    /// The handshake failed.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The working directory, which is the bundle, is unknown.
    #[error("read the working directory")]
    WorkingDirectory(#[source] io::Error),
    /// The bundle can't be opened.
    #[error("open the bundle")]
    Bundle(#[source] BundleError),
    /// `config.json` is no JSON.
    #[error("config.json of the bundle does not parse")]
    Config(#[source] serde_json::Error),
    /// The socket can't be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The kernel does not do core scheduling, which the admin has switched on.
    #[error("containerd's sched_core demands a core scheduling group for the pod: {problem}")]
    CoreScheduling {
        /// What is missing.
        problem: &'static str,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The daemon can't be started.
    #[error("start the shim's daemon")]
    Spawn(#[source] io::Error),
    /// The address file can't be written.
    #[error("write the address file of the bundle")]
    AddressFile(#[source] io::Error),
}

/// Environment variable with the daemon's own address, by which it removes its socket.
pub(crate) const SOCKET_VARIABLE: &str = "PALISADE_SOCKET";
/// Environment variable with containerd's ttrpc address, named by containerd.
pub(crate) const TTRPC_VARIABLE: &str = "TTRPC_ADDRESS";

/// What the daemon keeps of containerd's environment. Above all not `NOTIFY_SOCKET` and `LISTEN_FDS`:
/// libcontainer hands the latter on to containers.
const KEPT_VARIABLES: [&str; 2] = ["PATH", CONFIG_VARIABLE];

/// Environment variable by which containerd's `sched_core = true` arrives.
const SCHED_CORE_VARIABLE: &str = "SCHED_CORE";

pub(super) fn run(flags: &Flags) -> Result<Vec<u8>, StartError> {
    let params = StartParams::decide(&read_stdin()?, flags, |name| env::var(name).unwrap_or_default())?;
    let cwd = env::current_dir().map_err(StartError::WorkingDirectory)?;
    let bundle = OciBundle::open(&cwd, flags.namespace(), flags.id()).map_err(StartError::Bundle)?;
    let group = group_of(&bundle, flags.id())?;
    let address = SocketAddress::of_group(&params.socket_dir, &params.grpc_address, flags.namespace(), &group)?;
    // containerd 1.7 restores its shims from this file after a restart. Before there is a daemon: one whose `start` failed
    // would be left alone.
    fs::write(cwd.join("address"), address.uri()).map_err(StartError::AddressFile)?;
    if let Bound::Fresh(listener) = address.bind()? {
        spawn_daemon(flags, &params, &address, listener, &cwd).inspect_err(|_| {
            if let Err(error) = address.remove() {
                crate::warn!("{}", crate::log::chain(&error));
            }
        })?;
    }
    Ok(params.reply(&address.uri())?)
}

/// The daemon runs from a read-only mount of the binary, as the runtime's processes have to (CVE-2019-5736).
/// The listener goes over as the daemon's stdin: it listens already, so an address that was printed answers.
fn spawn_daemon(
    flags: &Flags,
    params: &StartParams,
    address: &SocketAddress,
    listener: UnixListener,
    bundle: &Path,
) -> Result<(), StartError> {
    if env::var_os(SCHED_CORE_VARIABLE).is_some_and(|value| !value.is_empty()) {
        // The daemon inherits the cookie, and from it the pod's processes: they share a core with each other alone.
        // Source: kernel `Documentation/admin-guide/hw-vuln/core-scheduling.rst`.
        create_core_scheduling_cookie(getpid(), CoreSchedulingScope::ThreadGroup)
            .map_err(|errno| StartError::CoreScheduling { problem: scheduling_problem(errno), source: errno.into() })?;
    }
    let binary = read_only_mount();
    // With the last descriptor of a detached mount the kernel waits for all that might look at it, some ms: not while containerd waits.
    let held = binary.as_ref().ok().and_then(|mount| mount.try_clone().ok());
    let mut command = match &binary {
        Ok(mount) => Command::new(format!("/proc/self/fd/{}", mount.as_raw_fd())),
        Err(_) => Command::new("/proc/self/exe"),
    };
    command
        .arg0(super::NAME)
        .args(["-namespace", flags.namespace(), "-id", flags.id(), "-address", &params.grpc_address])
        .env_clear()
        .envs(KEPT_VARIABLES.iter().filter_map(|name| Some((name, env::var_os(name)?))))
        .env(TTRPC_VARIABLE, &params.ttrpc_address)
        .env(SOCKET_VARIABLE, address.uri())
        .current_dir(bundle)
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(held.map_or_else(Stdio::null, Stdio::from))
        .stderr(Stdio::null());
    if flags.debug() {
        command.arg("-debug");
    }
    let child = command.spawn().map_err(StartError::Spawn)?;
    if let Err(error) = raise_oom_score(child.id()) {
        crate::warn!("oom_score_adj of the shim: {error}");
    }
    Ok(())
}

/// Source: kernel `sched_core_share_pid` and prctl(2).
fn scheduling_problem(errno: Errno) -> &'static str {
    match errno {
        Errno::INVAL => "the kernel was built without it",
        Errno::NODEV => "no core of this machine runs two threads",
        _ => "the kernel refuses",
    }
}

/// One above containerd's, so that under memory pressure a shim goes before the daemon that can restart it.
fn raise_oom_score(daemon: u32) -> io::Result<()> {
    let own = fs::read_to_string("/proc/self/oom_score_adj")?;
    let own: i32 = own.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    fs::write(format!("/proc/{daemon}/oom_score_adj"), (own + 1).min(1000).to_string())
}
