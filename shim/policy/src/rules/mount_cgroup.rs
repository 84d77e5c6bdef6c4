//! `mount.cgroup`: the cgroup filesystem is read-only.

use crate::draft::Draft;
use crate::rules::{Case, read_only};
use crate::sheet::Sheet;

/// Writing `release_agent` ran a program on the host (CVE-2022-0492).
pub(super) fn judge(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    let reason = "a writable cgroup filesystem changes limits";
    read_only::force(draft, &["cgroup", "cgroup2"], reason, sheet);
}
