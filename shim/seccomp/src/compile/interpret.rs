//! A compiled filter as the kernel runs it, for whoever answers calls in the kernel's place.
//!
//! Source: kernel/seccomp.c `seccomp_check_filter` and net/core/filter.c.

use super::CompiledFilter;
use super::instruction::{
    AND, ARCHITECTURE_OFFSET, ARGUMENTS_OFFSET, Instruction, JUMP, JUMP_IF_ABOVE, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL,
    LOAD, NUMBER_OFFSET, RETURN,
};
use super::target::Target;
use crate::verdict::Verdict;

/// How many arguments a call has.
const ARGUMENTS: usize = 6;

/// One system call, as the kernel shows it to a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// AUDIT_ARCH_* of linux/audit.h.
    pub architecture: u32,
    /// Its number there.
    pub number: u32,
    /// The registers.
    pub arguments: [u64; ARGUMENTS],
}

/// What a filter says of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What becomes of it.
    pub verdict: Verdict,
    /// Which of its arguments were looked at for that.
    pub looked_at: [bool; ARGUMENTS],
}

impl CompiledFilter {
    /// What the kernel would do with a call under this filter; `None` for a program that the kernel would not load, or one that asks a
    /// listener.
    #[must_use]
    pub fn answer(&self, call: &Call) -> Option<Answer> {
        let (mut at, mut accumulator) = (0_usize, 0_u32);
        let mut looked_at = [false; ARGUMENTS];
        // Jumps lead forward only, so no instruction is met twice.
        loop {
            let Instruction { code, jt, jf, k } = *self.program.get(at)?;
            let skip = |holds: bool| usize::from(if holds { jt } else { jf });
            let skipped = match code {
                LOAD => {
                    accumulator = call.word(k, &mut looked_at)?;
                    0
                }
                AND => {
                    accumulator &= k;
                    0
                }
                JUMP => usize::try_from(k).ok()?,
                JUMP_IF_EQUAL => skip(accumulator == k),
                JUMP_IF_ABOVE => skip(accumulator > k),
                JUMP_IF_AT_LEAST => skip(accumulator >= k),
                RETURN => return Some(Answer { verdict: verdict_of(k)?, looked_at }),
                _ => return None,
            };
            at = at.checked_add(1)?.checked_add(skipped)?;
        }
    }
}

impl Call {
    /// A call of this program's own architecture by its name; `None` for a name that it does not have.
    #[must_use]
    pub fn native(name: &str, arguments: [u64; ARGUMENTS]) -> Option<Self> {
        let target = Target::native().ok()?;
        Some(Self { architecture: target.audit(), number: target.number(name)?, arguments })
    }

    /// The word at an offset of `struct seccomp_data`, little-endian as all architectures that filters are made for.
    fn word(&self, offset: u32, looked_at: &mut [bool; ARGUMENTS]) -> Option<u32> {
        match offset {
            NUMBER_OFFSET => return Some(self.number),
            ARCHITECTURE_OFFSET => return Some(self.architecture),
            _ => {}
        }
        let within = offset.checked_sub(ARGUMENTS_OFFSET).filter(|within| within.is_multiple_of(4))?;
        let index = usize::try_from(within / 8).ok()?;
        let argument = self.arguments.get(index)?;
        *looked_at.get_mut(index)? = true;
        let half = if within.is_multiple_of(8) { argument & u64::from(u32::MAX) } else { argument >> 32 };
        u32::try_from(half).ok()
    }
}

/// The verdict that a program returns as SECCOMP_RET_* with its data (linux/seccomp.h); `None` for one that leaves it to a listener or a
/// tracer.
pub(super) fn verdict_of(value: u32) -> Option<Verdict> {
    let data = u16::try_from(value & 0xffff).ok()?;
    match value & 0xffff_0000 {
        0x7fff_0000 => Some(Verdict::Allow),
        0x7ffc_0000 => Some(Verdict::Log),
        0x0005_0000 => Some(Verdict::Errno(data)),
        0x0003_0000 => Some(Verdict::Trap),
        0x8000_0000 => Some(Verdict::KillProcess),
        0 => Some(Verdict::KillThread),
        _ => None,
    }
}
