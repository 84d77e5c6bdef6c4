//! Ranges of the lower half of an argument.

use super::ProfileError;
use super::shape::Low32;
use crate::argument::ArgumentSet;
use crate::region::{self, Region};

/// The calls that are meant: every condition holds.
pub(super) fn regions(conditions: &[Low32], file: &str) -> Result<Vec<Region>, ProfileError> {
    conditions.iter().try_fold(vec![Region::ALL], |met, condition| {
        let too_many = |_| wrong(file, condition, "the ranges make too many pieces");
        region::intersect(&met, &one(condition, file)?).map_err(too_many)
    })
}

fn one(condition: &Low32, file: &str) -> Result<Vec<Region>, ProfileError> {
    let (listed, inside) = match (condition.r#in.as_slice(), condition.except.as_slice()) {
        (listed, []) if !listed.is_empty() => (listed, true),
        ([], listed) if !listed.is_empty() => (listed, false),
        _ => return Err(wrong(file, condition, "low32 needs either \"in\" or \"except\"")),
    };
    let above = || wrong(file, condition, "the index is above 5");
    let sets = listed.iter().map(|range| parse(range).ok_or_else(|| out_of_range(file, range)));
    let regions = sets.map(|set| Region::of_argument(condition.index, set?).ok_or_else(above));
    let regions = regions.collect::<Result<Vec<_>, _>>()?;
    if inside {
        return Ok(region::simplify(regions));
    }
    region::subtract(vec![Region::ALL], &regions).map_err(|_| wrong(file, condition, "too many exceptions"))
}

fn wrong(file: &str, condition: &Low32, reason: &'static str) -> ProfileError {
    ProfileError::Entry { file: file.to_owned(), comment: format!("low32 of argument {}", condition.index), reason }
}

fn out_of_range(file: &str, range: &str) -> ProfileError {
    ProfileError::Range { file: file.to_owned(), range: range.to_owned() }
}

fn parse(range: &str) -> Option<ArgumentSet> {
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    let (low, high) = (number(low)?, number(high)?);
    ArgumentSet::low32(low, high)
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
