//! cosign's signatures as a Sigstore bundle with a DSSE envelope, which cosign 3 writes: a statement of in-toto about a digest.
//!
//! The key is the policy's; certificates and transparency logs that a bundle may hold are not looked at. Source: sigstore
//! `protobuf-specs/protos/sigstore_bundle.proto`, in-toto `spec/v1/statement.md`, secure-systems-lab/dsse `protocol.md`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_policy::Signed;
use serde::Deserialize;

use super::key::Key;

/// How the types of bundles begin; the version follows.
pub(super) const TYPE: &str = "application/vnd.dev.sigstore.bundle";
/// What is in the envelope.
const PAYLOAD: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// That the image is signed, and not what a scanner says of it or which parts it has.
const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

/// Who has signed one of `digests` by this bundle. Such a statement has no place for a repository.
pub(super) fn signed_by(bundle: &[u8], digests: &[&str], keys: &[Key]) -> Vec<Signed> {
    let Ok(bundle) = serde_json::from_slice::<Bundle>(bundle) else { return Vec::new() };
    let envelope = bundle.dsse_envelope;
    if !bundle.media_type.starts_with(TYPE) || envelope.payload_type != PAYLOAD {
        return Vec::new();
    }
    let Ok(payload) = STANDARD.decode(&envelope.payload) else { return Vec::new() };
    if !is_about(&payload, digests) {
        return Vec::new();
    }
    let encoded = authenticated(&envelope.payload_type, &payload);
    let signatures: Vec<Vec<u8>> = envelope
        .signatures
        .iter()
        .take(keys.len())
        .filter_map(|signature| STANDARD.decode(&signature.sig).ok())
        .collect();
    let signers = keys.iter().filter(|key| signatures.iter().any(|signature| key.has_signed(&encoded, signature)));
    signers.map(|key| Signed { key: key.name.clone(), repository: None }).collect()
}

fn is_about(payload: &[u8], digests: &[&str]) -> bool {
    let Ok(statement) = serde_json::from_slice::<Statement>(payload) else { return false };
    let named = statement.subject.iter().filter_map(|subject| subject.digest.get("sha256"));
    let mut named = named.map(|hex| format!("sha256:{hex}"));
    statement.kind == STATEMENT
        && statement.predicate_type == SIGNED
        && named.any(|digest| digests.contains(&digest.as_str()))
}

/// DSSE's "pre-authentication encoding".
fn authenticated(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}
