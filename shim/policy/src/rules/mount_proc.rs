//! `mount.proc`.

use serde_json::json;

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};
use crate::spec::is_bind;

/// As every runtime's default mounts /proc (OCI runtime-spec `config-linux.md` "Default Filesystems").
const FORCED: &[(&str, &[&str])] =
    &[("nosuid", &["suid", "rsuid"]), ("noexec", &["exec", "rexec"]), ("nodev", &["dev", "rdev"])];

/// Nothing in /proc is to be run through that mount: not the runtime's own executable either (CVE-2019-5736).
pub(super) fn judge(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    for (i, mount) in draft.mounts.iter_mut().enumerate() {
        if is_bind(mount) || mount.typ().as_deref() != Some("proc") {
            continue;
        }
        let options = mount.options().clone().unwrap_or_default();
        let mut forced = options.clone();
        for (flag, opposites) in FORCED {
            forced.retain(|option| !opposites.contains(&option.as_str()));
            if !forced.iter().any(|option| option == flag) {
                forced.push((*flag).to_owned());
            }
        }
        if forced == options {
            continue;
        }
        let found = Found::new(format!("/mounts/{i}/options"), json!(options), "programs could be run through /proc");
        if sheet.mends(found, json!(forced)) {
            mount.set_options(Some(forced));
        }
    }
}
