//! Deciding by the number of a call: a tree over sorted ranges, so that a filter of hundreds of calls takes a dozen comparisons.

use std::collections::BTreeMap;

use super::assemble::{Assembler, Position};
use super::instruction::JUMP_IF_AT_LEAST;

/// Where numbers go on, by number.
pub(super) type Ways = BTreeMap<u32, Position>;

/// The tree; the number is loaded. Each number of `decided` goes its own way, all others as the area that they are in;
/// `areas` has their first numbers, 0 among them.
pub(super) fn tree(program: &mut Assembler, areas: &Ways, decided: &Ways, otherwise: Position) -> Position {
    let mut starts = areas.clone();
    for (number, then) in decided {
        let next = number.checked_add(1).and_then(|next| Some((next, areas.range(..=next).next_back()?)));
        if let Some((next, (_, after))) = next {
            starts.entry(next).or_insert(*after);
        }
        starts.insert(*number, *then);
    }
    let mut ranges: Vec<(u32, Position)> = starts.into_iter().collect();
    ranges.dedup_by(|next, before| next.1 == before.1);
    branches(program, &ranges, otherwise)
}

fn branches(program: &mut Assembler, ranges: &[(u32, Position)], otherwise: Position) -> Position {
    match ranges {
        [] => otherwise,
        [(_, only)] => *only,
        _ => {
            let (below, from) = ranges.split_at(ranges.len().div_ceil(2));
            let start = from.first().map_or(0, |(start, _)| *start);
            let upper = branches(program, from, otherwise);
            let lower = branches(program, below, otherwise);
            program.branch(JUMP_IF_AT_LEAST, start, upper, lower)
        }
    }
}
