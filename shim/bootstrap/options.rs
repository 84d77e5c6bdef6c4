//! Runtime options: what a client of containerd may ask of a shim beside the spec.
//!
//! Two types arrive: `containerd.runc.v1.Options` when the handler is configured as `io.containerd.runc.v2`
//! with a `runtime_path` (and from CRI for user namespaces in any case), and `runtimeoptions.v1.Options` for
//! a runtime type of its own, whose body is the TOML of the handler's `options` table. None of them may name
//! a binary, a directory or a policy: the gate's rule `task.options` judges the values that are read here.

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{self, CodedInputStream, Message as _};
use containerd_shim_protos::shim::oci::Options;
use palisade_policy::RuntimeOptions;
use thiserror::Error;

/// Why options are not understood.
#[derive(Debug, Error)]
pub enum OptionsError {
    /// Their type is none that containerd sends to a shim of this kind.
    #[error(
        "runtime options of type {0:?} are not understood; known: containerd.runc.v1.Options, runtimeoptions.v1.Options"
    )]
    UnknownType(String),
    /// They don't decode.
    #[error("runtime options do not decode")]
    Decode(#[source] protobuf::Error),
    /// The `options` table of the handler holds a key that palisade does not take from there.
    #[error(
        "option {0:?} of the runtime handler is not taken from containerd's configuration; set it in palisade's policy file"
    )]
    UnknownKey(String),
    /// A path to a configuration file of its own.
    #[error(
        "ConfigPath {0:?} is refused: the policy is named by the node's admin only, by PALISADE_CONFIG in containerd's environment"
    )]
    ConfigPath(String),
}

/// Decodes options by their type; no options are empty options.
///
/// # Errors
///
/// [`OptionsError`]; unknown types and keys are refused, since an option that is ignored is one that
/// somebody relies on.
pub fn runtime_options(options: Option<&Any>) -> Result<RuntimeOptions, OptionsError> {
    let Some(any) = options.filter(|any| !any.type_url.is_empty()) else { return Ok(RuntimeOptions::default()) };
    // Both forms of the URL are in use: bare, and with a host in front.
    match any.type_url.rsplit('/').next().unwrap_or_default() {
        "containerd.runc.v1.Options" => runc_options(&any.value),
        "runtimeoptions.v1.Options" => handler_options(&any.value),
        other => Err(OptionsError::UnknownType(other.into())),
    }
}

fn runc_options(value: &[u8]) -> Result<RuntimeOptions, OptionsError> {
    let options = Options::parse_from_bytes(value).map_err(OptionsError::Decode)?;
    Ok(RuntimeOptions {
        binary_name: options.binary_name,
        root: options.root,
        no_pivot_root: options.no_pivot_root,
        no_new_keyring: options.no_new_keyring,
        shim_cgroup: options.shim_cgroup,
        criu_image_path: options.criu_image_path,
        criu_work_path: options.criu_work_path,
    })
}

/// The message `runtimeoptions.v1.Options`: type_url = 1, config_path = 2, config_body = 3.
/// Source: containerd `api/types/runtimeoptions/v1/api.proto`.
fn handler_options(value: &[u8]) -> Result<RuntimeOptions, OptionsError> {
    let mut input = CodedInputStream::from_bytes(value);
    while let Some(tag) = input.read_raw_tag_or_eof().map_err(OptionsError::Decode)? {
        // A length-delimited field's tag is its number times eight plus two.
        let field = tag >> 3;
        let bytes = input.read_bytes().map_err(OptionsError::Decode)?;
        match field {
            2 if !bytes.is_empty() => {
                return Err(OptionsError::ConfigPath(String::from_utf8_lossy(&bytes).into_owned()));
            }
            3 => check_body(&String::from_utf8_lossy(&bytes))?,
            _ => {}
        }
    }
    Ok(RuntimeOptions::default())
}

/// `SystemdCgroup` is the one key that nodes have there by habit; the form of the cgroups path says the same.
fn check_body(body: &str) -> Result<(), OptionsError> {
    let keys = body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in keys {
        let key = line.split('=').next().unwrap_or_default().trim().trim_matches('"');
        if key != "SystemdCgroup" {
            return Err(OptionsError::UnknownKey(key.into()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(type_url: &str, value: Vec<u8>) -> Any {
        Any { type_url: type_url.into(), value, ..Any::default() }
    }

    fn handler(field: u8, text: &str) -> Any {
        let mut value = vec![field << 3 | 2, u8::try_from(text.len()).unwrap()];
        value.extend_from_slice(text.as_bytes());
        any("runtimeoptions.v1.Options", value)
    }

    #[test]
    fn runc_options_arrive_as_values() {
        let options = Options { binary_name: "/tmp/evil".into(), no_pivot_root: true, ..Options::default() };
        let any = any("types.containerd.io/containerd.runc.v1.Options", options.write_to_bytes().unwrap());
        let read = runtime_options(Some(&any)).unwrap();
        assert_eq!((read.binary_name.as_str(), read.no_pivot_root), ("/tmp/evil", true));
    }

    #[test]
    fn the_handlers_table_may_only_hold_systemd_cgroup() {
        assert!(runtime_options(Some(&handler(3, "SystemdCgroup = true\n"))).is_ok());
        let refused = runtime_options(Some(&handler(3, "BinaryName = \"/bin/x\"\n")));
        assert!(matches!(refused, Err(OptionsError::UnknownKey(key)) if key == "BinaryName"));
        let refused = runtime_options(Some(&handler(2, "/tmp/policy.toml")));
        assert!(matches!(refused, Err(OptionsError::ConfigPath(_))));
    }

    #[test]
    fn no_options_are_empty_and_unknown_ones_refused() {
        assert!(runtime_options(None).is_ok());
        assert!(matches!(runtime_options(Some(&any("a.b.C", vec![]))), Err(OptionsError::UnknownType(_))));
        assert!(matches!(
            runtime_options(Some(&any("containerd.runc.v1.Options", vec![0xff]))),
            Err(OptionsError::Decode(_))
        ));
    }
}
