//! A shim's own socket, spoken to without containerd.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use containerd_shim_protos::shim_async::{Client, TaskClient};
use containerd_shim_protos::ttrpc;
use tokio::runtime::{Builder, Runtime as Executor};

use crate::{Containerd, Failure};

/// Longest wait for one answer.
const SECONDS: u64 = 60;
/// Bytes of a ttrpc message's header: length, stream, type, flags. Source: containerd/ttrpc `PROTOCOL.md`.
const HEADER: usize = 10;

/// The context of a call that may take a minute.
#[must_use]
pub fn context() -> ttrpc::context::Context {
    ttrpc::context::with_duration(Duration::from_secs(SECONDS))
}

/// A connection to the shim that holds a container.
pub struct ShimClient {
    executor: Executor,
    client: TaskClient,
}

impl ShimClient {
    /// Connects to the shim of a container of this run's namespace.
    ///
    /// # Errors
    /// It has no address, or does not answer there.
    pub fn of(containerd: &Containerd, id: &str) -> Result<Self, Failure> {
        Self::at(&socket_of(containerd, id)?)
    }

    /// Connects to the shim behind a socket.
    ///
    /// # Errors
    /// It does not answer there.
    pub fn at(socket: &Path) -> Result<Self, Failure> {
        let executor = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Failure::Io { action: "start an executor".to_owned(), source })?;
        let address = format!("unix://{}", socket.display());
        let client = executor
            .block_on(Client::connect(&address))
            .map_err(|error| Failure::unreadable("the shim's socket", &error))?;
        Ok(Self { executor, client: TaskClient::new(client) })
    }

    /// Makes a call, or many at once.
    pub fn with<T>(&self, call: impl AsyncFnOnce(&TaskClient) -> T) -> T {
        self.executor.block_on(call(&self.client))
    }

    /// Makes a call, and says how it was refused as containerd would.
    ///
    /// # Errors
    /// The shim refuses, or does not answer.
    pub fn ask<T>(
        &self,
        name: &'static str,
        call: impl AsyncFnOnce(&TaskClient) -> ttrpc::Result<T>,
    ) -> Result<T, Failure> {
        self.with(call).map_err(|error| refused(name, &error))
    }
}

/// A refusal as a failure with its code.
#[must_use]
pub fn refused(call: &'static str, error: &ttrpc::Error) -> Failure {
    match error {
        ttrpc::Error::RpcStatus(status) => {
            Failure::Rpc { call, code: tonic::Code::from_i32(status.code.value()), message: status.message.clone() }
        }
        other => Failure::unreadable(call, other),
    }
}

/// The path of the socket of the shim that holds a container of this run's namespace.
///
/// # Errors
/// The bundle names none.
pub fn socket_of(containerd: &Containerd, id: &str) -> Result<PathBuf, Failure> {
    let file = containerd.layout().bundles().join(containerd.tag()).join(id).join("address");
    let address = fs::read_to_string(&file).map_err(Failure::io("read", &file))?;
    address
        .strip_prefix("unix://")
        .map(PathBuf::from)
        .ok_or_else(|| Failure::unreadable(&file.display().to_string(), &address))
}

/// A connection that writes whatever it is given.
#[derive(Debug)]
pub struct RawConnection(UnixStream);

impl RawConnection {
    /// Connects; reads end after 20 seconds.
    ///
    /// # Errors
    /// The shim does not answer.
    pub fn to(containerd: &Containerd, id: &str) -> Result<Self, Failure> {
        let path = socket_of(containerd, id)?;
        let stream = UnixStream::connect(&path).map_err(Failure::io("connect to", &path))?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(Failure::io("set a deadline of", &path))?;
        stream.set_write_timeout(Some(Duration::from_secs(20))).map_err(Failure::io("set a deadline of", &path))?;
        Ok(Self(stream))
    }

    /// Writes bytes as they are; false when the shim has closed the connection meanwhile.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Says that nothing more will come.
    pub fn finish(&self) {
        // It may be closed from the other side already.
        self.0.shutdown(std::net::Shutdown::Write).ok();
    }

    /// Reads one message: its type and payload; `None` when the shim has closed the connection.
    ///
    /// # Errors
    /// Nothing comes within 20 seconds.
    pub fn read(&mut self) -> Result<Option<(u8, Vec<u8>)>, Failure> {
        let mut header = [0; HEADER];
        let broken = |source| Failure::Io { action: "read from the shim".to_owned(), source };
        match self.0.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if is_closed(&error) => return Ok(None),
            Err(error) => return Err(broken(error)),
        }
        let [a, b, c, d, _, _, _, _, kind, _] = header;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0)];
        self.0.read_exact(&mut payload).map_err(broken)?;
        Ok(Some((kind, payload)))
    }
}

fn is_closed(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// A message with this stream id, type and flags around a payload.
#[must_use]
pub fn frame(stream: u32, kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &stream.to_be_bytes(), &[kind, flags], payload].concat()
}
