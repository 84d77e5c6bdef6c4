//! `res.hugepages`.

use oci_spec::runtime as oci;
use serde_json::json;

use crate::rules::ResourceScope;
use crate::sheet::{Found, Sheet};

const PLACE: &str = "/linux/resources/hugepageLimits";

/// Huge pages are memory that the node has set aside, and that no memory limit counts. The kubelet bounds them for a pod; outside
/// Kubernetes nobody does.
pub(super) fn judge(resources: &mut oci::LinuxResources, scope: &ResourceScope<'_>, sheet: &mut Sheet) {
    let Some(ceiling) = scope.settings.huge_pages else { return };
    let asked = resources.hugepage_limits().clone().unwrap_or_default();
    let mut settled = asked.clone();
    for page in &mut settled {
        let limit = u64::try_from(page.limit()).map_or(ceiling.max, |limit| limit.min(ceiling.max));
        page.set_limit(i64::try_from(limit).unwrap_or(i64::MAX));
    }
    if scope.fills_in {
        for size in scope.huge_page_sizes {
            if !settled.iter().any(|page| page.page_size() == size) {
                let mut page = oci::LinuxHugepageLimit::default();
                page.set_page_size(size.clone()).set_limit(i64::try_from(ceiling.default).unwrap_or(i64::MAX));
                settled.push(page);
            }
        }
    }
    if settled == asked {
        return;
    }
    let found = Found::new(PLACE, json!(asked), "no limit of huge pages, or one above the maximum");
    if sheet.mends(found, json!(settled)) {
        resources.set_hugepage_limits(Some(settled));
    }
}
