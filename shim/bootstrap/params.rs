//! What containerd tells `start`, and the form of the reply, by version.
//!
//! | containerd | stdin | reply |
//! |---|---|---|
//! | 2.3 and later | protobuf `BootstrapParams` | protobuf `BootstrapResult`, task API 3 |
//! | 1.7 to 2.2 | protobuf `Any` of runtime options, or nothing | JSON, task API 2 |
//!
//! Version 2 is what every legacy containerd takes: 1.7 refuses a higher one, and nothing in the request
//! tells 1.7 from 2.x. Both task services are served on the socket in any case.

use std::io::{self, IsTerminal as _, Read as _};

use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use containerd_shim_protos::protobuf::Message as _;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use serde::Serialize;
use thiserror::Error;

use super::flags::Flags;

/// containerd's own bound for stdin, in bytes.
const MAX_INPUT: u64 = 10 << 20;

/// Where shims of containerd put their sockets unless told otherwise.
const DEFAULT_SOCKET_DIR: &str = "/run/containerd/s";

/// Why `start` can't go on.
#[derive(Debug, Error)]
pub enum ParamsError {
    /// stdin can't be read.
    #[error("read bootstrap parameters from stdin")]
    Read(#[source] io::Error),
    /// stdin holds neither parameters for this container nor runtime options.
    #[error("bootstrap parameters are for {found:?}, the command line is for {expected:?}")]
    OtherContainer {
        /// Namespace and id found on stdin.
        found: String,
        /// Namespace and id of the command line.
        expected: String,
    },
    /// A reply can't be written in its form.
    #[error("encode the reply")]
    Encode(#[source] containerd_shim_protos::protobuf::Error),
    /// A reply can't be written as JSON.
    #[error("encode the reply")]
    EncodeJson(#[source] serde_json::Error),
    /// No address for events was given.
    #[error("containerd's ttrpc address is missing: neither bootstrap parameters nor TTRPC_ADDRESS name it")]
    NoTtrpcAddress,
}

/// How containerd called, which is how it wants the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `BootstrapParams` in, `BootstrapResult` out.
    Bootstrap,
    /// Flags, environment and options in, JSON out.
    Legacy,
}

/// The parameters of `start`, whatever their form was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartParams {
    /// The form of the call.
    pub protocol: Protocol,
    /// containerd's ttrpc socket, for events.
    pub ttrpc_address: String,
    /// containerd's gRPC socket; part of the socket's name, so that two containerds don't share shims.
    pub grpc_address: String,
    /// Directory for the shim's socket.
    pub socket_dir: String,
}

#[derive(Serialize)]
struct JsonReply<'a> {
    version: u32,
    address: &'a str,
    protocol: &'a str,
}

/// Reads stdin, bounded; a terminal counts as empty.
pub(super) fn read_stdin() -> Result<Vec<u8>, ParamsError> {
    let stdin = io::stdin();
    let mut input = Vec::new();
    if !stdin.is_terminal() {
        stdin.lock().take(MAX_INPUT).read_to_end(&mut input).map_err(ParamsError::Read)?;
    }
    Ok(input)
}

impl StartParams {
    /// Decides which form `input` has and takes the rest from flags and environment.
    ///
    /// Runtime options and `BootstrapParams` are wire compatible (both begin with two strings), so only
    /// parameters that name this very container count as such (containerd issue 13763).
    ///
    /// # Errors
    ///
    /// [`ParamsError::OtherContainer`], [`ParamsError::NoTtrpcAddress`].
    pub fn decide(input: &[u8], flags: &Flags, env: impl Fn(&str) -> String) -> Result<Self, ParamsError> {
        let params = match bootstrap_params(input, flags)? {
            Some(params) => Self {
                protocol: Protocol::Bootstrap,
                socket_dir: params.socket_dir().to_owned(),
                ttrpc_address: params.containerd_ttrpc_address,
                grpc_address: params.containerd_grpc_address,
            },
            None => Self {
                protocol: Protocol::Legacy,
                ttrpc_address: env("TTRPC_ADDRESS"),
                grpc_address: if flags.address().is_empty() { env("GRPC_ADDRESS") } else { flags.address().into() },
                socket_dir: String::new(),
            },
        };
        params.completed()
    }

    fn completed(mut self) -> Result<Self, ParamsError> {
        if self.ttrpc_address.is_empty() {
            return Err(ParamsError::NoTtrpcAddress);
        }
        if self.socket_dir.is_empty() {
            DEFAULT_SOCKET_DIR.clone_into(&mut self.socket_dir);
        }
        Ok(self)
    }

