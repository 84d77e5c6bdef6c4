//! Instructions of classic BPF, as seccomp(2) takes them.

/// One instruction: `struct sock_filter` of linux/filter.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instruction {
    /// Operation and addressing mode.
    pub code: u16,
    /// Instructions to skip if a comparison holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// BPF_LD | BPF_W | BPF_ABS (linux/bpf_common.h).
pub(super) const LOAD: u16 = 0x20;
/// BPF_ALU | BPF_AND | BPF_K.
pub(super) const AND: u16 = 0x54;
/// BPF_JMP | BPF_JA.
pub(super) const JUMP: u16 = 0x05;
/// BPF_JMP | BPF_JEQ | BPF_K.
pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
/// BPF_JMP | BPF_JGT | BPF_K.
pub(super) const JUMP_IF_ABOVE: u16 = 0x25;
/// BPF_JMP | BPF_JGE | BPF_K.
pub(super) const JUMP_IF_AT_LEAST: u16 = 0x35;
/// BPF_RET | BPF_K.
pub(super) const RETURN: u16 = 0x06;

/// `nr` and `arch` in struct seccomp_data (linux/seccomp.h).
pub(super) const NUMBER_OFFSET: u32 = 0;
pub(super) const ARCHITECTURE_OFFSET: u32 = 4;
pub(super) const ARGUMENTS_OFFSET: u32 = 16;

/// Where the upper and the lower half of an argument are; little-endian, as all targets are.
pub(super) fn argument_offsets(index: u32) -> [u32; 2] {
    let lower = ARGUMENTS_OFFSET.saturating_add(index.saturating_mul(8));
    [lower.saturating_add(4), lower]
}
