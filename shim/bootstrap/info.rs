//! `-info`: name, version and features of the runtime, as protobuf `RuntimeInfo`.
//!
//! CRI asks at startup and decides by the answer whether the handler may be used with user namespaces and
//! recursive read-only mounts; nothing is claimed here that the runtime can't do. Idmapped mounts are the shim's own work, whatever the
//! runtime is, so whether there are any is the kernel's to say; but a runtime that knows nothing of them is too old for a pod's user namespace (runc 1.1
//! can't mount the pod's `/dev/shm` there).

use std::io;
use std::process::{Command, Stdio};

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{Message as _, MessageField};
use containerd_shim_protos::types::introspection::{RuntimeInfo, RuntimeVersion};
use serde_json::{Value, json};
use thiserror::Error;

use super::params::{ParamsError, read_stdin};
use crate::gate::{PolicyFileError, PolicySource};
use crate::runtime::OciRuntime;
use crate::user_namespace::can_idmap;

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
    /// What it has printed, or is made of it, is no JSON.
    #[error("read the OCI runtime's features")]
    Document(#[source] serde_json::Error),
    /// A section of it is none.
    #[error("the OCI runtime's features are no features document")]
    Shape,
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
        with_idmapped_mounts(&output.stdout, runtime.is_embedded(), can_idmap())
    } else {
        Err(InfoError::Failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// The runtime's document with what the shim does in its place. Source: OCI runtime-spec features-linux.md "mountExtensions".
fn with_idmapped_mounts(document: &[u8], embedded: bool, kernel: bool) -> Result<Vec<u8>, InfoError> {
    let mut features: Value = serde_json::from_slice(document).map_err(InfoError::Document)?;
    let says = features.pointer("/linux/mountExtensions/idmap/enabled").and_then(Value::as_bool).unwrap_or(false);
    let can = kernel && (embedded || says);
    let mut section = &mut features;
    for name in ["linux", "mountExtensions"] {
        let part = section.as_object_mut().ok_or(InfoError::Shape)?;
        section = part.entry(name).or_insert_with(|| json!({}));
    }
    section.as_object_mut().ok_or(InfoError::Shape)?.insert("idmap".into(), json!({ "enabled": can }));
    serde_json::to_vec(&features).map_err(InfoError::Document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_and_runtime_say_whether_there_are_idmapped_mounts_and_the_runtime_all_else() {
        let old = json!({"ociVersionMin": "1.0.0"});
        let new = json!({"linux": {"mountExtensions": {"idmap": {"enabled": true}, "other": 1}, "seccomp": 2}});
        for (document, embedded, kernel, can) in [
            (&old, true, true, true),
            (&old, true, false, false),
            (&old, false, true, false),
            (&new, false, true, true),
            (&new, false, false, false),
        ] {
            let made = with_idmapped_mounts(document.to_string().as_bytes(), embedded, kernel).unwrap();
            let mut made: Value = serde_json::from_slice(&made).unwrap();
            assert_eq!(made["linux"]["mountExtensions"]["idmap"]["enabled"], json!(can));
            for kept in ["/ociVersionMin", "/linux/mountExtensions/other", "/linux/seccomp"] {
                assert_eq!(made.pointer_mut(kept), document.clone().pointer_mut(kept), "{kept}");
            }
        }
        assert!(with_idmapped_mounts(b"[]", true, true).is_err());
        assert!(with_idmapped_mounts(br#"{"linux": []}"#, true, true).is_err());
    }
}
