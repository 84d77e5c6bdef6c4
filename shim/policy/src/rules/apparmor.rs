//! `process.apparmor`.

use crate::draft::ProcessDraft;
use crate::rules::ProcessScope;
use crate::sheet::{Found, Sheet};

/// PSS baseline: any profile but `unconfined`; none at all is what a node without AppArmor gets. With an
/// `allow` list, only its names.
pub(super) fn judge(process: &mut ProcessDraft, scope: &ProcessScope<'_>, sheet: &mut Sheet) {
    let name = process.apparmor_profile.as_str();
    let listed = &scope.settings.apparmor;
    let odd = name.chars().any(|c| c.is_control() || c.is_whitespace());
    let passes = name.is_empty()
        || (name != "unconfined" && !odd && (listed.is_empty() || listed.iter().any(|one| one == name)));
    if passes {
        return;
    }
    let reason = format!("{name:?} does not confine, or is not a listed profile");
    let allowed = if listed.is_empty() { "any profile but unconfined".to_owned() } else { listed.join(", ") };
    sheet.refuses(Found::new("/process/apparmorProfile", name, reason), allowed);
}
