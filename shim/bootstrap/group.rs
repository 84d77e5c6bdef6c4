//! Which containers share a daemon: those of one pod.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::start::StartError;
use crate::bundle::OciBundle;

/// Set by CRI on the sandbox and on each container of the pod.
const SANDBOX_ID: &str = "io.kubernetes.cri.sandbox-id";
/// Set by other clients of containerd (nerdctl, tests) to group containers.
const RUNC_GROUP: &str = "io.containerd.runc.v2.group";

/// Only the annotations: the gate parses and judges the whole spec later, from the bytes it hands on.
#[derive(Deserialize)]
struct Annotated {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The group of the container whose bundle this is; the container's own id where it names none.
///
/// The sandbox id comes first, unlike in the runc shim: the group annotation can be a pod author's
/// (through the handler's `pod_annotations`), and must not move a container into another pod's shim.
pub(super) fn group_of(bundle: &OciBundle, id: &str) -> Result<String, StartError> {
    let config = bundle.read_config().map_err(StartError::Bundle)?;
    let spec: Annotated = serde_json::from_slice(&config).map_err(StartError::Config)?;
    let annotation = |key| spec.annotations.get(key).filter(|value| !value.is_empty());
    Ok(annotation(SANDBOX_ID).or_else(|| annotation(RUNC_GROUP)).cloned().unwrap_or_else(|| id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(config: &str) -> Result<String, StartError> {
        let root = std::env::temp_dir().join(format!("palisade-group-{}-{:x}", std::process::id(), config.len()));
        let dir = root.join("ns/c1");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("config.json"), config).unwrap();
        let group = group_of(&OciBundle::open(&dir, "ns", "c1").unwrap(), "c1");
        std::fs::remove_dir_all(root).unwrap();
        group
    }

    #[test]
    fn a_pod_is_a_group() {
        assert_eq!(group(r#"{"annotations":{"io.kubernetes.cri.sandbox-id":"pod"}}"#).unwrap(), "pod");
    }

    #[test]
    fn the_group_annotation_cannot_leave_the_pod() {
        let config = r#"{"annotations":{"io.containerd.runc.v2.group":"other","io.kubernetes.cri.sandbox-id":"pod"}}"#;
        assert_eq!(group(config).unwrap(), "pod");
    }

    #[test]
    fn the_group_annotation_counts_outside_pods() {
        assert_eq!(group(r#"{"annotations":{"io.containerd.runc.v2.group":"g"}}"#).unwrap(), "g");
        assert_eq!(group("{}").unwrap(), "c1");
    }

    #[test]
    fn a_config_that_does_not_parse_is_an_error() {
        assert!(matches!(group("{"), Err(StartError::Config(_))));
    }
}
