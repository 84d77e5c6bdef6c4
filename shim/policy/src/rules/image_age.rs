//! `image.age`.

use super::image::ImageCase;
use crate::day::Day;
use crate::image::ImageFacts;
use crate::sheet::{Found, Sheet};

/// The date is the builder's word. One that is missing or to come says nothing, and reproducible builds write 1970.
pub(super) fn judge(facts: &ImageFacts, case: &ImageCase<'_>, sheet: &mut Sheet) {
    let Some(most) = case.settings.image_age else { return };
    let Some(created) = case.seen(&facts.created, "configuration", sheet) else { return };
    let reason = match Day::of_rfc3339(created) {
        None => "the image does not say when it was built".to_owned(),
        Some(day) if day > case.today => "the image says that it will be built".to_owned(),
        Some(day) => match case.today.days_since(day) {
            age if age <= i64::from(most) => return,
            age => format!("the image was built {age} days ago"),
        },
    };
    sheet.refuses(
        Found::new("/task/image/created", created.as_str(), reason),
        format!("images of the last {most} days"),
    );
}
