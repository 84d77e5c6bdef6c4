//! `mount.size`.

use oci_spec::runtime as oci;
use serde_json::json;

use crate::draft::Draft;
use crate::profile::Ceiling;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};
use crate::spec::is_bind;

/// A tmpfs without a size takes half of the node's memory (tmpfs(5)); what outlives its writer is charged to
/// nobody who could be killed for it.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    for (i, mount) in draft.mounts.iter_mut().enumerate() {
        if !is_bind(mount) && mount.typ().as_deref() == Some("tmpfs") {
            limit(mount, case.settings.tmpfs, &format!("/mounts/{i}/options"), sheet);
        }
    }
}

fn limit(mount: &mut oci::Mount, ceiling: Ceiling, pointer: &str, sheet: &mut Sheet) {
    let options = mount.options().clone().unwrap_or_default();
    let sizes: Vec<&str> = options.iter().filter_map(|option| option.strip_prefix("size=")).collect();
    // `nr_blocks` is a size too, in pages; the kernel takes whichever comes last.
    let other = options.iter().any(|option| option.starts_with("nr_blocks="));
    let size = match sizes.as_slice() {
        [] if !other => ceiling.default,
        [size] if !other => match bytes(size) {
            Some(size) if (1..=ceiling.max).contains(&size) => return,
            _ => ceiling.max,
        },
        _ => ceiling.max,
    };
    let mut limited = options.clone();
    limited.retain(|option| !option.starts_with("size=") && !option.starts_with("nr_blocks="));
    limited.push(format!("size={size}"));
    let reason = if sizes.is_empty() { "a tmpfs without a size" } else { "a tmpfs above the limit" };
    if sheet.mends(Found::new(pointer, json!(options), reason), json!(limited)) {
        mount.set_options(Some(limited));
    }
}

/// The size as the kernel reads it: a number with k, m or g (memparse). A share of the memory (`50%`) and 0, which
/// is no limit, are not sizes here.
fn bytes(text: &str) -> Option<u64> {
    let (digits, unit) = match text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']) {
        Some(digits) => (digits, text.get(digits.len()..)?),
        None => (text, ""),
    };
    let shift = match unit {
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => 0,
    };
    // The kernel takes octal and hexadecimal numbers as well; those are not understood here.
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(1 << shift)
}
