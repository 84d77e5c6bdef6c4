//! `mount.secrets.tmpfs`.

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// The kubelet keeps secrets and tokens on a tmpfs (Kubernetes `pkg/volume/secret`, `pkg/volume/projected`). One that is on a disk outlives
/// its pod there, and whoever reads the disk has it.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    for (i, mount) in draft.mounts.iter().enumerate() {
        let volume = case.host.source(i).and_then(|fact| fact.kubelet_volume);
        if volume.is_some_and(|volume| !volume.on_tmpfs) {
            let text = mount.destination().to_string_lossy();
            let found = Found::new(format!("/mounts/{i}/source"), text.as_ref(), "a secret's volume is on no tmpfs");
            sheet.refuses(found, "secrets in memory, as the kubelet keeps them");
        }
    }
}
