//! `task.options`.

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// Whoever may call containerd sets these; the runtime and its directories are the admin's.
pub(super) fn judge(_: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    let options = &case.task.options;
    let texts = [
        ("binaryName", &options.binary_name),
        ("root", &options.root),
        ("shimCgroup", &options.shim_cgroup),
        ("criuImagePath", &options.criu_image_path),
        ("criuWorkPath", &options.criu_work_path),
    ];
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        let reason = format!("{name} is for the policy file to set");
        sheet.refuses(Found::new(format!("/task/options/{name}"), text.as_str(), reason), "empty");
    }
    let flags = [("noPivotRoot", options.no_pivot_root), ("noNewKeyring", options.no_new_keyring)];
    for (name, _) in flags.into_iter().filter(|(_, set)| *set) {
        let found = Found::new(format!("/task/options/{name}"), true, format!("{name} weakens the container"));
        sheet.refuses(found, "false");
    }
}
