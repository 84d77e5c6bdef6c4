//! `image.digest`.

use super::image::{ImageCase, name_of};
use crate::image::{ImageFacts, ImageReference};
use crate::sheet::{Found, Sheet};

/// Where the pod's author wrote a name, that one must have the digest, since containerd keeps one entry for several names. What is written
/// there counts only as far as it is what runs.
pub(super) fn judge(facts: &ImageFacts, case: &ImageCase<'_>, sheet: &mut Sheet) {
    let Some(name) = name_of(facts, sheet) else { return };
    let asked = ImageReference::parse(&case.identity.image_name).unwrap_or_else(|_| name.clone());
    let reason = match asked.digest() {
        Some(digest) if digest == facts.digest || digest == facts.manifest => return,
        Some(digest) => format!("the image was asked for as {digest}, and is {}", facts.digest),
        None => "the image was asked for without a digest".to_owned(),
    };
    let allowed = format!("{}@{}", name.repository(), facts.digest);
    sheet.refuses(Found::new("/task/image/name", asked.to_string(), reason), allowed);
}
