//! Where signatures of an image may be: in the admin's directory, and in containerd's image store under the names that cosign gives them.

use std::path::Path;

use palisade::gate::{admins_file, admins_files};
use palisade_policy::{ImageFacts, ImageReference, ImageSettings, Looked, Signed};
use serde_json::Value;

use super::containerd::Containerd;
use super::error::{ImageError, shown};
use super::key::Key;
use super::manifest::{Document, Pointer, is_index};
use super::{blob, bundle, simple_signing};

/// Most signatures that are looked at in one place: each is held against each key.
const MAX_SIGNATURES: usize = 16;
/// Longest file of a signature, in bytes.
const MAX_FILE: u64 = 1 << 20;

pub(super) async fn look(facts: &mut ImageFacts, settings: &ImageSettings, containerd: Option<&Containerd>) {
    if settings.keys.is_empty() {
        return;
    }
    facts.signatures = match signatures_of(facts, settings, containerd).await {
        Ok(signed) => Looked::Seen(signed),
        Err(error) => Looked::Failed(error.chain()),
    };
}

async fn signatures_of(
    facts: &ImageFacts,
    settings: &ImageSettings,
    containerd: Option<&Containerd>,
) -> Result<Vec<Signed>, ImageError> {
    let keys: Vec<Key> = settings.keys.iter().map(Key::read).collect::<Result<_, _>>()?;
    // A configuration is signed by nobody.
    let mut digests: Vec<&str> = vec![&facts.digest, &facts.manifest];
    digests.retain(|digest| !digest.is_empty());
    digests.dedup();
    let mut signed = Vec::new();
    if let Some(dir) = &settings.signatures {
        signed.extend(in_directory(dir, &digests, &keys)?);
    }
    if let Some(containerd) = containerd
        && let Ok(name) = ImageReference::parse(&facts.name)
    {
        for digest in &digests {
            let tag = format!("{}:{}", name.repository(), digest.replace(':', "-"));
            signed.extend(in_store(containerd, &format!("{tag}.sig"), &digests, &keys).await?);
            signed.extend(in_store(containerd, &tag, &digests, &keys).await?);
        }
    }
    signed.dedup();
    signed.truncate(MAX_SIGNATURES);
    Ok(signed)
}

/// Files called after the digest: `sha256-<hex>….sig` with the signature in base64 beside `….payload` with what is signed, as
/// `cosign sign --output-signature --output-payload` writes them, and `sha256-<hex>….sigstore.json` with a bundle.
fn in_directory(dir: &Path, digests: &[&str], keys: &[Key]) -> Result<Vec<Signed>, ImageError> {
    if !dir.is_dir() {
        return Err(ImageError::Missing { path: shown(dir) });
    }
    let mut signed = Vec::new();
    for digest in digests {
        let files = admins_files(dir, &format!("{}.", digest.replace(':', "-")))?;
        for path in files.iter().take(2 * MAX_SIGNATURES) {
            let name = path.to_string_lossy();
            if name.ends_with(".sigstore.json") {
                let bytes = admins_file(path, MAX_FILE)?.unwrap_or_default();
                signed.extend(bundle::signed_by(&bytes, digests, keys));
            } else if name.ends_with(".sig") {
                let signature = admins_file(path, MAX_FILE)?.unwrap_or_default();
                let payload = admins_file(&path.with_extension("payload"), MAX_FILE)?.unwrap_or_default();
                let signature = String::from_utf8_lossy(&signature);
                signed.extend(simple_signing::signed_by(&payload, &signature, digests, keys));
            }
        }
    }
    Ok(signed)
}

/// What an image of the store has of signatures: a manifest with a layer for each, or an index of such manifests. What is not there or not
/// understood is no signature.
async fn in_store(
    containerd: &Containerd,
    name: &str,
    digests: &[&str],
    keys: &[Key],
) -> Result<Vec<Signed>, ImageError> {
    let Some(target) = containerd.image(name).await? else { return Ok(Vec::new()) };
    let mut manifests = vec![target.digest.clone()];
    if is_index(&target.media_type) {
        let Some(index) = document(containerd, &target.digest).await? else { return Ok(Vec::new()) };
        let all = index.manifests.unwrap_or_default().into_iter();
        manifests = all.take(MAX_SIGNATURES).map(|pointer| pointer.digest).collect();
    }
    let mut layers = Vec::new();
    for manifest in manifests {
        let Some(document) = document(containerd, &manifest).await? else { continue };
        layers.extend(document.layers.unwrap_or_default());
        if layers.len() >= MAX_SIGNATURES {
            break;
        }
    }
    let mut signed = Vec::new();
    for layer in layers.iter().take(MAX_SIGNATURES) {
        signed.extend(in_layer(containerd, layer, digests, keys).await?);
    }
    Ok(signed)
}

async fn document(containerd: &Containerd, digest: &str) -> Result<Option<Document>, ImageError> {
    let bytes = blob::read_part(containerd, digest).await?;
    Ok(bytes.and_then(|bytes| blob::parse(digest, &bytes).ok()))
}

async fn in_layer(
    containerd: &Containerd,
    layer: &Pointer,
    digests: &[&str],
    keys: &[Key],
) -> Result<Vec<Signed>, ImageError> {
    let is_bundle = layer.media_type.starts_with(bundle::TYPE);
    if !is_bundle && layer.media_type != simple_signing::LAYER {
        return Ok(Vec::new());
    }
    let Some(bytes) = blob::read_part(containerd, &layer.digest).await? else { return Ok(Vec::new()) };
    if is_bundle {
        return Ok(bundle::signed_by(&bytes, digests, keys));
    }
    let signature = layer.annotations.get(simple_signing::SIGNATURE).and_then(Value::as_str);
    Ok(signature.map(|signature| simple_signing::signed_by(&bytes, signature, digests, keys)).unwrap_or_default())
}