    /// The reply that names the daemon's address.
    ///
    /// # Errors
    ///
    /// [`ParamsError::Encode`], [`ParamsError::EncodeJson`].
    pub fn reply(&self, address: &str) -> Result<Vec<u8>, ParamsError> {
        match self.protocol {
            Protocol::Bootstrap => BootstrapResult {
                version: 3,
                address: address.into(),
                protocol: "ttrpc".into(),
                ..BootstrapResult::default()
            }
            .write_to_bytes()
            .map_err(ParamsError::Encode),
            Protocol::Legacy => serde_json::to_vec(&JsonReply { version: 2, address, protocol: "ttrpc" })
                .map_err(ParamsError::EncodeJson),
        }
    }
}

fn bootstrap_params(input: &[u8], flags: &Flags) -> Result<Option<BootstrapParams>, ParamsError> {
    if input.is_empty() {
        return Ok(None);
    }
    let Ok(params) = BootstrapParams::parse_from_bytes(input) else { return Ok(None) };
    if params.instance_id == flags.id() && params.namespace == flags.namespace() {
        return Ok(Some(params));
    }
    if Any::parse_from_bytes(input).is_ok() && !has_more_than_identity(&params) {
        return Ok(None);
    }
    Err(ParamsError::OtherContainer {
        found: format!("{}/{}", params.namespace, params.instance_id),
        expected: format!("{}/{}", flags.namespace(), flags.id()),
    })
}

/// An `Any` that is read as parameters fills the first two fields only.
fn has_more_than_identity(params: &BootstrapParams) -> bool {
    let identity = BootstrapParams {
        instance_id: params.instance_id.clone(),
        namespace: params.namespace.clone(),
        ..BootstrapParams::default()
    };
    *params != identity
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn flags() -> Flags {
        let line = "-namespace k8s.io -id c1 -address /run/c.sock start";
        Flags::parse(line.split(' ').map(OsString::from)).unwrap()
    }

    fn env(name: &str) -> String {
        if name == "TTRPC_ADDRESS" { "/run/c.sock.ttrpc".into() } else { String::new() }
    }

    fn params() -> BootstrapParams {
        BootstrapParams {
            instance_id: "c1".into(),
            namespace: "k8s.io".into(),
            containerd_version: "2.3.1".into(),
            containerd_ttrpc_address: "/t".into(),
            containerd_grpc_address: "/g".into(),
            socket_dir: Some("/run/s".into()),
            ..BootstrapParams::default()
        }
    }

    #[test]
    fn bootstrap_parameters_are_answered_in_kind() {
        let start = StartParams::decide(&params().write_to_bytes().unwrap(), &flags(), env).unwrap();
        assert_eq!(start.protocol, Protocol::Bootstrap);
        assert_eq!((start.ttrpc_address.as_str(), start.socket_dir.as_str()), ("/t", "/run/s"));
        let reply = BootstrapResult::parse_from_bytes(&start.reply("unix:///a").unwrap()).unwrap();
        assert_eq!((reply.version, reply.address.as_str(), reply.protocol.as_str()), (3, "unix:///a", "ttrpc"));
    }

    #[test]
    fn legacy_calls_get_version_2_as_json() {
        let start = StartParams::decide(b"", &flags(), env).unwrap();
        assert_eq!(start.grpc_address, "/run/c.sock");
        assert_eq!(start.socket_dir, DEFAULT_SOCKET_DIR);
        let reply: serde_json::Value = serde_json::from_slice(&start.reply("unix:///a").unwrap()).unwrap();
        assert_eq!(reply, serde_json::json!({"version": 2, "address": "unix:///a", "protocol": "ttrpc"}));
    }

    #[test]
    fn runtime_options_are_not_taken_for_parameters() {
        let options = Any { type_url: "containerd.runc.v1.Options".into(), value: vec![0x38, 1], ..Any::default() };
        let start = StartParams::decide(&options.write_to_bytes().unwrap(), &flags(), env).unwrap();
        assert_eq!(start.protocol, Protocol::Legacy);
    }

    #[test]
    fn parameters_of_another_container_are_refused() {
        let mut other = params();
        other.instance_id = "c2".into();
        let refused = StartParams::decide(&other.write_to_bytes().unwrap(), &flags(), env);
        assert!(matches!(refused, Err(ParamsError::OtherContainer { .. })));
    }

    #[test]
    fn an_address_for_events_is_needed() {
        let refused = StartParams::decide(b"", &flags(), |_| String::new());
        assert!(matches!(refused, Err(ParamsError::NoTtrpcAddress)));
    }
}
