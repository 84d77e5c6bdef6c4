//! `image.denied` and `image.allowed`: lists of digests.

use super::image::ImageCase;
use crate::image::ImageFacts;
use crate::sheet::{Found, Sheet};

pub(super) fn denied(facts: &ImageFacts, case: &ImageCase<'_>, sheet: &mut Sheet) {
    if let Some(Some(why)) = case.seen(&facts.denied, "denied digests", sheet) {
        let reason =
            if why.is_empty() { "the image is denied".to_owned() } else { format!("the image is denied: {why}") };
        sheet.refuses(
            Found::new("/task/image/digest", facts.digest.as_str(), reason),
            "images that [images] denied does not list",
        );
    }
}

pub(super) fn allowed(facts: &ImageFacts, case: &ImageCase<'_>, sheet: &mut Sheet) {
    if case.seen(&facts.allowed, "allowed digests", sheet) == Some(&false) {
        let found = Found::new("/task/image/digest", facts.digest.as_str(), "the image is not on the list");
        sheet.refuses(found, "images that [images] allowed lists");
    }
}
