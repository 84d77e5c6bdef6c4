//! A containerd that talks to the service over a socket: ttrpc as it is on the wire, under either name of the service.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use containerd_shim_protos::protobuf::Message;
use futures_util::stream::unfold;
use palisade::task::TaskApi;
use tokio::net::{UnixListener, UnixStream};
use ttrpc::Code;
use ttrpc::r#async::{Client as Ttrpc, Server};
use ttrpc::asynchronous::transport::{Listener, Socket};
use ttrpc::proto::Request;

use crate::pod::Pod;

/// Names of the service, and with it of the two versions.
pub(crate) const V3: &str = "containerd.task.v3.Task";
/// See [`V3`].
pub(crate) const V2: &str = "containerd.task.v2.Task";

/// A server for a pod's service, as the daemon has one.
pub(crate) struct Served {
    path: PathBuf,
    server: Arc<Mutex<Server>>,
}

impl Served {
    pub(crate) async fn new(pod: &Pod) -> Self {
        let path = pod.scratch.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let connections = unfold(listener, |listener| async move {
            let connection = listener.accept().await.map(|(stream, _)| stream);
            Some((connection, listener))
        });
        let services = Arc::<TaskApi>::clone(&pod.api).services();
        let mut server = Server::new().add_listener(Listener::new(connections)).register_service(services);
        server.start().await.unwrap();
        Self { path, server: Arc::new(Mutex::new(server)) }
    }

    pub(crate) async fn connection(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }

    pub(crate) async fn client(&self, service: &'static str) -> Client {
        let ttrpc = Ttrpc::new(Socket::from(self.connection().await));
        Client { ttrpc, service, _server: Arc::clone(&self.server) }
    }
}

/// One connection.
#[derive(Clone)]
pub(crate) struct Client {
    ttrpc: Ttrpc,
    service: &'static str,
    /// A server that is dropped hangs up.
    _server: Arc<Mutex<Server>>,
}

impl Client {
    /// Calls a method and waits for its answer.
    pub(crate) async fn call<R: Message>(&self, method: &str, request: &impl Message) -> Result<R, Code> {
        self.call_for(method, request, Duration::ZERO).await
    }

    /// Calls with the caller's patience; none means for ever.
    pub(crate) async fn call_for<R: Message>(
        &self,
        method: &str,
        request: &impl Message,
        patience: Duration,
    ) -> Result<R, Code> {
        let request = Request {
            service: self.service.into(),
            method: method.into(),
            payload: request.write_to_bytes().unwrap(),
            timeout_nano: i64::try_from(patience.as_nanos()).unwrap(),
            ..Request::default()
        };
        match self.ttrpc.request(request).await {
            Ok(response) => Ok(R::parse_from_bytes(&response.payload).unwrap()),
            Err(ttrpc::Error::RpcStatus(status)) => Err(status.code.enum_value().unwrap()),
            // The client's own watch ran out.
            Err(ttrpc::Error::Others(_)) if !patience.is_zero() => Err(Code::DEADLINE_EXCEEDED),
            Err(other) => panic!("{method}: {other:?}"),
        }
    }
}

/// Runs a test that does real input and output.
pub(crate) fn block_on<T>(test: impl Future<Output = T>) -> T {
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limit = Duration::from_secs(60);
    event_loop.block_on(async { tokio::time::timeout(limit, test).await.expect("the test hangs") })
}
