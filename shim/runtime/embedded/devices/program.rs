//! Device rules as a BPF program of type BPF_PROG_TYPE_CGROUP_DEVICE.
//!
//! The kernel calls it with `struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }`, where the low half
//! of `access_type` is the kind and the high half the access, and denies when it returns 0. Source: linux/bpf.h,
//! the kernel's cgroup-v2.rst "Device controller".
//!
//! Registers: r2 kind, r3 what is asked and not yet allowed, r4 major, r5 minor.

use super::rules::{Rule, Rules};

const R0: u64 = 0;
const R1: u64 = 1;
const KIND: u64 = 2;
const ASKED: u64 = 3;
const MAJOR: u64 = 4;
const MINOR: u64 = 5;

/// Loads a 32-bit word: `dst = *(u32 *)(src + off)`.
const LOAD_WORD: u64 = 0x61;
/// 32-bit arithmetic with a constant.
const MOVE: u64 = 0xb4;
const AND: u64 = 0x54;
const SHIFT_RIGHT: u64 = 0x74;
/// 32-bit move between registers.
const COPY: u64 = 0xbc;
/// 32-bit jumps on a comparison with a constant.
const JUMP_IF_NOT_EQUAL: u64 = 0x56;
const JUMP_IF_SET: u64 = 0x46;
const JUMP: u64 = 0x05;
const EXIT: u64 = 0x95;

/// `struct bpf_insn`, on the little-endian machines that this runs on.
const fn step(code: u64, dst: u64, src: u64, off: u16, imm: u32) -> u64 {
    code | dst << 8 | src << 12 | (off as u64) << 16 | (imm as u64) << 32
}

/// The program that decides as [`Rules::allowed`] does.
pub(super) fn of(rules: &Rules) -> Vec<u64> {
    let mut program = vec![
        step(LOAD_WORD, KIND, R1, 0, 0),
        step(COPY, ASKED, KIND, 0, 0),
        step(AND, KIND, 0, 0, 0xffff),
        step(SHIFT_RIGHT, ASKED, 0, 0, 16),
        step(LOAD_WORD, MAJOR, R1, 4, 0),
        step(LOAD_WORD, MINOR, R1, 8, 0),
    ];
    rules.last_first().for_each(|rule| program.extend(of_rule(rule)));
    program.extend(answer(0));
    program
}

fn answer(value: u32) -> [u64; 2] {
    [step(MOVE, R0, 0, 0, value), step(EXIT, 0, 0, 0, 0)]
}

fn of_rule(rule: &Rule) -> Vec<u64> {
    let verdict = if rule.allow {
        // What this rule allows is off the list; when the list is empty, all is allowed.
        let left = !rule.access.bits();
        let [allow, exit] = answer(1);
        [step(AND, ASKED, 0, 0, left), step(JUMP_IF_NOT_EQUAL, ASKED, 0, 2, 0), allow, exit]
    } else {
        let [deny, exit] = answer(0);
        [step(JUMP_IF_SET, ASKED, 0, 1, rule.access.bits()), step(JUMP, 0, 0, 2, 0), deny, exit]
    };
    let conditions = [(KIND, rule.kind.map(|kind| kind as u32)), (MAJOR, rule.major), (MINOR, rule.minor)];
    let conditions: Vec<(u64, u32)> =
        conditions.into_iter().filter_map(|(register, value)| Some((register, value?))).collect();
    let mut steps = Vec::with_capacity(conditions.len() + verdict.len());
    for (place, (register, value)) in (1u16..).zip(&conditions) {
        // Over the conditions that are left and the four steps of the verdict.
        let left = u16::try_from(conditions.len()).unwrap_or(u16::MAX).saturating_sub(place);
        steps.push(step(JUMP_IF_NOT_EQUAL, *register, 0, left + 4, *value));
    }
    steps.extend(verdict);
    steps
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::rules;
    use super::super::rules::{Access, DeviceType};
    use super::*;

    /// Runs a program as the kernel would. Only what [`of`] writes is known.
    fn run(program: &[u64], kind: DeviceType, access: u32, major: u32, minor: u32) -> u32 {
        let mut registers = [0u32; 6];
        let mut at = 0usize;
        loop {
            let word = program[at];
            let (code, dst, src) = (word & 0xff, (word >> 8 & 0xf) as usize, (word >> 12 & 0xf) as usize);
            let (off, imm) = ((word >> 16 & 0xffff) as usize, (word >> 32) as u32);
            at += 1;
            match code {
                LOAD_WORD => registers[dst] = [access << 16 | kind as u32, major, minor][off / 4],
                MOVE => registers[dst] = imm,
                COPY => registers[dst] = registers[src],
                AND => registers[dst] &= imm,
                SHIFT_RIGHT => registers[dst] >>= imm,
                JUMP => at += off,
                JUMP_IF_NOT_EQUAL => at += if registers[dst] == imm { 0 } else { off },
                JUMP_IF_SET => at += if registers[dst] & imm == 0 { 0 } else { off },
                EXIT => return registers[0],
                other => panic!("unknown code {other:#x}"),
            }
        }
    }

    #[test]
    fn the_program_decides_as_the_rules_do() {
        let lists = [
            "[]",
            r#"[{"allow":true,"access":"rwm"}]"#,
            r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"b","major":8,"access":"rm"},{"allow":false,"type":"b","major":8,"minor":1,"access":"m"}]"#,
            r#"[{"allow":true,"type":"c","minor":3,"access":"w"},{"allow":true,"type":"c","major":1,"access":"r"},{"allow":false,"type":"a","major":7,"access":"m"}]"#,
        ];
        for list in lists {
            for rules in [rules(list).unwrap(), rules(list).unwrap().with_defaults()] {
                let program = of(&rules);
                for kind in [DeviceType::Block, DeviceType::Character] {
                    for (major, minor) in [(1, 3), (1, 5), (8, 0), (8, 1), (7, 3), (10, 200), (136, 9), (u32::MAX, 3)] {
                        let allowed = rules.allowed(kind, major, minor);
                        for access in 1..=Access::ALL.bits() {
                            let expected = u32::from(access & !allowed.bits() == 0);
                            let found = run(&program, kind, access, major, minor);
                            assert_eq!(found, expected, "{list} {kind:?} {major}:{minor} {access}");
                        }
                    }
                }
            }
        }
    }
}
