//! Deciding by the arguments of a call. The kernel hands over 64 bits of each, BPF compares 32.

use super::assemble::{Assembler, Position};
use super::instruction::{JUMP_IF_ABOVE, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, argument_offsets};
use crate::argument::ArgumentSet;
use crate::region::Region;

/// Where to go on: inside of a set, and outside.
#[derive(Clone, Copy)]
struct Fork {
    inside: Position,
    outside: Position,
}

/// Goes to `inside` if all arguments are in the region, else to `outside`.
pub(super) fn region(program: &mut Assembler, region: &Region, inside: Position, outside: Position) -> Position {
    let indices = (0_u32..).zip(region.arguments()).collect::<Vec<_>>();
    indices
        .into_iter()
        .rev()
        .filter(|(_, set)| **set != ArgumentSet::ALL)
        .fold(inside, |inside, (index, set)| argument(program, argument_offsets(index), *set, Fork { inside, outside }))
}

fn argument(program: &mut Assembler, [upper, lower]: [u32; 2], set: ArgumentSet, fork: Fork) -> Position {
    match set {
        ArgumentSet::Between { low, high } if halves(low)[0] == halves(high)[0] => {
            let ([same, from], [_, to]) = (halves(low), halves(high));
            let within = half(program, lower, (from, to), fork);
            half(program, upper, (same, same), Fork { inside: within, ..fork })
        }
        ArgumentSet::Between { low, high } => {
            let within = at_most(program, [upper, lower], high, fork);
            at_least(program, [upper, lower], low, Fork { inside: within, ..fork })
        }
        ArgumentSet::Halves { upper: uppers, lower: lowers } => {
            let within = half(program, lower, lowers, fork);
            half(program, upper, uppers, Fork { inside: within, ..fork })
        }
        ArgumentSet::Masked { mask, value } => {
            let ([upper_mask, lower_mask], [upper_value, lower_value]) = (halves(mask), halves(value));
            let within = masked(program, lower, (lower_mask, lower_value), fork);
            masked(program, upper, (upper_mask, upper_value), Fork { inside: within, ..fork })
        }
    }
}

fn halves(value: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])]
}

/// The whole argument is at most `high`: its upper half is smaller, or equal and the lower one is at most the bound's.
fn at_most(program: &mut Assembler, [upper, lower]: [u32; 2], high: u64, fork: Fork) -> Position {
    if high == u64::MAX {
        return fork.inside;
    }
    let [high_upper, high_lower] = halves(high);
    let equal = half(program, lower, (0, high_lower), fork);
    let below = if high_upper == 0 {
        fork.outside
    } else {
        // Not equal here: above means outside.
        program.branch(JUMP_IF_ABOVE, high_upper, fork.outside, fork.inside)
    };
    let compare = program.branch(JUMP_IF_EQUAL, high_upper, equal, below);
    program.load(upper, compare)
}

fn at_least(program: &mut Assembler, [upper, lower]: [u32; 2], low: u64, fork: Fork) -> Position {
    if low == 0 {
        return fork.inside;
    }
    let [low_upper, low_lower] = halves(low);
    let equal = half(program, lower, (low_lower, u32::MAX), fork);
    let above = if low_upper == u32::MAX {
        fork.outside
    } else {
        program.branch(JUMP_IF_ABOVE, low_upper, fork.inside, fork.outside)
    };
    let compare = program.branch(JUMP_IF_EQUAL, low_upper, equal, above);
    program.load(upper, compare)
}

/// One half is in a range.
fn half(program: &mut Assembler, offset: u32, (low, high): (u32, u32), fork: Fork) -> Position {
    if (low, high) == (0, u32::MAX) {
        return fork.inside;
    }
    let compare = if low == high {
        program.branch(JUMP_IF_EQUAL, low, fork.inside, fork.outside)
    } else {
        let within =
            if high == u32::MAX { fork.inside } else { program.branch(JUMP_IF_ABOVE, high, fork.outside, fork.inside) };
        if low == 0 { within } else { program.branch(JUMP_IF_AT_LEAST, low, within, fork.outside) }
    };
    program.load(offset, compare)
}

fn masked(program: &mut Assembler, offset: u32, (mask, value): (u32, u32), fork: Fork) -> Position {
    if mask == 0 {
        return fork.inside;
    }
    let compare = program.branch(JUMP_IF_EQUAL, value, fork.inside, fork.outside);
    let kept = program.keep(mask, compare);
    program.load(offset, kept)
}
