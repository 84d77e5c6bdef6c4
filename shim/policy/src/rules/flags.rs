//! Mount options that have to be there.

use oci_spec::runtime as oci;
use serde_json::json;

use crate::sheet::{Found, Sheet};

/// A flag, and the flags that take it back.
pub(super) type Flag = (&'static str, &'static [&'static str]);

/// Adds each of `flags` to the mount's options, and removes what takes it back.
pub(super) fn force(
    mount: &mut oci::Mount,
    flags: impl Iterator<Item = Flag>,
    pointer: &str,
    reason: &str,
    sheet: &mut Sheet,
) {
    let options = mount.options().clone().unwrap_or_default();
    let mut forced = options.clone();
    for (flag, opposites) in flags {
        forced.retain(|option| !opposites.contains(&option.as_str()));
        if !forced.iter().any(|option| option == flag) {
            forced.push(flag.to_owned());
        }
    }
    if forced != options && sheet.mends(Found::new(pointer, json!(options), reason), json!(forced)) {
        mount.set_options(Some(forced));
    }
}
