//! A program, assembled from its end to its beginning.
//!
//! BPF jumps forward alone, so whatever an instruction leads to is there before it, and its distance is known. A comparison
//! jumps over 255 instructions at most; what is farther away is reached by a jump in between, or, if it only returns, repeated.
//! Equal instructions with equal successors are one, so equal decisions about different calls share their code.

use std::collections::HashMap;

use super::instruction::{AND, Instruction, JUMP, LOAD, RETURN};

/// The kernel's BPF_MAXINSNS.
pub(super) const MAX_INSTRUCTIONS: usize = 4096;

/// Where an instruction stands, counted from the end of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Position(usize);

/// Operation, operand and both successors.
type Step = (u16, u32, Position, Position);

/// A program in the making.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The last instruction of the program comes first.
    reversed: Vec<Instruction>,
    known: HashMap<Step, Position>,
    returns: HashMap<u32, Position>,
}

impl Assembler {
    /// Ends the program with a value of `SECCOMP_RET_*`.
    pub(super) fn give(&mut self, value: u32) -> Position {
        if let Some(position) = self.returns.get(&value) {
            return *position;
        }
        let position = self.push(Instruction { code: RETURN, jt: 0, jf: 0, k: value });
        self.returns.insert(value, position);
        position
    }

    /// Loads a word of `struct seccomp_data`, then goes on.
    pub(super) fn load(&mut self, offset: u32, then: Position) -> Position {
        self.straight(LOAD, offset, then)
    }

    /// Keeps these bits of what was loaded, then goes on.
    pub(super) fn keep(&mut self, mask: u32, then: Position) -> Position {
        self.straight(AND, mask, then)
    }

    /// Compares what was loaded by one of the `JUMP_IF_*`.
    pub(super) fn branch(&mut self, code: u16, value: u32, yes: Position, no: Position) -> Position {
        if yes == no {
            return yes;
        }
        let step = (code, value, yes, no);
        if let Some(position) = self.known.get(&step) {
            return *position;
        }
        // Reaching the second may take an instruction, which the first is then farther away.
        let yes = self.within(yes, usize::from(u8::MAX) - 1);
        let no = self.within(no, usize::from(u8::MAX));
        let [jt, jf] = [yes, no].map(|target| u8::try_from(self.distance(target)).unwrap_or(u8::MAX));
        let position = self.push(Instruction { code, jt, jf, k: value });
        self.known.insert(step, position);
        position
    }

    /// The program that begins at `start`, or `None` if it is larger than the kernel takes.
    pub(super) fn finish(mut self, start: Position) -> Option<Vec<Instruction>> {
        self.within(start, 0);
        self.reversed.reverse();
        (self.reversed.len() <= MAX_INSTRUCTIONS).then_some(self.reversed)
    }

    fn straight(&mut self, code: u16, operand: u32, then: Position) -> Position {
        let step = (code, operand, then, then);
        if let Some(position) = self.known.get(&step) {
            return *position;
        }
        self.within(then, 0);
        let position = self.push(Instruction { code, jt: 0, jf: 0, k: operand });
        self.known.insert(step, position);
        position
    }

    /// How many instructions the next one would skip to get there.
    fn distance(&self, target: Position) -> usize {
        self.reversed.len().saturating_sub(target.0).saturating_sub(1)
    }

    /// The same target, or one that leads there, at most `most` instructions away from the next one.
    fn within(&mut self, target: Position, most: usize) -> Position {
        let distance = self.distance(target);
        if distance <= most {
            return target;
        }
        match self.reversed.get(target.0).copied() {
            Some(copy) if copy.code == RETURN => self.push(copy),
            // Longer than any program, so that one that is too large stays so.
            _ => self.push(Instruction { code: JUMP, jt: 0, jf: 0, k: u32::try_from(distance).unwrap_or(u32::MAX) }),
        }
    }

    fn push(&mut self, instruction: Instruction) -> Position {
        self.reversed.push(instruction);
        Position(self.reversed.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::instruction::JUMP_IF_EQUAL;

    /// A chain of comparisons, each of which leads to the same far instruction.
    #[test]
    fn what_is_far_away_is_reached() {
        let mut program = Assembler::default();
        let (zero, last) = (program.give(0), program.give(1));
        let far = program.load(0, last);
        let mut next = zero;
        for value in 0..600 {
            next = program.branch(JUMP_IF_EQUAL, value, far, next);
        }
        let start = program.load(4, next);
        let program = program.finish(start).unwrap();
        // Interpreted with 599, the first comparison of the chain leads to the load; with 700 all fail.
        for (word, expected) in [(599, 1), (0, 1), (300, 1), (700, 0)] {
            let (mut at, mut loaded) = (0, 0);
            let value = loop {
                let Instruction { code, jt, jf, k } = program[at];
                at += 1;
                match code {
                    LOAD => loaded = if k == 4 { word } else { 0 },
                    JUMP => at += k as usize,
                    RETURN => break k,
                    _ => at += usize::from(if loaded == k { jt } else { jf }),
                }
            };
            assert_eq!(value, expected, "{word}");
        }
    }

    #[test]
    fn equal_steps_are_one() {
        let mut program = Assembler::default();
        let (yes, no) = (program.give(1), program.give(0));
        assert_eq!(program.branch(JUMP_IF_EQUAL, 7, yes, no), program.branch(JUMP_IF_EQUAL, 7, yes, no));
        assert_eq!(program.load(0, yes), program.load(0, yes));
        assert_eq!(program.branch(JUMP_IF_EQUAL, 8, yes, yes), yes);
    }

    #[test]
    fn what_the_kernel_would_not_take_is_no_program() {
        let mut program = Assembler::default();
        let mut next = program.give(0);
        for value in 1..u32::try_from(MAX_INSTRUCTIONS).unwrap() {
            next = program.load(value, next);
        }
        let longer = {
            let mut longer = Assembler { reversed: program.reversed.clone(), ..Assembler::default() };
            let start = longer.load(0, next);
            longer.finish(start)
        };
        assert_eq!(program.finish(next).unwrap().len(), MAX_INSTRUCTIONS);
        assert_eq!(longer, None);
    }
}
