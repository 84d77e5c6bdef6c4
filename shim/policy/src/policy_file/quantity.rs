//! Amounts with units.

use toml::Spanned;

use super::error::{Place, PolicyError};
use super::shape::Quantity;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Bytes; a text has a binary suffix.
    Bytes,
    /// A number is whole CPUs, a text is thousandths.
    MilliCpu,
    /// Things.
    Count,
}

const SUFFIXES: &[(&str, u32)] =
    &[("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)];

/// The largest that the kernel and OCI's signed fields can hold.
pub(super) const MOST: u64 = i64::MAX as u64;

/// The amount in bytes, thousandths of a CPU, or things; never zero.
pub(super) fn read(value: &Spanned<Quantity>, unit: Unit, key: &str, place: &Place) -> Result<u64, PolicyError> {
    at_least(1, value, unit, key, place)
}

/// The same, where none at all is an amount as well.
pub(super) fn read_or_zero(
    value: &Spanned<Quantity>,
    unit: Unit,
    key: &str,
    place: &Place,
) -> Result<u64, PolicyError> {
    at_least(0, value, unit, key, place)
}

fn at_least(least: u64, value: &Spanned<Quantity>, unit: Unit, key: &str, place: &Place) -> Result<u64, PolicyError> {
    let amount = match (value.get_ref(), unit) {
        (Quantity::Number(number), Unit::MilliCpu) => number.checked_mul(1000),
        (Quantity::Number(number), Unit::Bytes | Unit::Count) => Some(*number),
        (Quantity::Text(text), unit) => parse(text, unit),
    };
    amount.filter(|amount| (least..=MOST).contains(amount)).ok_or_else(|| {
        let mend = match unit {
            Unit::Bytes => "write bytes, or a text such as \"512MiB\"",
            Unit::MilliCpu => "write whole CPUs, or thousandths such as \"1500m\"",
            Unit::Count => "write a number above 0",
        };
        place.wrong(value.span(), key, "is not an amount", mend)
    })
}

pub(super) fn parse(text: &str, unit: Unit) -> Option<u64> {
    match unit {
        Unit::Count => None,
        Unit::MilliCpu => number(text.strip_suffix('m')?),
        Unit::Bytes => {
            let (digits, shift) =
                SUFFIXES.iter().find_map(|(suffix, shift)| Some((text.strip_suffix(suffix)?, *shift)))?;
            number(digits)?.checked_mul(1 << shift)
        }
    }
}

pub(super) fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}
