//! What the containerd that runs has for handlers, as the kubelet asks it.

use std::collections::BTreeMap;
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use serde_json::Value;
use tonic::client::Grpc;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

const STATUS: &str = "/runtime.v1.RuntimeService/Status";

/// Source: cri-api pkg/apis/runtime/v1/api.proto.
#[derive(Clone, PartialEq, Message)]
struct StatusRequest {
    #[prost(bool, tag = "1")]
    verbose: bool,
}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(map = "string, string", tag = "2")]
    info: std::collections::HashMap<String, String>,
}

/// What it answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its handlers.
    Handlers(Vec<String>),
    /// It is there, and CRI is switched off.
    NoCri,
}

/// Asks once, within some time; else why there is no answer.
pub(super) fn handlers(socket: &str, patience: Duration) -> Result<Answer, String> {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let executor = executor.map_err(|error| error.to_string())?;
    executor.block_on(async {
        match tokio::time::timeout(patience, ask(socket)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", patience.as_secs())),
        }
    })
}

async fn ask(socket: &str) -> Result<Answer, String> {
    let endpoint = Endpoint::from_shared(format!("unix://{socket}")).map_err(|error| palisade::log::chain(&error))?;
    let channel = endpoint.connect().await.map_err(|error| palisade::log::chain(&error))?;
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| error.to_string())?;
    let codec: ProstCodec<StatusRequest, StatusResponse> = ProstCodec::default();
    let request = Request::new(StatusRequest { verbose: true });
    match client.unary(request, PathAndQuery::from_static(STATUS), codec).await {
        Ok(answer) => of_config(answer.into_inner().info.get("config").map_or("", String::as_str)),
        Err(status) if status.code() == Code::Unimplemented => Ok(Answer::NoCri),
        Err(status) => Err(format!("{}: {}", status.code(), status.message())),
    }
}

/// The names below `containerd.runtimes` of the configuration that CRI shows, 1.7 and 2.x alike.
fn of_config(config: &str) -> Result<Answer, String> {
    let config: BTreeMap<String, Value> = serde_json::from_str(config).map_err(|error| error.to_string())?;
    let runtimes = config.get("containerd").and_then(|containerd| containerd.get("runtimes")?.as_object());
    runtimes
        .map(|table| Answer::Handlers(table.keys().cloned().collect()))
        .ok_or_else(|| "CRI shows no handlers".to_owned())
}
