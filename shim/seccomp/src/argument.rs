//! A set of values of one system call argument, and its algebra.

mod bits;

use bits::{HALF, below_highest_bit, half_prefixes, halves, is_prefix, prefixes, whole};

/// An inclusive range of one half of an argument.
pub(crate) type HalfRange = (u32, u32);

const WHOLE_HALF: HalfRange = (0, u32::MAX);

/// A set of 64-bit argument values.
///
/// Values are canonical: what can be said as `Between` is said so, and what can be said as `Halves` is not said as
/// `Masked`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ArgumentSet {
    /// `low <= argument <= high`.
    Between { low: u64, high: u64 },
    /// The upper and the lower 32 bits are in these ranges. The kernel sees only the lower half of an `int` and
    /// ignores the upper one, so a 64-bit comparison of an `int` argument can be walked round (CVE-2019-10063).
    Halves { upper: HalfRange, lower: HalfRange },
    /// `argument & mask == value`.
    Masked { mask: u64, value: u64 },
}

impl ArgumentSet {
    /// Every value.
    pub(crate) const ALL: Self = Self::Between { low: 0, high: u64::MAX };

    /// `argument & mask == value & mask`, as libseccomp and the kernel read SCMP_CMP_MASKED_EQ.
    pub(crate) fn masked(mask: u64, value: u64) -> Self {
        let value = value & mask;
        let ([upper_mask, lower_mask], [upper, lower]) = (halves(mask), halves(value));
        if is_prefix(mask) {
            return Self::Between { low: value, high: value | !mask };
        }
        if is_prefix(u64::from(upper_mask) | !HALF) && is_prefix(u64::from(lower_mask) | !HALF) {
            return Self::halves((upper, upper | !upper_mask), (lower, lower | !lower_mask));
        }
        Self::Masked { mask, value }
    }

    /// Both halves in their range. The ranges must not be empty.
    pub(crate) fn halves(upper: HalfRange, lower: HalfRange) -> Self {
        if lower == WHOLE_HALF || upper.0 == upper.1 {
            return Self::Between { low: whole(upper.0, lower.0), high: whole(upper.1, lower.1) };
        }
        Self::Halves { upper, lower }
    }

    /// `low <= (argument & 0xffff_ffff) <= high`, `None` if that is no value.
    pub(crate) fn low32(low: u32, high: u32) -> Option<Self> {
        (low <= high).then(|| Self::halves(WHOLE_HALF, (low, high)))
    }

    /// Whether `argument` is in the set.
    pub(crate) fn holds(self, argument: u64) -> bool {
        let inside = |half: u32, range: HalfRange| (range.0..=range.1).contains(&half);
        let [upper_half, lower_half] = halves(argument);
        match self {
            Self::Between { low, high } => (low..=high).contains(&argument),
            Self::Halves { upper, lower } => inside(upper_half, upper) && inside(lower_half, lower),
            Self::Masked { mask, value } => argument & mask == value,
        }
    }

    /// The smallest and the largest value of the set.
    pub(crate) fn bounds(self) -> (u64, u64) {
        match self {
            Self::Between { low, high } => (low, high),
            Self::Halves { upper, lower } => (whole(upper.0, lower.0), whole(upper.1, lower.1)),
            Self::Masked { mask, value } => (value, value | !mask),
        }
    }

    /// Sets whose union is exactly what is in both.
    pub(crate) fn intersect(self, other: Self) -> Vec<Self> {
        match (self, other) {
            (Self::ALL, set) | (set, Self::ALL) => vec![set],
            (Self::Between { low: a, high: b }, Self::Between { low: c, high: d }) => {
                between(a.max(c), b.min(d)).into_iter().collect()
            }
            (Self::Masked { .. }, _) | (_, Self::Masked { .. }) => intersect_by_bits(self, other),
            _ => intersect_by_halves(self, other),
        }
    }

    /// Sets whose union is exactly what is not in this one.
    pub(crate) fn complement(self) -> Vec<Self> {
        match self {
            Self::Between { low, high } => {
                let below = low.checked_sub(1).and_then(|end| between(0, end));
                let above = high.checked_add(1).and_then(|start| between(start, u64::MAX));
                below.into_iter().chain(above).collect()
            }
            Self::Halves { upper, lower } => {
                let other_upper = outside(upper).map(|upper| Self::halves(upper, WHOLE_HALF));
                let other_lower = outside(lower).map(|lower| Self::halves(upper, lower));
                other_upper.chain(other_lower).collect()
            }
            Self::Masked { mask, value } => complement_of_mask(mask, value),
        }
    }

    /// Whether every value of `other` is in this set; `false` may also mean "not seen to be".
    pub(crate) fn covers(self, other: Self) -> bool {
        let (smallest, largest) = other.bounds();
        match (self, other) {
            (Self::Between { low, high }, _) => low <= smallest && largest <= high,
            (Self::Halves { .. }, Self::Between { .. }) => {
                rectangles(other).all(|(upper, lower)| self.covers_halves(upper, lower))
            }
            (Self::Halves { .. }, Self::Halves { upper, lower }) => self.covers_halves(upper, lower),
            (Self::Halves { .. }, Self::Masked { .. }) => {
                let ([a, b], [c, d]) = (halves(smallest), halves(largest));
                self.covers_halves((a, c), (b, d))
            }
            (Self::Masked { mask, value }, Self::Masked { mask: theirs, .. }) => {
                mask & !theirs == 0 && smallest & mask == value
            }
            (Self::Masked { mask, value }, Self::Between { .. }) => {
                mask & below_highest_bit(smallest ^ largest) == 0 && smallest & mask == value
            }
            (Self::Masked { mask, value }, Self::Halves { upper, lower }) => {
                let varying_upper = below_highest_bit(u64::from(upper.0 ^ upper.1)) << 32;
                let varying = varying_upper | below_highest_bit(u64::from(lower.0 ^ lower.1));
                mask & varying == 0 && smallest & mask == value
            }
        }
    }

