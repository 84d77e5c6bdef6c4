//! `mount.propagation`.

use serde_json::json;

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};
use crate::spec::is_bind;

/// Source: OCI `config.md` "Linux mount options".
const PROPAGATION: &[&str] =
    &["shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"];

/// CIS-D 5.20: a shared mount carries what is mounted in the container to the host. A slave one, and a bind mount that says
/// nothing under a root that is slave by default, shows the container later mounts of the host; it becomes private.
pub(super) fn judge(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    for (i, mount) in draft.mounts.iter_mut().enumerate() {
        let options = mount.options().clone().unwrap_or_default();
        let pointer = format!("/mounts/{i}/options");
        if let Some(option) = options.iter().find(|option| is_shared(option)) {
            let reason = format!("{option} carries mounts to the host");
            sheet.refuses(Found::new(pointer.as_str(), option.as_str(), reason), "rprivate");
        }
        let mut private: Vec<String> = options.iter().map(|option| privately(option).to_owned()).collect();
        if is_bind(mount) && !options.iter().any(|option| PROPAGATION.contains(&option.as_str())) {
            private.push("rprivate".to_owned());
        }
        if private != options {
            let found = Found::new(pointer, json!(options), "later mounts of the host would appear");
            if sheet.mends(found, json!(private)) {
                mount.set_options(Some(private));
            }
        }
    }
    root(&mut draft.linux.rootfs_propagation, sheet);
}

fn root(propagation: &mut String, sheet: &mut Sheet) {
    let place = "/linux/rootfsPropagation";
    if is_shared(propagation) {
        let reason = format!("{propagation} carries mounts to the host");
        sheet.refuses(Found::new(place, propagation.as_str(), reason), "rprivate");
        return;
    }
    let private = privately(propagation).to_owned();
    if private != *propagation {
        let found = Found::new(place, propagation.as_str(), "later mounts of the host would appear");
        if sheet.mends(found, private.as_str()) {
            *propagation = private;
        }
    }
}

fn is_shared(option: &str) -> bool {
    matches!(option, "shared" | "rshared")
}

fn privately(option: &str) -> &str {
    match option {
        "slave" | "rslave" | "private" => "rprivate",
        other => other,
    }
}
