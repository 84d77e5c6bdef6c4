//! The name by which a container's image was asked for.
//!
//! Of several names of one content CRI keeps with a container the one that sorts first (containerd `internal/cri/store/image`), and whoever can
//! bring the same image under another name to the node chooses that one. So the name that CRI says was asked for is tried first. It counts only if
//! it leads to what really runs, as any other.

use palisade_policy::ImageReference;
use serde::Deserialize;

/// What CRI writes for a container and for a sandbox (containerd `pkg/cri/annotations`).
const IMAGE: &str = "io.kubernetes.cri.image-name";
const SANDBOX_IMAGE: &str = "io.kubernetes.cri.podsandbox.image-name";

#[derive(Deserialize, Default)]
struct Spec {
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

/// The names of containerd's store under which an image of this specification can have been asked for; none where CRI has no part in it.
pub(super) fn names(spec: &[u8]) -> Vec<String> {
    let spec: Spec = serde_json::from_slice(spec).unwrap_or_default();
    let asked = [IMAGE, SANDBOX_IMAGE].iter().find_map(|key| spec.annotations.get(*key));
    let Some(reference) = asked.and_then(|name| ImageReference::parse(name).ok()) else { return Vec::new() };
    match (reference.tag(), reference.digest()) {
        // CRI leaves out a tag beside a digest, and keeps the name with the tag where it was fetched by it.
        (Some(_), Some(digest)) => vec![format!("{}@{digest}", reference.repository()), reference.to_string()],
        (None, None) => vec![format!("{}:latest", reference.repository())],
        _ => vec![reference.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &str, name: &str) -> Vec<String> {
        names(serde_json::json!({ "annotations": { key: name } }).to_string().as_bytes())
    }

    #[test]
    fn a_name_is_that_of_the_store() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(of(IMAGE, "nginx"), ["docker.io/library/nginx:latest"]);
        assert_eq!(of(IMAGE, "registry.example:5000/a/b:1"), ["registry.example:5000/a/b:1"]);
        assert_eq!(of(SANDBOX_IMAGE, "registry.k8s.io/pause:3.10"), ["registry.k8s.io/pause:3.10"]);
        assert_eq!(of(IMAGE, &format!("nginx@{digest}")), [format!("docker.io/library/nginx@{digest}")]);
        let both = of(IMAGE, &format!("nginx:1@{digest}"));
        assert_eq!(both.first(), Some(&format!("docker.io/library/nginx@{digest}")));
        assert_eq!(both.len(), 2);
    }

    #[test]
    fn what_names_nothing_is_not_asked_for() {
        assert!(of(IMAGE, "Nginx:1").is_empty() && of("other", "nginx").is_empty());
        assert!(names(b"").is_empty() && names(b"{}").is_empty());
    }
}
