//! Who a container is, as CRI's annotations say.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::spec::SpecError;

/// What part a container plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ContainerKind {
    /// Not made by CRI: `ctr`, nerdctl, another client of containerd.
    #[default]
    Standalone,
    /// The pause container that holds a pod's namespaces.
    Sandbox,
    /// A container of a pod; init, sidecar and ephemeral containers too.
    Container,
}

/// Plain values; an annotation that CRI does not set for this kind of container is empty.
///
/// Source: containerd `internal/cri/annotations`. CRI writes these after any annotation that a pod
/// author can pass through, so for a pod the author cannot forge them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// What part the container plays.
    pub kind: ContainerKind,
    /// Id of the pod's sandbox; the container's own id for the sandbox itself.
    pub sandbox_id: String,
    /// Kubernetes namespace of the pod.
    pub pod_namespace: String,
    /// Name of the pod.
    pub pod_name: String,
    /// UID of the pod, which names its directory below the kubelet's.
    pub pod_uid: String,
    /// Name of the container within the pod; empty for a sandbox.
    pub container_name: String,
    /// Image reference as the user wrote it. It is not evidence of what runs.
    pub image_name: String,
    /// Digest of the image that the container was found to be made of; empty where nobody looked, or it could not be told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image_digest: String,
}

impl Identity {
    /// Id of the pod's sandbox; empty for a container without a pod.
    #[must_use]
    pub fn sandbox_id(&self) -> &str {
        &self.sandbox_id
    }

    pub(crate) fn of(annotations: Option<&HashMap<String, String>>) -> Result<Self, SpecError> {
        let value = |name: &str| {
            let key = format!("io.kubernetes.cri.{name}");
            annotations.and_then(|all| all.get(&key)).cloned().unwrap_or_default()
        };
        let kind = match value("container-type").as_str() {
            "" => ContainerKind::Standalone,
            "sandbox" => ContainerKind::Sandbox,
            "container" => ContainerKind::Container,
            other => return Err(SpecError::ContainerKind { kind: other.to_owned() }),
        };
        Ok(Self {
            kind,
            sandbox_id: value("sandbox-id"),
            pod_namespace: value("sandbox-namespace"),
            pod_name: value("sandbox-name"),
            pod_uid: value("sandbox-uid"),
            container_name: value("container-name"),
            image_name: match kind {
                ContainerKind::Sandbox => value("podsandbox.image-name"),
                ContainerKind::Standalone | ContainerKind::Container => value("image-name"),
            },
            image_digest: String::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(kind: &str) -> HashMap<String, String> {
        [("container-type", kind), ("sandbox-id", "s1"), ("image-name", "app:1"), ("podsandbox.image-name", "pause:3")]
            .map(|(name, value)| (format!("io.kubernetes.cri.{name}"), value.to_owned()))
            .into()
    }

    #[test]
    fn the_kind_decides_which_image_annotation_counts() {
        let sandbox = Identity::of(Some(&annotations("sandbox"))).unwrap();
        assert_eq!((sandbox.kind, sandbox.image_name.as_str()), (ContainerKind::Sandbox, "pause:3"));
        let container = Identity::of(Some(&annotations("container"))).unwrap();
        assert_eq!(container.image_name, "app:1");
        assert_eq!(Identity::of(None).unwrap(), Identity::default());
    }

    #[test]
    fn an_unknown_kind_is_an_error_rather_than_a_default() {
        let error = Identity::of(Some(&annotations("podlet"))).unwrap_err();
        assert!(matches!(error, SpecError::ContainerKind { kind } if kind == "podlet"));
    }
}
