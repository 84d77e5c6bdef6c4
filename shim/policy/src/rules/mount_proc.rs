//! `mount.proc`.

use crate::draft::Draft;
use crate::rules::Case;
use crate::rules::flags::{self, Flag};
use crate::sheet::Sheet;
use crate::spec::is_bind;

/// As every runtime's default mounts /proc (OCI runtime-spec `config-linux.md` "Default Filesystems").
const FORCED: &[Flag] = &[("nosuid", &["suid", "rsuid"]), ("noexec", &["exec", "rexec"]), ("nodev", &["dev", "rdev"])];

/// Nothing in /proc is to be run through that mount: not the runtime's own executable either (CVE-2019-5736).
pub(super) fn judge(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    for (i, mount) in draft.mounts.iter_mut().enumerate() {
        if !is_bind(mount) && mount.typ().as_deref() == Some("proc") {
            let pointer = format!("/mounts/{i}/options");
            flags::force(mount, FORCED.iter().copied(), &pointer, "programs could be run through /proc", sheet);
        }
    }
}
