//! The order in which the programs of one filter can be loaded.
//!
//! Each loaded program is in force for the call that loads the next one. A profile that does not allow seccomp(2), as
//! any tight one, must therefore be complete with the program that stops it. Which one that is, is found by running
//! the programs on that very call.

use crate::unsafe_syscalls::SockFilter;

/// SECCOMP_RET_ALLOW and SECCOMP_RET_LOG of linux/seccomp.h: the answers with which a call runs.
const RUNS: [u32; 2] = [0x7fff_0000, 0x7ffc_0000];

/// Opcodes of classic BPF that filters consist of. Source: linux/bpf_common.h.
const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const JUMP_SET: u16 = 0x45;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

/// The programs with the one that stops loading at the end; `None` if there are two of them.
pub(super) fn loadable(programs: Vec<Vec<SockFilter>>) -> Option<Vec<Vec<SockFilter>>> {
    let (mut last, mut in_order): (Vec<_>, Vec<_>) = programs.into_iter().partition(|program| stops_loading(program));
    if last.len() > 1 {
        return None;
    }
    in_order.append(&mut last);
    Some(in_order)
}

/// Whether the program stops `seccomp(SECCOMP_SET_MODE_FILTER, …)`. An unknown instruction counts as stopping.
pub(super) fn stops_loading(program: &[SockFilter]) -> bool {
    answer(program).is_none_or(|answer| !RUNS.contains(&answer))
}

fn answer(program: &[SockFilter]) -> Option<u32> {
    let (mut at, mut accumulator) = (0usize, 0u32);
    loop {
        let step = program.get(at)?;
        at = at.checked_add(1)?;
        let branch = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
        let skip = match step.code {
            LOAD_WORD => {
                accumulator = word(step.k)?;
                0
            }
            AND => {
                accumulator &= step.k;
                0
            }
            JUMP => usize::try_from(step.k).ok()?,
            JUMP_EQUAL => branch(accumulator == step.k),
            JUMP_GREATER => branch(accumulator > step.k),
            JUMP_GREATER_EQUAL => branch(accumulator >= step.k),
            JUMP_SET => branch(accumulator & step.k != 0),
            RETURN => return Some(step.k),
            _ => return None,
        };
        at = at.checked_add(skip)?;
    }
}

/// A word of struct seccomp_data for that call: number, architecture, instruction pointer, arguments. Little-endian.
fn word(offset: u32) -> Option<u32> {
    match offset {
        0 => u32::try_from(libc::SYS_seccomp).ok(),
        4 => Some(ARCHITECTURE),
        16 => Some(libc::SECCOMP_SET_MODE_FILTER),
        8..64 if offset.is_multiple_of(4) => Some(0),
        _ => None,
    }
}

/// AUDIT_ARCH_* of linux/audit.h.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

#[cfg(test)]
mod tests {
    use super::*;

    fn step(code: u16, jt: u8, jf: u8, k: u32) -> SockFilter {
        SockFilter { code, jt, jf, k }
    }

    /// Answers `hit` to one system call and lets all others run.
    fn only(number: i64, hit: u32) -> Vec<SockFilter> {
        vec![
            step(LOAD_WORD, 0, 0, 0),
            step(JUMP_EQUAL, 0, 1, u32::try_from(number).unwrap()),
            step(RETURN, 0, 0, hit),
            step(RETURN, 0, 0, 0x7fff_0000),
        ]
    }

    #[test]
    fn the_stopping_program_goes_to_the_end() {
        let (stops, other) = (only(libc::SYS_seccomp, 0x0005_0001), only(libc::SYS_read, 0x8000_0000));
        assert!(stops_loading(&stops) && !stops_loading(&other));
        let order = loadable(vec![stops.clone(), other.clone()]).unwrap();
        assert_eq!(order, [other, stops.clone()]);
        assert_eq!(loadable(vec![stops.clone(), stops]), None);
    }

    #[test]
    fn logging_is_no_stop_and_the_unknown_is_one() {
        assert!(!stops_loading(&only(libc::SYS_seccomp, 0x7ffc_0000)));
        assert!(stops_loading(&[step(0x61, 0, 0, 0)]));
        assert!(stops_loading(&[step(JUMP, 0, 0, 9)]));
    }
}
