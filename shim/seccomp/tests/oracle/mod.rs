//! What a profile says, read entry by entry and without the crate's algebra.
//!
//! The strictest of all matching entries wins; a repeated argument index is AND where the entry lets calls run and OR
//! where it stops them.
#![allow(dead_code, reason = "each test binary uses a part")]

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Op, LinuxSyscall,
};
use palisade_seccomp::Verdict;

/// The verdict of a profile on one call.
pub(crate) fn answer(profile: &LinuxSeccomp, name: &str, arguments: [u64; 6]) -> Verdict {
    let default = action(profile.default_action(), profile.default_errno_ret());
    answers(profile, name, arguments).into_iter().max().unwrap_or(default)
}

/// How many different verdicts the matching entries give.
pub(crate) fn distinct_answers(profile: &LinuxSeccomp, name: &str, arguments: [u64; 6]) -> usize {
    let mut verdicts = answers(profile, name, arguments);
    verdicts.sort_unstable();
    verdicts.dedup();
    verdicts.len()
}

/// The verdict of each entry that matches.
pub(crate) fn answers(profile: &LinuxSeccomp, name: &str, arguments: [u64; 6]) -> Vec<Verdict> {
    let entries = profile.syscalls().iter().flatten();
    let matching = entries.filter(|entry| entry.names().iter().any(|n| n == name) && matches(entry, arguments));
    matching.map(|entry| action(entry.action(), entry.errno_ret())).collect()
}

fn action(action: Action, errno: Option<u32>) -> Verdict {
    match action {
        Action::ScmpActAllow => Verdict::Allow,
        Action::ScmpActLog => Verdict::Log,
        Action::ScmpActErrno => Verdict::Errno(u16::try_from(errno.unwrap_or(1)).unwrap()),
        Action::ScmpActTrap => Verdict::Trap,
        Action::ScmpActKill | Action::ScmpActKillThread => Verdict::KillThread,
        Action::ScmpActKillProcess => Verdict::KillProcess,
        Action::ScmpActNotify | Action::ScmpActTrace => panic!("{action} is refused, not answered"),
    }
}

fn matches(entry: &LinuxSyscall, arguments: [u64; 6]) -> bool {
    let args = entry.args().as_deref().unwrap_or_default();
    let mut indices: Vec<usize> = args.iter().map(LinuxSeccompArg::index).collect();
    indices.sort_unstable();
    indices.dedup();
    let mut results = args.iter().map(|arg| met(arg, arguments));
    let stops = !matches!(entry.action(), Action::ScmpActAllow | Action::ScmpActLog);
    if stops && indices.len() < args.len() { results.any(|met| met) } else { results.all(|met| met) }
}

fn met(arg: &LinuxSeccompArg, arguments: [u64; 6]) -> bool {
    let (argument, value) = (arguments[arg.index()], arg.value());
    match arg.op() {
        Op::ScmpCmpNe => argument != value,
        Op::ScmpCmpLt => argument < value,
        Op::ScmpCmpLe => argument <= value,
        Op::ScmpCmpEq => argument == value,
        Op::ScmpCmpGe => argument >= value,
        Op::ScmpCmpGt => argument > value,
        Op::ScmpCmpMaskedEq => argument & value == arg.value_two().unwrap_or(0) & value,
    }
}
