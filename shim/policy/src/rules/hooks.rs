//! `hooks`.

use serde_json::json;

use crate::draft::Draft;
use crate::rules::Case;
use crate::rules::environment::is_for_linker_of_hook;
use crate::sheet::{Found, Sheet};
use crate::spec::stages;

/// Hooks are host programs that the runtime starts, most of them as root and outside the container. They
/// come from CDI, NRI or a base specification, never from Kubernetes itself.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    for (stage, list) in stages(&draft.hooks) {
        for (i, hook) in list.iter().enumerate() {
            let pointer = format!("/hooks/{stage}/{i}");
            let path = hook.path();
            let listed = case.settings.hooks.contains(path);
            let reason = if !listed {
                format!("hook {:?} runs on the host", path.to_string_lossy())
            } else if !case.host.hook_is_trusted(&pointer, path) {
                format!("hook {:?} is a link, or others than root can write it", path.to_string_lossy())
            } else if hook.env().iter().flatten().any(|entry| is_for_linker_of_hook(entry)) {
                format!("hook {:?} would load what its environment names", path.to_string_lossy())
            } else {
                continue;
            };
            sheet.refuses(Found::new(pointer, json!(hook), reason), "hooks that the policy lists");
        }
    }
}
