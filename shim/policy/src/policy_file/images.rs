//! The table `[images]`, and the settings of the rules about images.

use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::Source;
use super::error::{Place, PolicyError, PolicyFilesError};
use super::lists::{clean_path, plain_word};
use super::shape::{File, Quantity, RuleTable};
use crate::image::{ImageKey, RepositoryPattern};
use crate::policy::Policy;
use crate::profile::Settings;
use crate::rules::Rule;

/// Seconds that a lookup may take: containerd's client waits for it.
const DEADLINES: RangeInclusive<u64> = 1..=30;
/// Days of an age.
const DAYS: RangeInclusive<u32> = 1..=36_500;
/// How a public key begins and ends. Source: RFC 7468 §13.
const PEM: (&str, &str) = ("-----BEGIN PUBLIC KEY-----\n", "\n-----END PUBLIC KEY-----");
/// Longest key, in bytes.
const MAX_KEY: usize = 4096;
/// Most keys: every signature is held against each.
const MAX_KEYS: usize = 16;

/// Takes what can be there once; `once` refuses what an earlier file has set.
pub(super) fn set(
    policy: &mut Policy,
    file: &File,
    mut once: impl FnMut(&'static str, Range<usize>) -> Result<(), PolicyError>,
    place: &Place,
) -> Result<(), PolicyError> {
    let (table, images) = (&file.images, &mut policy.images);
    for (flag, key, slot) in [
        (&table.record, "images.record", &mut images.record),
        (&table.signed_repository, "images.signed_repository", &mut images.signed_repository),
    ] {
        if let Some(flag) = flag {
            once(key, flag.span())?;
            *slot = *flag.get_ref();
        }
    }
    if let Some(resolver) = &table.resolver {
        once("images.resolver", resolver.span())?;
        images.resolver = clean_path(resolver, "images.resolver", place)?;
    }
    if let Some(deadline) = &table.deadline {
        once("images.deadline", deadline.span())?;
        images.deadline = self::deadline(deadline, place)?;
    }
    if let Some(on_error) = &table.on_error {
        once("images.on_error", on_error.span())?;
        images.on_error = *on_error.get_ref();
    }
    for (path, key, slot) in [
        (&table.denied, "images.denied", &mut images.denied),
        (&table.allowed, "images.allowed", &mut images.allowed),
        (&table.verdicts, "images.verdicts", &mut images.verdicts),
        (&table.signatures, "images.signatures", &mut images.signatures),
    ] {
        if let Some(path) = path {
            once(key, path.span())?;
            *slot = Some(clean_path(path, key, place)?) as Option<PathBuf>;
        }
    }
    if let Some(verifier) = &table.verifier {
        once("images.verifier", verifier.span())?;
        images.verifier = Some(verifier.get_ref().clone());
    }
    for (name, pem) in &table.keys {
        let key = key_of(name, pem, place)?;
        if images.keys.iter().any(|known| known.name == key.name) {
            return Err(place.wrong(
                name.span(),
                "images.keys",
                "has this name in an earlier file",
                "give it another name",
            ));
        }
        images.keys.push(key);
        if images.keys.len() > MAX_KEYS {
            let problem = format!("has more than {MAX_KEYS} keys");
            return Err(place.wrong(name.span(), "images.keys", &problem, "remove some"));
        }
    }
    Ok(())
}

fn deadline(deadline: &Spanned<Quantity>, place: &Place) -> Result<Duration, PolicyError> {
    match deadline.get_ref() {
        Quantity::Number(seconds) if DEADLINES.contains(seconds) => Ok(Duration::from_secs(*seconds)),
        _ => {
            let mend = format!("write seconds, {} to {}", DEADLINES.start(), DEADLINES.end());
            Err(place.wrong(deadline.span(), "images.deadline", "is not a time for a lookup", mend))
        }
    }
}

/// Only the frame is read here; what is in it, whoever verifies.
fn key_of(name: &Spanned<String>, pem: &Spanned<String>, place: &Place) -> Result<ImageKey, PolicyError> {
    let word = plain_word(name, "images.keys", place)?;
    let text = pem.get_ref().trim();
    let framed = text.strip_prefix(PEM.0).and_then(|rest| rest.strip_suffix(PEM.1));
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'\n');
    if text.len() > MAX_KEY || !framed.is_some_and(|inner| inner.bytes().all(legal)) {
        let mend = "paste the file that begins with -----BEGIN PUBLIC KEY----- between three quotes";
        return Err(place.wrong(pem.span(), &format!("images.keys.{word}"), "is no public key in PEM", mend));
    }
    Ok(ImageKey { name: word, pem: format!("{text}\n") })
}

