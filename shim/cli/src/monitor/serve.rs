//! Answering on a loopback address or a socket, or writing for node_exporter's textfile collector.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{AbortHandle, LocalSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::exposition::Format;
use super::kept::replace;
use super::{Monitor, tell};
use crate::arguments::MonitorArguments;
use crate::error::CliError;

/// Longest connection: a scrape takes milliseconds.
const CONNECTION: Duration = Duration::from_secs(10);
/// Longest wait for a request's head. Whoever connects asks at once.
const ASKING: Duration = Duration::from_secs(3);
/// Connections at a time. There is one Prometheus, and any local user may connect: one more ends the oldest one.
const CONNECTIONS: usize = 16;
/// The log is read at least so often, so that nothing is rotated away unread.
const TICK: Duration = Duration::from_secs(10);
/// Pause after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Where it answers.
pub(super) struct Listeners {
    listener: Listener,
    ended: [Signal; 2],
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
    Textfile(PathBuf),
}

impl fmt::Display for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.listener {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "http://{address}/metrics"),
                Err(error) => write!(f, "an address that can't be told: {error}"),
            },
            Listener::Unix(_, path) => write!(f, "/metrics on {}", path.display()),
            Listener::Textfile(path) => write!(f, "writes {}", path.display()),
        }
    }
}

impl Listeners {
    /// To be called within the event loop.
    pub(super) fn open(arguments: &MonitorArguments) -> Result<Self, CliError> {
        let ended = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let listener = match (&arguments.textfile, &arguments.socket) {
            (Some(file), _) => Listener::Textfile(file.clone()),
            (None, Some(path)) => Listener::Unix(bind(path)?, path.clone()),
            (None, None) => {
                if !arguments.listen.ip().is_loopback() && !arguments.allow_remote {
                    return Err(CliError::NotLoopback { address: arguments.listen });
                }
                let failed = |source| CliError::Listen { at: arguments.listen.to_string(), source };
                let listener = std::net::TcpListener::bind(arguments.listen).map_err(failed)?;
                listener.set_nonblocking(true)?;
                Listener::Tcp(TcpListener::from_std(listener)?)
            }
        };
        Ok(Self { listener, ended })
    }

    /// Until it is told to end.
    pub(super) async fn serve(self, monitor: Monitor, arguments: &MonitorArguments) -> Result<(), CliError> {
        let Self { listener, ended: [mut terminated, mut interrupted] } = self;
        let shared = Rc::new(Shared { monitor: RefCell::new(monitor), connections: RefCell::default() });
        let work = async {
            match &listener {
                Listener::Tcp(listener) => accept(&shared, async || Ok(listener.accept().await?.0)).await,
                Listener::Unix(listener, _) => accept(&shared, async || Ok(listener.accept().await?.0)).await,
                Listener::Textfile(file) => write(&shared, file, arguments.interval).await,
            }
        };
        let local = LocalSet::new();
        local
            .run_until(async {
                tokio::select! {
                    ended = work => ended,
                    () = tick(&shared) => Ok(()),
                    _ = terminated.recv() => Ok(()),
                    _ = interrupted.recv() => Ok(()),
                }
            })
            .await?;
        shared.monitor.borrow_mut().keep()?;
        // The socket's file stays: removing it takes rights that were given up. The next start takes its place.
        Ok(())
    }
}

/// A socket that a monitor before this one has left is replaced, anything else is not.
fn bind(path: &Path) -> Result<UnixListener, CliError> {
    let bind = || {
        if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            fs::remove_file(path)?;
        }
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_dir_all(directory)?;
        }
        let listener = UnixListener::bind(path)?;
        // What is told is no secret, and the file's directory says who may reach it.
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        Ok(listener)
    };
    bind().map_err(|source| CliError::Listen { at: path.display().to_string(), source })
}

struct Shared {
    monitor: RefCell<Monitor>,
    /// The tasks that answer, the oldest one first.
    connections: RefCell<VecDeque<AbortHandle>>,
}

impl Shared {
    /// Answers a connection. Where there is no room the oldest one goes: one that is served takes milliseconds, so it says nothing.
    fn take<S: AsyncRead + AsyncWrite + Unpin + 'static>(self: &Rc<Self>, stream: S) {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= CONNECTIONS
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        connections.push_back(tokio::task::spawn_local(answer(stream, Rc::clone(self))).abort_handle());
    }
}

/// Reads the log also while nobody asks.
async fn tick(shared: &Shared) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = shared.monitor.borrow_mut().gather() {
            tell(&error.chain());
        }
    }
}

async fn write(shared: &Shared, file: &Path, seconds: u64) -> Result<(), CliError> {
    let mut ticks = interval(Duration::from_secs(seconds.max(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let text = shared.monitor.borrow_mut().text(Format::Prometheus);
        // The collector tells how old the file is.
        if let Err(error) = text.and_then(|text| replace(file, text.as_bytes(), 0o644)) {
            tell(&error.chain());
        }
    }
}

async fn accept<S>(shared: &Rc<Shared>, next: impl AsyncFn() -> std::io::Result<S>) -> Result<(), CliError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    loop {
        match next().await {
            Ok(stream) => shared.take(stream),
            // Out of descriptors: the connection stays queued, and asking again at once would spin.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: Rc<Shared>) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let response = respond(&request, &shared);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ASKING)
        .keep_alive(false)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever goes away in between is nobody to be told of it.
    drop(timeout(CONNECTION, served).await);
}

fn respond<B>(request: &Request<B>, shared: &Shared) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" => {
            let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
            let format = Format::accepted(accept);
            match shared.monitor.borrow_mut().text(format) {
                Ok(text) => plain(StatusCode::OK, format.content_type(), text),
                // Prometheus takes the node for one that is down, which is what somebody should look at.
                Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{}\n", error.chain())),
            }
        }
        "/" => plain(StatusCode::OK, "text/plain", "palisade monitor: /metrics\n".to_owned()),
        _ => plain(StatusCode::NOT_FOUND, "text/plain", "/metrics\n".to_owned()),
    }
}

fn plain(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}
