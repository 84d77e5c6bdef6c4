//! Why manifests could not be judged.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::report::plain;
use crate::yaml::YamlError;

#[derive(Debug, Error)]
pub(crate) enum KubernetesError {
    #[error("read {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path:?} is no text in UTF-8")]
    Text { path: PathBuf },
    #[error("{path:?}")]
    Yaml {
        path: PathBuf,
        #[source]
        source: YamlError,
    },
    #[error("{path:?}, document {document}, line {line}: {}: {}", plain(.place), plain(.reason))]
    Field { path: PathBuf, document: usize, line: usize, place: String, reason: String },
    #[error("{directory:?} holds no manifest")]
    NoManifest { directory: PathBuf },
    #[error("{directory:?} holds more than {most} files")]
    TooManyFiles { directory: PathBuf, most: usize },
    #[error("--node {given:?} is none of the facts of a node, or not a value of it; there are {known}")]
    NodeFact { given: String, known: &'static str },
    #[error("{option} {given:?} is not NAME=FILE")]
    NotAPair { option: &'static str, given: String },
    #[error("{path:?} is no image's configuration: {reason}")]
    ImageConfig { path: PathBuf, reason: String },
    #[error("{path:?} is no CDI specification: {reason}")]
    Cdi { path: PathBuf, reason: String },
}
