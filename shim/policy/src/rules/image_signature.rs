//! `image.signature`.

use super::image::{ImageCase, name_of};
use crate::image::{ImageFacts, ImageReference, Signed};
use crate::sheet::{Found, Sheet};

/// A signature that holds is over the digest. One over the digest alone could be carried to another repository's name.
pub(super) fn judge(facts: &ImageFacts, case: &ImageCase<'_>, sheet: &mut Sheet) {
    let Some(signatures) = case.seen(&facts.signatures, "keys", sheet) else { return };
    let Some(name) = name_of(facts, sheet) else { return };
    let signers = &case.settings.image_signers;
    let by_one: Vec<&Signed> =
        signatures.iter().filter(|signed| signers.is_empty() || signers.contains(&signed.key)).collect();
    let counts = |signed: &&Signed| !case.images.signed_repository || is_for(signed, &name);
    if by_one.iter().any(counts) {
        return;
    }
    let reason = match by_one.first() {
        None => "no signature of one of the keys is there".to_owned(),
        Some(Signed { key, repository: Some(other) }) => format!("{key} has signed it as {other}"),
        Some(Signed { key, repository: None }) => format!("{key} has signed it without a repository"),
    };
    let keys = if signers.is_empty() { "a key of [images.keys]".to_owned() } else { signers.join(", ") };
    let allowed = format!("{} signed by {keys}", name.repository());
    sheet.refuses(Found::new("/task/image/digest", facts.digest.as_str(), reason), allowed);
}

fn is_for(signed: &Signed, name: &ImageReference) -> bool {
    let signed = signed.repository.as_deref().and_then(|text| ImageReference::parse(text).ok());
    signed.is_some_and(|signed| signed.repository() == name.repository())
}
