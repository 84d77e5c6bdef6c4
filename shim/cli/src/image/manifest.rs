//! Indexes, manifests and configurations, as OCI and Docker write them.
//!
//! Source: OCI image-spec `image-index.md`, `manifest.md`, `config.md` ("Layer ChainID").

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::blob::sha256;
use super::error::ImageError;
use palisade_policy::is_digest;

const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];

/// What a document points to.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pointer {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    #[serde(default)]
    pub(super) platform: Option<Platform>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) os: String,
}

/// An index or a manifest: which of the two, its fields say.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(default)]
    pub(super) manifests: Option<Vec<Pointer>>,
    #[serde(default)]
    pub(super) config: Option<Pointer>,
    #[serde(default)]
    pub(super) layers: Option<Vec<Pointer>>,
}

/// The configuration of an image.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) created: Option<String>,
    #[serde(default)]
    pub(super) config: Option<Settings>,
    pub(super) rootfs: Rootfs,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Settings {
    #[serde(rename = "Labels", default)]
    pub(super) labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rootfs {
    pub(super) diff_ids: Vec<String>,
}

pub(super) fn is_index(media_type: &str) -> bool {
    INDEXES.contains(&media_type)
}

pub(super) fn is_manifest(media_type: &str) -> bool {
    MANIFESTS.contains(&media_type)
}

impl Document {
    /// What could be read as both is neither (CVE-2021-41190).
    pub(super) fn check(&self, digest: &str) -> Result<(), ImageError> {
        let both = self.manifests.is_some() && (self.config.is_some() || self.layers.is_some());
        if both { Err(ImageError::Ambiguous(digest.to_owned())) } else { Ok(()) }
    }
}

impl Rootfs {
    /// The name of the snapshot that has all layers; empty for an image without any.
    pub(super) fn chain_id(&self) -> Result<String, ImageError> {
        let mut chain = String::new();
        for layer in &self.diff_ids {
            if !is_digest(layer) {
                return Err(ImageError::Digest(layer.clone()));
            }
            chain = if chain.is_empty() { layer.clone() } else { sha256(format!("{chain} {layer}").as_bytes()) };
        }
        Ok(chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_hashed_from_the_bottom_up() {
        let (one, two) = (sha256(b"1"), sha256(b"2"));
        let of = |layers: &[&String]| Rootfs { diff_ids: layers.iter().copied().cloned().collect() }.chain_id();
        assert_eq!(of(&[]).unwrap(), "");
        assert_eq!(of(&[&one]).unwrap(), one);
        assert_eq!(of(&[&one, &two]).unwrap(), sha256(format!("{one} {two}").as_bytes()));
        assert_ne!(of(&[&two, &one]).unwrap(), of(&[&one, &two]).unwrap());
        assert!(of(&[&"sha256:0".to_owned()]).is_err());
    }

    #[test]
    fn what_is_index_and_manifest_is_neither() {
        let read = |text: &str| serde_json::from_str::<Document>(text).unwrap().check("x").is_ok();
        assert!(read(r#"{"manifests":[]}"#) && read(r#"{"config":{"digest":"d"},"layers":[]}"#));
        assert!(!read(r#"{"manifests":[],"layers":[]}"#) && !read(r#"{"manifests":[],"config":{"digest":"d"}}"#));
    }
}
