//! Deciding by the number of a call: a tree over sorted ranges, so that a filter of hundreds of calls takes a dozen comparisons.

use super::assemble::{Assembler, Position};
use super::instruction::JUMP_IF_AT_LEAST;

/// From this number to the next entry's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) then: Position,
}

/// The ranges in which these numbers, sorted and each once, go their own way and all others to `otherwise`.
pub(super) fn ranges(numbers: impl Iterator<Item = (u32, Position)>, otherwise: Position) -> Vec<Range> {
    let mut found = vec![Range { start: 0, then: otherwise }];
    for (number, then) in numbers {
        extend(&mut found, Range { start: number, then });
        if let Some(start) = number.checked_add(1) {
            extend(&mut found, Range { start, then: otherwise });
        }
    }
    // A range that the next one leaves empty, or that goes the way of the one before.
    found.dedup_by(|next, before| next.then == before.then);
    found
}

/// Adds a range; one that would be empty gives way to it.
pub(super) fn extend(ranges: &mut Vec<Range>, range: Range) {
    if ranges.last().is_some_and(|last| last.start == range.start) {
        ranges.pop();
    }
    ranges.push(range);
}

/// The tree; the number is loaded. `ranges` begin with number 0.
pub(super) fn tree(program: &mut Assembler, ranges: &[Range], otherwise: Position) -> Position {
    match ranges {
        [] => otherwise,
        [only] => only.then,
        _ => {
            let (below, from) = ranges.split_at(ranges.len().div_ceil(2));
            let start = from.first().map_or(0, |range| range.start);
            let upper = tree(program, from, otherwise);
            let lower = tree(program, below, otherwise);
            program.branch(JUMP_IF_AT_LEAST, start, upper, lower)
        }
    }
}
