//! cosign's signatures in the form of "simple signing": a small document that names digest and repository, signed as it is.
//!
//! Source: cosign `specs/SIGNATURE_SPEC.md`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_policy::Signed;
use serde::Deserialize;

use super::key::Key;

/// The type of a layer that is such a document.
pub(super) const LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation of that layer with the signature in base64.
pub(super) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// What the document says of itself.
const TYPE: &str = "cosign container image signature";

#[derive(Deserialize)]
struct Document {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Identity {
    #[serde(rename = "docker-reference", default)]
    reference: Option<String>,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Who has signed one of `digests` by this document. Nothing of the document is believed that no key has signed.
pub(super) fn signed_by(payload: &[u8], signature: &str, digests: &[&str], keys: &[Key]) -> Vec<Signed> {
    let Ok(signature) = STANDARD.decode(signature.trim()) else { return Vec::new() };
    let signers = keys.iter().filter(|key| key.has_signed(payload, &signature));
    let Ok(document) = serde_json::from_slice::<Document>(payload) else { return Vec::new() };
    let critical = document.critical;
    if critical.kind != TYPE || !digests.contains(&critical.image.digest.as_str()) {
        return Vec::new();
    }
    let repository = critical.identity.reference.filter(|reference| !reference.is_empty());
    signers.map(|key| Signed { key: key.name.clone(), repository: repository.clone() }).collect()
}
