//! Deciding by the number of a call: a tree over sorted ranges, so that a filter of hundreds of calls takes a dozen comparisons.

use std::collections::BTreeMap;

use super::assemble::{Assembler, Position};
use super::instruction::JUMP_IF_AT_LEAST;

/// Where numbers go on, by number, in any order; of two for one number the later counts.
pub(super) type Ways = Vec<(u32, Position)>;

/// Which of several ways for one number counts: the last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// What an area goes on with behind a number that goes its own way.
    After,
    Area,
    Decided,
}

/// The tree; the number is loaded. Each number of `decided` goes its own way, all others as the area that they are in;
/// `areas` has their first numbers, 0 among them.
///
/// Sorted once, not inserted one by one: musl moves what is behind an insertion slowly.
pub(super) fn tree(program: &mut Assembler, areas: &Ways, decided: &Ways, otherwise: Position) -> Position {
    let by_start: BTreeMap<u32, Position> = areas.iter().copied().collect();
    let after = decided.iter().filter_map(|(number, _)| {
        let next = number.checked_add(1)?;
        by_start.range(..=next).next_back().map(|(_, then)| (next, Kind::After, *then))
    });
    let own = decided.iter().map(|(number, then)| (*number, Kind::Decided, *then));
    let mut starts: Vec<(u32, Kind, Position)> =
        by_start.iter().map(|(start, then)| (*start, Kind::Area, *then)).chain(after).chain(own).collect();
    starts.sort_by_key(|(number, kind, _)| (*number, *kind));
    let mut ranges: Vec<(u32, Position)> = Vec::with_capacity(starts.len());
    for (number, _, then) in starts {
        if ranges.last().is_some_and(|(last, _)| *last == number) {
            ranges.pop();
        }
        ranges.push((number, then));
    }
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
