//! `res.cpuset`.

use oci_spec::runtime as oci;
use serde_json::json;

use crate::profile::NumberSet;
use crate::rules::ResourceScope;
use crate::sheet::{Found, Sheet};

/// CIS-D 5.12. CPUs and memory nodes of the profile's sets, where it has any: a workload that is kept apart stays apart.
pub(super) fn judge(resources: &mut oci::LinuxResources, scope: &ResourceScope<'_>, sheet: &mut Sheet) {
    let asked = resources.cpu().clone().unwrap_or_default();
    let cpus = settle("cpus", asked.cpus().as_deref(), scope.settings.cpus.as_ref(), scope, sheet);
    let mems = settle("mems", asked.mems().as_deref(), scope.settings.mems.as_ref(), scope, sheet);
    if cpus.is_none() && mems.is_none() {
        return;
    }
    let mut settled = asked;
    if cpus.is_some() {
        settled.set_cpus(cpus);
    }
    if mems.is_some() {
        settled.set_mems(mems);
    }
    resources.set_cpu(Some(settled));
}

/// The list to set, where it is another than was asked for.
fn settle(
    name: &str,
    asked: Option<&str>,
    allowed: Option<&NumberSet>,
    scope: &ResourceScope<'_>,
    sheet: &mut Sheet,
) -> Option<String> {
    let allowed = allowed?;
    let asked = asked.filter(|list| !list.is_empty());
    let found = |reason: &str| Found::new(format!("/linux/resources/cpu/{name}"), json!(asked), reason);
    let (settled, reason) = match asked.map(NumberSet::parse) {
        None if scope.fills_in => (allowed.to_string(), "would not be bound to the allowed set"),
        None => return None,
        Some(None) => {
            sheet.refuses(found("is no list of numbers"), allowed.to_string());
            return None;
        }
        Some(Some(list)) if list.is_within(allowed) => return None,
        Some(Some(list)) => match list.common(allowed) {
            Some(both) => (both.to_string(), "goes beyond the allowed set"),
            // None of what the workload was built for: another set is nothing that it asked for.
            None => {
                sheet.refuses(found("is outside the allowed set"), allowed.to_string());
                return None;
            }
        },
    };
    sheet.mends(found(reason), settled.as_str()).then_some(settled)
}
