//! Classic BPF as the kernel runs it on `struct seccomp_data`: kernel/seccomp.c `seccomp_check_filter` and net/core/filter.c.

use palisade_seccomp::{Instruction, Verdict};

/// What a filter is asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) audit: u32,
    pub(crate) number: u32,
    pub(crate) arguments: [u64; 6],
}

impl Call {
    /// The word at an offset of `struct seccomp_data`, little-endian.
    fn word(&self, offset: u32) -> u32 {
        let half = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap();
        let halves = |value: u64| [half(value), half(value >> 32)];
        let mut words = vec![self.number, self.audit, 0, 0];
        words.extend(self.arguments.iter().flat_map(|argument| halves(*argument)));
        assert!(offset.is_multiple_of(4), "unaligned load at {offset}");
        words[offset as usize / 4]
    }
}

/// The verdict, and how many instructions it took. Panics where the kernel would not load the program.
pub(crate) fn run(program: &[Instruction], call: &Call) -> (Verdict, usize) {
    let (value, steps) = value(program, call);
    (verdict(value), steps)
}

/// The same with what the program returns.
pub(crate) fn value(program: &[Instruction], call: &Call) -> (u32, usize) {
    let (mut at, mut accumulator, mut steps) = (0_usize, 0_u32, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        (at, steps) = (at + 1, steps + 1);
        let mut branch = |holds: bool| at += usize::from(if holds { jt } else { jf });
        match code {
            0x20 => accumulator = call.word(k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => branch(accumulator == k),
            0x25 => branch(accumulator > k),
            0x35 => branch(accumulator >= k),
            0x06 => return (k, steps),
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn verdict(value: u32) -> Verdict {
    let data = u16::try_from(value & 0xffff).unwrap();
    match value & 0xffff_0000 {
        0x7fff_0000 => Verdict::Allow,
        0x7ffc_0000 => Verdict::Log,
        0x0005_0000 => Verdict::Errno(data),
        0x0003_0000 => Verdict::Trap,
        0x8000_0000 => Verdict::KillProcess,
        0 => Verdict::KillThread,
        other => panic!("no such action: {other:#x}"),
    }
}
