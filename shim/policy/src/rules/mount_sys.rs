//! `mount.sys`: /sys is read-only.

use crate::draft::Draft;
use crate::rules::{Case, read_only};
use crate::sheet::Sheet;

/// A writable sysfs configures devices and the kernel of the host; privileged mode leaves it so.
pub(super) fn judge(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    read_only::force(draft, &["sysfs"], "a writable /sys configures the host", sheet);
}
