//! Lists of paths and names.

use std::path::{Path, PathBuf};

use palisade_seccomp::Architecture;
use toml::Spanned;

use super::error::{Place, PolicyError};
use super::images::repository;
use crate::capability::{CapabilityName, CapabilitySet};
use crate::node::is_clean;
use crate::profile::{AllowedDevice, AllowedPath, Profile};
use crate::rules::{LOGGER, Rule};

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
        "image.registry" => {
            let entries = allow.get_ref().iter().map(|entry| repository(entry, &key, place));
            settings.image_repositories = entries.collect::<Result<_, _>>()?;
        }
        "image.signature" => settings.image_signers = words()?,
        "task.rootfs" => settings.rootfs = paths()?,
        "task.stdio" => (settings.loggers, settings.stdio) = loggers_and_directories(allow, &key, place)?,
        "linux.devices" => {
            let entries = allow.get_ref().iter().map(|entry| allowed_device(entry, &key, place));
            settings.devices = entries.collect::<Result<_, _>>()?;
        }
        "linux.seccomp.arch" => {
            let entries = allow.get_ref().iter().map(|entry| architecture(entry, &key, place));
            settings.architectures = entries.collect::<Result<_, _>>()?;
        }
        "hooks" => settings.hooks = paths()?,
        "mount.type" => settings.mount_types = words()?,
        "linux.sysctl" => settings.sysctls = words()?,
        "secret.env" => settings.secret_variables = words()?,
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

/// An architecture that some machine runs beside its own.
fn architecture(name: &Spanned<String>, key: &str, place: &Place) -> Result<Architecture, PolicyError> {
    let mut beside = Architecture::ALL.iter().flat_map(|native| native.others());
    let known = beside.find(|known| known.name() == name.get_ref());
    known.copied().ok_or_else(|| {
        place.wrong(
            name.span(),
            key,
            "holds no other architecture",
            "choose of x86, x32 and arm; the native one always runs",
        )
    })
}

/// An absolute path without dots, and not the root.
pub(super) fn clean_path(path: &Spanned<String>, key: &str, place: &Place) -> Result<PathBuf, PolicyError> {
    let given = Path::new(path.get_ref());
    if is_clean(given) && given != Path::new("/") {
        return Ok(given.to_owned());
    }
    Err(place.wrong(path.span(), key, "is not an absolute path", "write it from / on, without . and .."))
}

/// Logging programs, `binary:///usr/bin/logger`, and directories of fifos and logs.
fn loggers_and_directories(
    allow: &Spanned<Vec<Spanned<String>>>,
    key: &str,
    place: &Place,
) -> Result<(Vec<PathBuf>, Vec<PathBuf>), PolicyError> {
    let (mut loggers, mut directories) = (Vec::new(), Vec::new());
    for entry in allow.get_ref() {
        let (list, path) = match entry.get_ref().strip_prefix(LOGGER) {
            Some(path) => (&mut loggers, Spanned::new(entry.span(), path.to_owned())),
            None => (&mut directories, entry.clone()),
        };
        list.push(clean_path(&path, key, place)?);
    }
    Ok((loggers, directories))
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

/// Devices whose numbers are the same on every machine. Source: kernel `Documentation/admin-guide/devices.txt`.
const WELL_KNOWN: &[(&str, i64, i64)] =
    &[("/dev/fuse", 10, 229), ("/dev/kvm", 10, 232), ("/dev/net/tun", 10, 200), ("/dev/vhost-net", 10, 238)];

/// A device node with its numbers, `/dev/nvidia0 c 195:0`: its path alone would let any device pass under that name.
fn allowed_device(entry: &Spanned<String>, key: &str, place: &Place) -> Result<AllowedDevice, PolicyError> {
    let text = entry.get_ref().as_str();
    let words: Vec<&str> = text.split(' ').collect();
    let (path, block, numbers) = match words.as_slice() {
        [path] => match WELL_KNOWN.iter().find(|(known, ..)| known == path) {
            Some((_, major, minor)) => (*path, false, Some((*major, *minor))),
            None => (*path, false, None),
        },
        [path, kind @ ("b" | "c"), numbers] => (*path, *kind == "b", device_numbers(numbers)),
        _ => (text, false, None),
    };
    let Some((major, minor)) = numbers else {
        let mend = "write path, type and numbers, such as \"/dev/nvidia0 c 195:0\"";
        return Err(place.wrong(entry.span(), key, "names no device", mend));
    };
    let path = clean_path(&Spanned::new(entry.span(), path.to_owned()), key, place)?;
    Ok(AllowedDevice { path, block, major, minor })
}

pub(super) fn device_numbers(text: &str) -> Option<(i64, i64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse::<u32>().ok()?.into(), minor.parse::<u32>().ok()?.into()))
}

pub(super) fn plain_word(word: &Spanned<String>, key: &str, place: &Place) -> Result<String, PolicyError> {
    let text = word.get_ref();
    if text.is_empty() || text == "*" || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(place.wrong(word.span(), key, "holds an empty or unbounded entry", "name what is to pass"));
    }
    Ok(text.clone())
}
