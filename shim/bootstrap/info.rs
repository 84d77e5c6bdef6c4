//! `-info`: name, version and features of the runtime, as protobuf `RuntimeInfo`.
//!
//! CRI asks at startup and decides by the answer whether the handler may be used with user namespaces and
//! recursive read-only mounts; nothing is claimed here that the runtime can't do.

use std::io;
use std::process::{Command, Stdio};

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{Message as _, MessageField};
use containerd_shim_protos::types::introspection::{RuntimeInfo, RuntimeVersion};
use thiserror::Error;

use super::params::{ParamsError, read_stdin};
use crate::gate::{PolicyFileError, PolicySource};
use crate::runtime::OciRuntime;

/// Type under which containerd decodes the features document.
const FEATURES_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

/// Why the runtime can't be described.
#[derive(Debug, Error)]
pub enum InfoError {
    /// stdin can't be read.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The policy, which names the runtime, can't be read.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// The runtime's `features` can't be run.
    #[error("run the OCI runtime's features command")]
    Features(#[source] io::Error),
    /// The runtime's `features` failed.
    #[error("the OCI runtime's features command failed: {0}")]
    Failed(String),
    /// The reply can't be encoded.
    #[error("encode the reply")]
    Encode(#[source] containerd_shim_protos::protobuf::Error),
}

pub(super) fn run() -> Result<Vec<u8>, InfoError> {
    // containerd writes the runtime options here; none of them changes which runtime the admin has chosen.
    read_stdin()?;
    let policy = PolicySource::from_env().load()?;
    let runtime = OciRuntime::chosen_by(policy.policy());
    let info = RuntimeInfo {
        name: super::NAME.into(),
        version: MessageField::some(RuntimeVersion {
            version: env!("CARGO_PKG_VERSION").into(),
            ..RuntimeVersion::default()
        }),
        features: MessageField::some(Any {
            type_url: FEATURES_TYPE.into(),
            value: features(&runtime)?,
            ..Any::default()
        }),
        ..RuntimeInfo::default()
    };
    info.write_to_bytes().map_err(InfoError::Encode)
}

fn features(runtime: &OciRuntime) -> Result<Vec<u8>, InfoError> {
    let mut command: Command = runtime.features();
    let output = command.stdin(Stdio::null()).output().map_err(InfoError::Features)?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(InfoError::Failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}
