//! Making mounts of a type read-only.

use serde_json::json;

use crate::draft::Draft;
use crate::sheet::{Found, Sheet};

/// Whether the last word of the options is read-only.
pub(super) fn is(options: &[String]) -> bool {
    let has = |words: [&str; 2]| options.iter().any(|option| words.contains(&option.as_str()));
    // Runtimes apply the recursive words after the mount, so the last word is not what counts.
    has(["ro", "rro"]) && !has(["rw", "rrw"])
}

/// Forces `ro` on every mount of one of `kinds`.
pub(super) fn force(draft: &mut Draft, kinds: &[&str], reason: &str, sheet: &mut Sheet) {
    for (i, mount) in draft.mounts.iter_mut().enumerate() {
        let options = mount.options().clone().unwrap_or_default();
        if !mount.typ().as_deref().is_some_and(|kind| kinds.contains(&kind)) || is(&options) {
            continue;
        }
        let mut forced = options.clone();
        forced.retain(|option| option != "rw" && option != "rrw" && option != "ro");
        forced.push("ro".to_owned());
        let found = Found::new(format!("/mounts/{i}/options"), json!(options), reason);
        if sheet.mends(found, json!(forced)) {
            mount.set_options(Some(forced));
        }
    }
}
