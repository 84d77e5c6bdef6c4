//! One BPF program: calls that match get one action, all others another.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

use super::{Calls, CompileError};
use crate::architecture::UnsupportedArchitecture;
use crate::argument::ArgumentSet;
use crate::region::Region;
use crate::verdict::Verdict;

/// The program that answers `matched` to these calls and `otherwise` to the rest.
pub(super) fn build(calls: Calls, matched: Verdict, otherwise: Verdict) -> Result<BpfProgram, CompileError> {
    let rules = calls
        .into_iter()
        .map(|(number, regions)| Ok((number, rules(&regions)?)))
        .collect::<Result<_, seccompiler::BackendError>>()
        .map_err(CompileError::Backend)?;
    let filter = SeccompFilter::new(rules, action(otherwise), action(matched), target()?);
    filter.and_then(BpfProgram::try_from).map_err(CompileError::Backend)
}

/// The rules of one system call. None is seccompiler's word for "whatever the arguments".
fn rules(regions: &[Region]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    if regions.contains(&Region::ALL) {
        return Ok(Vec::new());
    }
    regions.iter().map(|region| SeccompRule::new(conditions(region)?)).collect()
}

fn conditions(region: &Region) -> Result<Vec<SeccompCondition>, seccompiler::BackendError> {
    let mut conditions = Vec::new();
    for (index, set) in (0_u8..).zip(region.arguments()) {
        for (length, operator, value) in comparisons(*set) {
            conditions.push(SeccompCondition::new(index, length, operator, value)?);
        }
    }
    Ok(conditions)
}

/// Comparisons that the set is the conjunction of.
fn comparisons(set: ArgumentSet) -> Vec<(SeccompCmpArgLen, SeccompCmpOp, u64)> {
    let largest_half = u64::from(u32::MAX);
    match set {
        ArgumentSet::Between { low, high } => range(SeccompCmpArgLen::Qword, low, high, u64::MAX),
        ArgumentSet::Halves { upper, lower } => {
            let (low, high) = (u64::from(upper.0) << 32, u64::from(upper.1) << 32 | largest_half);
            let mut both = range(SeccompCmpArgLen::Qword, low, high, u64::MAX);
            both.extend(range(SeccompCmpArgLen::Dword, u64::from(lower.0), u64::from(lower.1), largest_half));
            both
        }
        ArgumentSet::Masked { mask, value } => {
            let low_half_only = mask <= largest_half;
            let length = if low_half_only { SeccompCmpArgLen::Dword } else { SeccompCmpArgLen::Qword };
            vec![(length, SeccompCmpOp::MaskedEq(mask), value)]
        }
    }
}

fn range(length: SeccompCmpArgLen, low: u64, high: u64, largest: u64) -> Vec<(SeccompCmpArgLen, SeccompCmpOp, u64)> {
    if low == high {
        return vec![(length, SeccompCmpOp::Eq, low)];
    }
    let from = (low > 0).then(|| (length.clone(), SeccompCmpOp::Ge, low));
    let to = (high < largest).then_some((length, SeccompCmpOp::Le, high));
    from.into_iter().chain(to).collect()
}

fn action(verdict: Verdict) -> SeccompAction {
    match verdict {
        Verdict::Allow => SeccompAction::Allow,
        Verdict::Log => SeccompAction::Log,
        Verdict::Errno(errno) => SeccompAction::Errno(u32::from(errno)),
        Verdict::Trap => SeccompAction::Trap,
        Verdict::KillThread => SeccompAction::KillThread,
        Verdict::KillProcess => SeccompAction::KillProcess,
    }
}

fn target() -> Result<TargetArch, UnsupportedArchitecture> {
    TargetArch::try_from(std::env::consts::ARCH).map_err(|_| UnsupportedArchitecture)
}

/// On x86_64 a program that kills calls of x86 and x32 and passes all others.
///
/// x32 calls carry the architecture of x86_64 and bit 30 in their number, so a filter by number that lets unknown
/// calls run lets all of them run. Number -1 is no call: it is what a tracer leaves behind to skip one.
pub(super) fn native_guard() -> Result<Option<BpfProgram>, UnsupportedArchitecture> {
    if target()? != TargetArch::x86_64 {
        return Ok(None);
    }
    Ok(Some(vec![
        instruction(LOAD, 0, 0, ARCHITECTURE_OFFSET),
        instruction(JUMP_IF_EQUAL, 0, 3, AUDIT_ARCH_X86_64),
        instruction(LOAD, 0, 0, NUMBER_OFFSET),
        instruction(JUMP_IF_AT_LEAST, 0, 2, X32_BIT),
        instruction(JUMP_IF_EQUAL, 1, 0, u32::MAX),
        instruction(RETURN, 0, 0, KILL_PROCESS),
        instruction(RETURN, 0, 0, ALLOW),
    ]))
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// BPF_LD | BPF_W | BPF_ABS (linux/bpf_common.h).
const LOAD: u16 = 0x20;
/// BPF_JMP | BPF_JGE | BPF_K.
const JUMP_IF_AT_LEAST: u16 = 0x35;
/// BPF_JMP | BPF_JEQ | BPF_K.
const JUMP_IF_EQUAL: u16 = 0x15;
/// BPF_RET | BPF_K.
const RETURN: u16 = 0x06;
/// `nr` and `arch` in struct seccomp_data (linux/seccomp.h).
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
/// linux/audit.h.
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// __X32_SYSCALL_BIT (asm/unistd.h).
const X32_BIT: u32 = 0x4000_0000;
/// SECCOMP_RET_KILL_PROCESS and SECCOMP_RET_ALLOW.
const KILL_PROCESS: u32 = 0x8000_0000;
const ALLOW: u32 = 0x7fff_0000;