/// The names that are about other parts of the policy. All files have been read by now.
pub(super) fn check(policy: &Policy, files: &[(Source<'_>, File)]) -> Result<(), PolicyFilesError> {
    for (source, file) in files {
        let place = &source.place;
        if let Some(verifier) = &file.images.verifier
            && policy.named(verifier.get_ref()).is_none()
        {
            let known: Vec<&str> = policy.profiles.iter().map(crate::profile::Profile::name).collect();
            let mend = format!("choose one of {}", known.join(", "));
            return Err(source.error(place.wrong(verifier.span(), "images.verifier", "names no profile", mend)));
        }
        for (profile, table) in &file.profiles {
            let signers = table.rules.iter().find(|(rule, _)| rule.get_ref() == "image.signature");
            for signer in signers.and_then(|(_, table)| table.allow.as_ref()).into_iter().flat_map(Spanned::get_ref) {
                if !policy.images.keys.iter().any(|key| key.name == *signer.get_ref()) {
                    let key = format!("profiles.{}.rules.\"image.signature\".allow", profile.get_ref());
                    let mend = "write the name of one of [images.keys]";
                    return Err(source.error(place.wrong(signer.span(), &key, "names no key", mend)));
                }
            }
        }
    }
    Ok(())
}

/// Takes the settings of one rule.
pub(super) fn set_rule(
    settings: &mut Settings,
    rule: &Rule,
    table: &RuleTable,
    key: &str,
    place: &Place,
) -> Result<(), PolicyError> {
    let words = |list: &Spanned<Vec<Spanned<String>>>, name: &str| {
        let key = format!("{key}.{name}");
        list.get_ref().iter().map(|word| plain_word(word, &key, place)).collect::<Result<Vec<_>, _>>()
    };
    if let Some(severity) = &table.severity {
        settings.image_scan.severity = *severity.get_ref();
    }
    if let Some(ignore) = &table.ignore {
        settings.image_scan.ignore = words(ignore, "ignore")?;
    }
    if let Some(labels) = &table.labels {
        settings.image_labels = words(labels, "labels")?;
    }
    if let Some(age) = &table.max_age {
        let days = days(age, &format!("{key}.max_age"), place)?;
        match rule.id.as_str() {
            "image.age" => settings.image_age = Some(days),
            _ => settings.image_scan.max_age = Some(days),
        }
    }
    Ok(())
}

/// A number of days, `90` or `"90d"`.
fn days(age: &Spanned<Quantity>, key: &str, place: &Place) -> Result<u32, PolicyError> {
    let days = match age.get_ref() {
        Quantity::Number(days) => u32::try_from(*days).ok(),
        Quantity::Text(text) => text
            .strip_suffix('d')
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok()),
    };
    days.filter(|days| DAYS.contains(days))
        .ok_or_else(|| place.wrong(age.span(), key, "is no number of days", "write days, such as 90 or \"90d\""))
}

/// A repository of `image.registry`.
pub(super) fn repository(entry: &Spanned<String>, key: &str, place: &Place) -> Result<RepositoryPattern, PolicyError> {
    RepositoryPattern::of(entry.get_ref()).ok_or_else(|| {
        let mend = "write registry and repository in full, such as \"docker.io/library/nginx\" or \"registry.example:5000/team/*\"";
        place.wrong(entry.span(), key, "is no repository", mend)
    })
}