    fn covers_halves(self, upper: HalfRange, lower: HalfRange) -> bool {
        let within = |outer: HalfRange, inner: HalfRange| outer.0 <= inner.0 && inner.1 <= outer.1;
        rectangles(self).any(|ours| within(ours.0, upper) && within(ours.1, lower))
    }

    /// The union, if it is one range or one pair of ranges.
    pub(crate) fn join(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Between { low: a, high: b }, Self::Between { low: c, high: d })
                if c <= b.saturating_add(1) && a <= d.saturating_add(1) =>
            {
                between(a.min(c), b.max(d))
            }
            (Self::Halves { upper: a, lower: b }, Self::Halves { upper: c, lower: d }) if a == c => {
                join_halves(b, d).map(|lower| Self::halves(a, lower))
            }
            (Self::Halves { upper: a, lower: b }, Self::Halves { upper: c, lower: d }) if b == d => {
                join_halves(a, c).map(|upper| Self::halves(upper, b))
            }
            _ => None,
        }
    }

    /// The set as disjoint `(mask, value)` pairs.
    pub(crate) fn bits(self) -> Vec<(u64, u64)> {
        match self {
            Self::Between { low, high } => prefixes(low, high),
            Self::Halves { upper, lower } => {
                let lowers = half_prefixes(lower);
                let pair = |upper: (u64, u64), lower: (u64, u64)| (upper.0 << 32 | lower.0, upper.1 << 32 | lower.1);
                let uppers = half_prefixes(upper).into_iter();
                uppers.flat_map(|upper| lowers.iter().map(move |lower| pair(upper, *lower))).collect()
            }
            Self::Masked { mask, value } => vec![(mask, value)],
        }
    }
}

fn between(low: u64, high: u64) -> Option<ArgumentSet> {
    (low <= high).then_some(ArgumentSet::Between { low, high })
}

/// The ranges of upper and lower half whose products make up the set: at most three. None for a masked set.
fn rectangles(set: ArgumentSet) -> impl Iterator<Item = (HalfRange, HalfRange)> {
    let parts = match set {
        ArgumentSet::Between { low, high } => {
            let ([a, b], [c, d]) = (halves(low), halves(high));
            let inner = (a.saturating_add(1), c.saturating_sub(1));
            if a == c {
                [Some(((a, a), (b, d))), None, None]
            } else if (b, d) == WHOLE_HALF {
                [Some(((a, c), WHOLE_HALF)), None, None]
            } else {
                let middle = (inner.0 <= inner.1).then_some((inner, WHOLE_HALF));
                [Some(((a, a), (b, u32::MAX))), middle, Some(((c, c), (0, d)))]
            }
        }
        ArgumentSet::Halves { upper, lower } => [Some((upper, lower)), None, None],
        ArgumentSet::Masked { .. } => [None; 3],
    };
    parts.into_iter().flatten()
}

fn intersect_by_halves(a: ArgumentSet, b: ArgumentSet) -> Vec<ArgumentSet> {
    let overlap = |a: HalfRange, b: HalfRange| {
        let (low, high) = (a.0.max(b.0), a.1.min(b.1));
        (low <= high).then_some((low, high))
    };
    let pairs = rectangles(a).flat_map(|ours| rectangles(b).map(move |theirs| (ours, theirs)));
    pairs
        .filter_map(|(ours, theirs)| Some(ArgumentSet::halves(overlap(ours.0, theirs.0)?, overlap(ours.1, theirs.1)?)))
        .collect()
}

fn intersect_by_bits(a: ArgumentSet, b: ArgumentSet) -> Vec<ArgumentSet> {
    let theirs = b.bits();
    let mut found = Vec::new();
    for (mask, value) in a.bits() {
        for &(their_mask, their_value) in &theirs {
            if (value ^ their_value) & mask & their_mask == 0 {
                found.push(ArgumentSet::masked(mask | their_mask, value | their_value));
            }
        }
    }
    found
}

fn outside(range: HalfRange) -> impl Iterator<Item = HalfRange> {
    let below = range.0.checked_sub(1).map(|end| (0, end));
    let above = range.1.checked_add(1).map(|start| (start, u32::MAX));
    below.into_iter().chain(above)
}

fn join_halves(a: HalfRange, b: HalfRange) -> Option<HalfRange> {
    let touching = b.0 <= a.1.saturating_add(1) && a.0 <= b.1.saturating_add(1);
    touching.then(|| (a.0.min(b.0), a.1.max(b.1)))
}

/// One piece for each bit of the mask: that bit differs and the masked bits above it agree.
fn complement_of_mask(mask: u64, value: u64) -> Vec<ArgumentSet> {
    let bits = (0..u64::BITS).rev().map(|shift| 1_u64 << shift).filter(|bit| mask & bit != 0);
    bits.map(|bit| {
        let above = mask & !(bit | bit.wrapping_sub(1));
        ArgumentSet::masked(above | bit, (value & above) | (!value & bit))
    })
    .collect()
}

#[cfg(test)]
mod tests;
