//! `image.labels`.

use super::image::ImageCase;
use crate::image::ImageFacts;
use crate::sheet::{Found, Sheet};

/// Labels are the image author's word: they tell of what an author says openly (`maintainer`, `stage=test`), and keep out nobody who lies.
pub(super) fn judge(facts: &ImageFacts, case: &ImageCase<'_>, sheet: &mut Sheet) {
    let Some(labels) = case.seen(&facts.labels, "configuration", sheet) else { return };
    for denied in &case.settings.image_labels {
        let (key, value) = denied.split_once('=').map_or((denied.as_str(), None), |(key, value)| (key, Some(value)));
        let Some(found) = labels.get(key).filter(|found| value.is_none_or(|value| fits(value, found))) else {
            continue;
        };
        let reason = format!("the image has the label {denied}");
        sheet.refuses(
            Found::new(format!("/task/image/labels/{}", pointer(key)), found.as_str(), reason),
            "images without it",
        );
    }
}

/// A `*` at the end stands for whatever follows.
fn fits(pattern: &str, value: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == value, |beginning| value.starts_with(beginning))
}

/// Source: RFC 6901 §3.
fn pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
