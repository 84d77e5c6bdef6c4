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
    let sizes: Vec<&str> = options.iter().filter(|option| is_size(option)).map(String::as_str).collect();
    let amounts: Option<Vec<u64>> = sizes.iter().map(|size| size.strip_prefix("size=").and_then(bytes)).collect();
    let size = match amounts.as_deref() {
        None => {
            // What is not understood may be less than any size put in its place, so there is no change that tightens.
            let found = Found::new(pointer, json!(sizes), "the size of a tmpfs is not understood");
            return sheet.refuses(found, "size= with a number of bytes, or one with k, m or g");
        }
        Some([]) => ceiling.default,
        Some([size]) if (1..=ceiling.max).contains(size) => return,
        // 0 is no limit. The kernel takes the last of several; the least of them is no looser.
        Some(several) => several.iter().copied().filter(|size| *size > 0).fold(ceiling.max, u64::min),
    };
    let mut limited = options.clone();
    limited.retain(|option| !is_size(option));
    limited.push(format!("size={size}"));
    let reason = match sizes.len() {
        0 => "a tmpfs without a size",
        1 => "a tmpfs above the limit",
        _ => "a tmpfs with several sizes",
    };
    if sheet.mends(Found::new(pointer, json!(options), reason), json!(limited)) {
        mount.set_options(Some(limited));
    }
}

/// `nr_blocks` is a size too, in pages, whose length is the machine's.
fn is_size(option: &str) -> bool {
    option.starts_with("size=") || option.starts_with("nr_blocks=")
}

/// The size as the kernel reads it: a number with k, m or g (memparse). A share of the memory (`50%`) is not one here,
/// as the memory is the machine's.
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
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let plain = plain && (digits == "0" || !digits.starts_with('0'));
    digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(1 << shift)
}
