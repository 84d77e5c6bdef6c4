//! The daemon of a pod: it serves the task API on the group's socket until the last container is gone.

use std::env;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::unfold;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{getpid, set_child_subreaper};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use ttrpc::r#async::Server;
use ttrpc::asynchronous::transport::Listener;

use crate::bootstrap::{Flags, SOCKET_VARIABLE, SocketAddress, TTRPC_VARIABLE};
use crate::callers::Callers;
use crate::cgroup::expect_attach;
use crate::gate::{Gate, PolicySource};
use crate::rest;
use crate::task::{EventQueue, Machine, Publisher, Reaper, TaskApi, TaskService};
use crate::trusted::is_trusted;
use crate::unsafe_syscalls::close_inherited;

/// Longest wait for containerd to take the last events; it gives a shim 3 s to shut down.
const LAST_EVENTS: Duration = Duration::from_secs(2);

/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the daemon ended without being asked to.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// `start` left no listening socket on stdin.
    #[error("take over the socket from start")]
    Socket(#[source] io::Error),
    /// A descriptor of the process can't be set up.
    #[error("set up standard descriptors")]
    Descriptors(#[source] io::Error),
    /// The kernel refused to make the shim a subreaper.
    #[error("become a subreaper")]
    Subreaper(#[source] io::Error),
    /// The event loop can't be made.
    #[error("make the event loop")]
    Loop(#[source] io::Error),
    /// The server can't be started.
    #[error("serve the task API")]
    Serve(#[source] ttrpc::Error),
}

/// Serves until `Shutdown` is called with no container left, nobody wants it any more, or SIGTERM comes.
///
/// # Errors
///
/// [`DaemonError`].
pub fn run(flags: &Flags) -> Result<(), DaemonError> {
    // containerd's children inherit what its own parent left open; none of it is the shim's business.
    close_inherited().map_err(DaemonError::Descriptors)?;
    let listener = take_listener()?;
    let binary = binary_on_stdout();
    redirect_descriptors().map_err(DaemonError::Descriptors)?;
    expect_attach();
    set_child_subreaper(Some(getpid())).map_err(|errno| DaemonError::Subreaper(errno.into()))?;
    let event_loop =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(DaemonError::Loop)?;
    let served = event_loop.block_on(serve(flags, listener));
    // Copies of stdio that nobody waits for any more must not keep the process.
    event_loop.shutdown_background();
    crate::audit::write_rest();
    drop(binary);
    served
}

/// The mount that the daemon runs from, if `start` has handed it over: a descriptor by which nothing can be read or written.
fn binary_on_stdout() -> Option<OwnedFd> {
    let stdout = rustix::stdio::stdout();
    let is_path = rustix::fs::fcntl_getfl(stdout).is_ok_and(|flags| flags.contains(OFlags::PATH));
    is_path.then(|| stdout.try_clone_to_owned().ok()).flatten()
}

/// stdin is the listening socket; afterwards it is `/dev/null`.
fn take_listener() -> Result<StdUnixListener, DaemonError> {
    let listener = io::stdin().as_fd().try_clone_to_owned().map(StdUnixListener::from).map_err(DaemonError::Socket)?;
    listener.local_addr().map_err(DaemonError::Socket)?;
    listener.set_nonblocking(true).map_err(DaemonError::Socket)?;
    Ok(listener)
}

/// stderr becomes the bundle's `log` FIFO, opened for both directions so that it survives containerd; a
/// FIFO that is full while nobody reads loses lines instead of stopping the shim.
fn redirect_descriptors() -> io::Result<()> {
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match open("log", flags, Mode::empty()) {
        Ok(log) => rustix::stdio::dup2_stderr(&log)?,
        Err(_) => rustix::stdio::dup2_stderr(&null)?,
    }
    Ok(())
}

async fn serve(flags: &Flags, listener: StdUnixListener) -> Result<(), DaemonError> {
    let reaper = Reaper::default();
    tokio::spawn(reaper.clone().run(Reaper::listen().map_err(DaemonError::Loop)?));
    let events = EventQueue::new(flags.namespace());
    let ttrpc_address = env::var(TTRPC_VARIABLE).unwrap_or_default();
    tokio::spawn(Publisher::new(events.clone(), &ttrpc_address).run());
    let socket = env::var(SOCKET_VARIABLE).unwrap_or_default();
    let gate = Gate::new(PolicySource::from_env());
    let host = Arc::new(Machine::new(reaper.clone()).beside(flags.address()));
    let service = TaskService::new(flags.namespace(), &socket, gate, host, reaper, events.clone());
    let shutdown = service.shutdown_requested();
    tokio::spawn(service.rest().run(rest::give_back));

    let listener = UnixListener::from_std(listener).map_err(DaemonError::Socket)?;
    let held = Arc::clone(&service);
    let services = TaskApi::new(service).services();
    let callers = Callers::default();
    let mut server = Server::new().add_listener(root_only(listener, callers.clone())).register_service(services);
    server.start().await.map_err(DaemonError::Serve)?;
    // While containerd reads the address and connects.
    held.gate().prepare();
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Loop)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Loop)?;
    tokio::select! {
        () = shutdown.notified() => {}
        () = callers.given_up(|| held.close_if_empty()) => crate::info!("nobody is connected, and no container is held"),
        _ = terminate.recv() => crate::info!("SIGTERM"),
        _ = interrupt.recv() => crate::info!("SIGINT"),
    }
    // Before anything else: a `start` that comes now must find no socket, and make a daemon of its own.
    remove_socket(&socket);
    // The reply to Shutdown leaves before the connection is closed.
    tokio::time::timeout(LAST_EVENTS, events.drained()).await.unwrap_or_else(|_| {
        crate::warn!("containerd did not take the last events in time");
    });
    server.shutdown().await.map_err(DaemonError::Serve)
}

fn remove_socket(uri: &str) {
    if let Some(address) = SocketAddress::from_uri(uri)
        && let Err(error) = address.remove()
    {
        crate::warn!("{}", crate::log::chain(&error));
    }
}

/// Accepts connections of root only. The socket's mode says so too; this holds for a descriptor that was
/// passed on, and for a mode that somebody changed.
fn root_only(listener: UnixListener, callers: Callers) -> Listener {
    Listener::new(unfold((listener, callers), |(listener, callers)| async move {
        let stream = accept_root(&listener).await.map(|stream| callers.count(stream));
        Some((stream, (listener, callers)))
    }))
}

async fn accept_root(listener: &UnixListener) -> io::Result<UnixStream> {
    loop {
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors: the connection stays queued, and asking again at once would spin.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                return Err(error);
            }
        };
        match stream.peer_cred() {
            Ok(peer) if is_trusted(peer.uid()) => return Ok(stream),
            Ok(peer) => crate::warn!("connection of uid {} refused: only root may call", peer.uid()),
            Err(error) => crate::warn!("connection refused: peer unknown: {error}"),
        }
    }
}
