//! What the rules about images have in common: what they go by, and what becomes of an image that could not be looked at.

use serde_json::Value;

use crate::day::Day;
use crate::identity::Identity;
use crate::image::{ImageAnswer, ImageFacts, ImageReference, ImageSettings, Looked, OnError};
use crate::profile::Settings;
use crate::sheet::{Found, Sheet};
use crate::task::RootfsMount;

/// What an image is judged by.
pub(crate) struct ImageCase<'a> {
    pub(crate) answer: &'a ImageAnswer,
    /// What becomes the root filesystem; `None` where there is no container yet.
    pub(crate) rootfs: Option<&'a [RootfsMount<'a>]>,
    pub(crate) identity: &'a Identity,
    pub(crate) settings: &'a Settings,
    pub(crate) images: &'a ImageSettings,
    pub(crate) today: Day,
}

/// A rule about images.
pub(crate) type ImageRule = fn(&ImageFacts, &ImageCase<'_>, &mut Sheet);

/// Lets a rule judge what was found, if it is certain that the container is made of it.
pub(crate) fn judge(rule: ImageRule, case: &ImageCase<'_>, sheet: &mut Sheet) {
    match case.answer {
        ImageAnswer::Offline => {}
        ImageAnswer::NotAsked => case.unknown("nobody asked for the image", sheet),
        ImageAnswer::Unknown(why) => case.unknown(why, sheet),
        ImageAnswer::Known(facts) => match case.rootfs.map_or(Ok(()), |rootfs| facts.is_made_of(rootfs)) {
            Ok(()) => rule(facts, case, sheet),
            Err(why) => case.unknown(why, sheet),
        },
    }
}

impl ImageCase<'_> {
    /// Writes down that something could not be looked at: refused or let pass as the policy says.
    pub(super) fn unknown(&self, why: &str, sheet: &mut Sheet) {
        let found = Found::new("/task/image", Value::Null, format!("the image could not be looked at: {why}"));
        let allowed = "an image that containerd tells of ([images] on_error)";
        match self.images.on_error {
            OnError::Deny => sheet.refuses(found, allowed),
            OnError::Audit => sheet.watches(found, allowed),
        }
    }

    /// A part of the facts, or `None` where that was written down to be missing.
    pub(super) fn seen<'a, T>(&self, part: &'a Looked<T>, what: &str, sheet: &mut Sheet) -> Option<&'a T> {
        match part {
            Looked::Seen(value) => return Some(value),
            Looked::Not => self.unknown(&format!("[images] has no {what}"), sheet),
            Looked::Failed(why) => self.unknown(&format!("{what}: {why}"), sheet),
        }
        None
    }
}

/// The name as the rules read it; a name that is none is a finding.
pub(super) fn name_of(facts: &ImageFacts, sheet: &mut Sheet) -> Option<ImageReference> {
    match ImageReference::parse(&facts.name) {
        Ok(name) => Some(name),
        Err(why) => {
            let found = Found::new("/task/image/name", facts.name.as_str(), format!("the image's name {why}"));
            sheet.refuses(found, "a name of registry, repository and tag or digest");
            None
        }
    }
}
