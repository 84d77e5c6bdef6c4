//! Content that is what its digest says.

use palisade_policy::is_digest;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::containerd::Containerd;
use super::error::ImageError;

/// Longest index, manifest, configuration or signature, in bytes. Registries take manifests of 4 MiB.
const MAX_BLOB: usize = 4 << 20;

/// Longest part of a signature, in bytes. Those of cosign have some KiB.
const MAX_PART: usize = 256 << 10;

/// Reads a blob and checks it; `None` where it is not there.
pub(super) async fn read(containerd: &Containerd, digest: &str) -> Result<Option<Vec<u8>>, ImageError> {
    read_bounded(containerd, digest, MAX_BLOB).await
}

/// Reads what may be a part of a signature; `None` where it is not there or can be none. Whoever may push to an image's repository chooses what
/// stands under the names of its signatures, and must not make the image one of which nothing can be told.
pub(super) async fn read_part(containerd: &Containerd, digest: &str) -> Result<Option<Vec<u8>>, ImageError> {
    match read_bounded(containerd, digest, MAX_PART).await {
        Err(ImageError::Digest(_) | ImageError::OtherContent(_) | ImageError::TooLong { .. }) => Ok(None),
        read => read,
    }
}

async fn read_bounded(containerd: &Containerd, digest: &str, most: usize) -> Result<Option<Vec<u8>>, ImageError> {
    if !is_digest(digest) {
        return Err(ImageError::Digest(digest.to_owned()));
    }
    let bytes = containerd.content(digest, most).await?;
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
