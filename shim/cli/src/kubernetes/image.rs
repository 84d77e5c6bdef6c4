//! What an image says of the containers that are made of it (OCI image-spec `config.md`).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::error::KubernetesError;

/// The part of an image's configuration that a container takes over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ImageConfig {
    pub(super) user: String,
    pub(super) env: Vec<String>,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) cmd: Option<Vec<String>>,
    pub(super) volumes: Option<BTreeMap<String, Value>>,
    pub(super) working_dir: String,
}

#[derive(Deserialize)]
struct Document {
    config: Option<ImageConfig>,
}

/// The configurations that were given, by reference.
#[derive(Debug, Clone, Default)]
pub(super) struct Images(BTreeMap<String, ImageConfig>);

impl Images {
    /// Reads what was given as REFERENCE=FILE.
    pub(super) fn read(given: &[String]) -> Result<Self, KubernetesError> {
        let mut images = BTreeMap::new();
        for one in given {
            let pair = one.rsplit_once('=');
            let (reference, file) =
                pair.ok_or_else(|| KubernetesError::NotAPair { option: "--image-config", given: one.clone() })?;
            let path = PathBuf::from(file);
            let bytes = fs::read(&path).map_err(|source| KubernetesError::Read { path: path.clone(), source })?;
            let wrong = |reason: String| KubernetesError::ImageConfig { path: path.clone(), reason };
            let document: Document = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
            let config = document.config.ok_or_else(|| wrong("it has no \"config\"".to_owned()))?;
            images.insert(reference.to_owned(), config);
        }
        Ok(Self(images))
    }

    pub(super) fn of(&self, reference: &str) -> Option<&ImageConfig> {
        self.0.get(reference)
    }
}
