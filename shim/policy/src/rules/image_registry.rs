//! `image.registry`.

use super::image::{ImageCase, name_of};
use crate::image::ImageFacts;
use crate::sheet::{Found, Sheet};

/// The repository by which containerd has the image, not the one that an annotation names.
pub(super) fn judge(facts: &ImageFacts, case: &ImageCase<'_>, sheet: &mut Sheet) {
    let Some(name) = name_of(facts, sheet) else { return };
    let listed = &case.settings.image_repositories;
    if listed.iter().any(|pattern| pattern.covers(&name)) {
        return;
    }
    let reason = format!("repository {} is not on the list", name.repository());
    let allowed: Vec<String> = listed.iter().map(ToString::to_string).collect();
    let allowed = if allowed.is_empty() { "none, the list is empty".to_owned() } else { allowed.join(", ") };
    sheet.refuses(Found::new("/task/image/name", facts.name.as_str(), reason), allowed);
}
