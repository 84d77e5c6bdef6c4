//! Content that is what its digest says.

use palisade_policy::is_digest;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::containerd::Containerd;
use super::error::ImageError;

/// Longest index, manifest, configuration or signature, in bytes. Registries take manifests of 4 MiB.
const MAX_BLOB: usize = 4 << 20;

/// Reads a blob and checks it; `None` where it is not there.
pub(super) async fn read(containerd: &Containerd, digest: &str) -> Result<Option<Vec<u8>>, ImageError> {
    if !is_digest(digest) {
        return Err(ImageError::Digest(digest.to_owned()));
    }
    let bytes = containerd.content(digest, MAX_BLOB).await?;
    match bytes {
        Some(bytes) if sha256(&bytes) != digest => Err(ImageError::OtherContent(digest.to_owned())),
        bytes => Ok(bytes),
    }
}

pub(super) fn parse<T: DeserializeOwned>(digest: &str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|source| ImageError::Json { digest: digest.to_owned(), source })
}

/// The digest of bytes, `sha256:` and 64 digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
