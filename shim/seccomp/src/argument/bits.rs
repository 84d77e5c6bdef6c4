//! Halves, masks and aligned blocks of 64-bit values.

use super::HalfRange;

/// The lower half, as a mask.
pub(super) const HALF: u64 = 0xffff_ffff;

/// Whether the mask is ones and then zeros, from the top.
pub(super) fn is_prefix(mask: u64) -> bool {
    mask.leading_ones().saturating_add(mask.trailing_zeros()) >= u64::BITS
}

/// The upper and the lower half.
pub(super) fn halves(value: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])]
}

pub(super) fn whole(upper: u32, lower: u32) -> u64 {
    u64::from(upper) << 32 | u64::from(lower)
}

/// Ones from the highest bit of `value` down.
pub(super) fn below_highest_bit(value: u64) -> u64 {
    u64::MAX.checked_shr(value.leading_zeros()).unwrap_or_default()
}

pub(super) fn half_prefixes(range: HalfRange) -> Vec<(u64, u64)> {
    let blocks = prefixes(u64::from(range.0), u64::from(range.1)).into_iter();
    blocks.map(|(mask, value)| (mask & HALF, value)).collect()
}

/// A range as the fewest aligned power-of-two blocks, as `(mask, value)`: at most 126 of them.
pub(super) fn prefixes(low: u64, high: u64) -> Vec<(u64, u64)> {
    let mut blocks = Vec::new();
    let mut start = low;
    loop {
        let inside = largest_block(start, high);
        blocks.push((!inside, start));
        match start.checked_add(inside).and_then(|end| end.checked_add(1)) {
            Some(next) if next <= high => start = next,
            _ => return blocks,
        }
    }
}

/// The size less one of the largest block that starts at `start`, is aligned there and ends at or before `high`.
fn largest_block(start: u64, high: u64) -> u64 {
    let room = high.wrapping_sub(start);
    let fits = room.checked_add(1).map_or(u64::BITS, u64::ilog2);
    let bits = start.trailing_zeros().min(fits);
    1_u64.checked_shl(bits).map_or(u64::MAX, |size| size.wrapping_sub(1))
}
