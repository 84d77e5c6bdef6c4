//! Lists of paths and names.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::error::{Place, PolicyError};
use crate::capability::{CapabilityName, CapabilitySet};
use crate::node::is_clean;
use crate::profile::{AllowedPath, Profile};
use crate::rules::Rule;

/// Takes the `allow` list of a rule.
pub(super) fn set_allow(
    profile: &mut Profile,
    rule: &Rule,
    allow: &Spanned<Vec<Spanned<String>>>,
    key: &str,
    place: &Place,
) -> Result<(), PolicyError> {
    let key = format!("{key}.allow");
    let settings = &mut profile.settings;
    let words = || allow.get_ref().iter().map(|word| plain_word(word, &key, place)).collect::<Result<Vec<_>, _>>();
    let paths = || allow.get_ref().iter().map(|path| clean_path(path, &key, place)).collect::<Result<Vec<_>, _>>();
    match rule.id.as_str() {
        "mount.host-path" => {
            let entries = allow.get_ref().iter().map(|entry| allowed_path(entry, &key, place));
            settings.host_paths = entries.collect::<Result<_, _>>()?;
        }
        "task.rootfs" => settings.rootfs = paths()?,
        "task.stdio" => settings.stdio = paths()?,
        "linux.devices" => settings.devices = paths()?,
        "hooks" => settings.hooks = paths()?,
        "mount.type" => settings.mount_types = words()?,
        "linux.sysctl" => settings.sysctls = words()?,
        "annotations" | "update.annotations" => settings.annotations = words()?,
        "process.apparmor" => settings.apparmor = words()?,
        "process.selinux" | "linux.mount-label" => settings.selinux = words()?,
        _ => {}
    }
    Ok(())
}

/// Exact capability names.
pub(super) fn capability_names(
    names: &Spanned<Vec<Spanned<String>>>,
    key: &str,
    place: &Place,
) -> Result<CapabilitySet, PolicyError> {
    let one = |name: &Spanned<String>| {
        CapabilityName::exact(name.get_ref()).ok_or_else(|| {
            let mend = "write the exact name, such as CAP_NET_BIND_SERVICE";
            place.wrong(name.span(), &format!("{key}.capabilities"), "holds no capability name", mend)
        })
    };
    names.get_ref().iter().map(one).collect()
}

/// An absolute path without dots, and not the root.
pub(super) fn clean_path(path: &Spanned<String>, key: &str, place: &Place) -> Result<PathBuf, PolicyError> {
    let given = Path::new(path.get_ref());
    if is_clean(given) && given != Path::new("/") {
        return Ok(given.to_owned());
    }
    Err(place.wrong(path.span(), key, "is not an absolute path", "write it from / on, without . and .."))
}

/// A path, followed by `:ro` where only reading is allowed.
fn allowed_path(entry: &Spanned<String>, key: &str, place: &Place) -> Result<AllowedPath, PolicyError> {
    let (text, read_only) = match entry.get_ref().strip_suffix(":ro") {
        Some(text) => (text, true),
        None => (entry.get_ref().as_str(), false),
    };
    let path = clean_path(&Spanned::new(entry.span(), text.to_owned()), key, place)?;
    Ok(AllowedPath { path, read_only })
}

fn plain_word(word: &Spanned<String>, key: &str, place: &Place) -> Result<String, PolicyError> {
    let text = word.get_ref();
    if text.is_empty() || text == "*" || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(place.wrong(word.span(), key, "holds an empty or unbounded entry", "name what is to pass"));
    }
    Ok(text.clone())
}
