//! Why an image could not be looked at.

use std::error::Error as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use palisade::gate::PolicyFileError;
use palisade_policy::VerdictError;
use thiserror::Error;

/// Digits of a digest that a message tells.
const DIGITS: usize = 12;

#[derive(Debug, Error)]
pub(super) enum ImageError {
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    #[error("make an executor")]
    Executor(#[source] io::Error),
    #[error("connect to containerd at {address}")]
    Connect {
        address: String,
        #[source]
        source: tonic::transport::Error,
    },
    #[error("containerd has not answered within {} s ([images] deadline)", deadline.as_secs())]
    Late { deadline: Duration },
    #[error("containerd, {call}: {message}")]
    Call { call: &'static str, message: String },
    #[error("{0:?} can be no id or name")]
    Name(String),
    #[error("the container was made without an image")]
    NoImage,
    #[error("the container has no snapshot")]
    NoSnapshot,
    #[error("{0:?} is no digest")]
    Digest(String),
    #[error("the content of {0} is another than its digest says")]
    OtherContent(String),
    #[error("the content of {digest} is longer than {most} bytes")]
    TooLong { digest: String, most: usize },
    #[error("{digest} is not understood")]
    Json {
        digest: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("{0} is of a type that is no image's")]
    MediaType(String),
    #[error("{0} could be read as an index and as a manifest")]
    Ambiguous(String),
    #[error("the container's snapshot is not made of what {0} is now")]
    Unproven(String),
    #[error("{path}, line {line}: no digest")]
    List { path: String, line: usize },
    #[error("{path} is not there")]
    Missing { path: String },
    #[error("{path}")]
    Verdict {
        path: String,
        #[source]
        source: VerdictError,
    },
    #[error("{path} is about another image")]
    OtherImage { path: String },
    #[error("more than {most} {what} are about the image")]
    TooMany { what: &'static str, most: usize },
    #[error("key {0:?} is no public key of ECDSA P-256 or Ed25519")]
    Key(String),
}

/// A file as a message of one line names it: without its directory, and with few of a digest's digits.
pub(super) fn shown(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.strip_prefix("sha256-").and_then(|rest| Some((rest.get(..DIGITS)?, rest.split_once('.')?.1))) {
        Some((digits, rest)) => format!("sha256-{digits}*.{rest}"),
        None => name.into_owned(),
    }
}

impl ImageError {
    pub(super) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}
