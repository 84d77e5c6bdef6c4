//! Ranges of the lower half of an argument.

use serde::Deserialize;

use super::ProfileError;
use crate::argument::ArgumentSet;
use crate::region::{self, Region};

/// Values of the lower 32 bits of one argument; the kernel reads no more of an `int`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Low32<'a> {
    index: usize,
    #[serde(default, borrow)]
    r#in: Vec<&'a str>,
    #[serde(default, borrow)]
    except: Vec<&'a str>,
}

impl Low32<'_> {
    /// The calls that are meant.
    pub(super) fn regions(&self, file: &str) -> Result<Vec<Region>, ProfileError> {
        let wrong = |reason| ProfileError::Entry {
            file: file.to_owned(),
            comment: format!("low32 of argument {}", self.index),
            reason,
        };
        let (listed, inside) = match (self.r#in.as_slice(), self.except.as_slice()) {
            (listed, []) if !listed.is_empty() => (listed, true),
            ([], listed) if !listed.is_empty() => (listed, false),
            _ => return Err(wrong("low32 needs either \"in\" or \"except\"")),
        };
        let sets = listed.iter().map(|range| parse(range).ok_or_else(|| out_of_range(file, range)));
        let regions = sets
            .map(|set| Region::of_argument(self.index, set?).ok_or_else(|| wrong("the index is above 5")))
            .collect::<Result<Vec<_>, _>>()?;
        if inside {
            return Ok(region::simplify(regions));
        }
        region::subtract(vec![Region::ALL], &regions).map_err(|_| wrong("too many exceptions"))
    }
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
