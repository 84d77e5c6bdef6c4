//! Profiles and calls to compare by: small values around each other and around the edges of halves.
#![allow(dead_code, reason = "each test binary uses a part")]

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator as Op,
    LinuxSyscall,
};
use proptest::prelude::*;

const VALUES: [u64; 12] =
    [0, 1, 2, 5, 38, 0x5412, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0026, 0x7e02_0000, u64::MAX - 1, u64::MAX];

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![4 => prop::sample::select(VALUES.to_vec()), 1 => any::<u64>()]
}

/// Arguments at and beside the values, and values with one bit changed.
pub(crate) fn arguments() -> impl Strategy<Value = [u64; 6]> {
    let near = (value(), -1_i64..=1).prop_map(|(value, step)| value.wrapping_add_signed(step));
    let bits = (value(), 0_u32..64).prop_map(|(value, bit)| value ^ (1 << bit));
    let one = prop_oneof![near, bits];
    (one.clone(), one.clone(), one).prop_map(|(a, b, c)| [a, b, c, 0, 0, 0])
}

fn arg(indices: std::ops::Range<usize>) -> impl Strategy<Value = LinuxSeccompArg> {
    let ops = vec![
        Op::ScmpCmpNe,
        Op::ScmpCmpLt,
        Op::ScmpCmpLe,
        Op::ScmpCmpEq,
        Op::ScmpCmpGe,
        Op::ScmpCmpGt,
        Op::ScmpCmpMaskedEq,
    ];
    (indices, value(), value(), prop::sample::select(ops)).prop_map(|(index, value, two, op)| {
        let built = LinuxSeccompArgBuilder::default().index(index).value(value).op(op);
        built.value_two(two).build().unwrap()
    })
}

/// An action and its errno.
pub(crate) fn verdicts() -> impl Strategy<Value = (Action, Option<u32>)> {
    let errno = prop::sample::select(vec![None, Some(0), Some(1), Some(38), Some(4095)]);
    prop_oneof![
        4 => Just((Action::ScmpActAllow, None)),
        1 => Just((Action::ScmpActLog, None)),
        3 => errno.prop_map(|errno| (Action::ScmpActErrno, errno)),
        1 => Just((Action::ScmpActTrap, None)),
        1 => Just((Action::ScmpActKill, None)),
        1 => Just((Action::ScmpActKillProcess, None)),
    ]
}

/// An entry about some of three system calls.
pub(crate) fn entry(names: [&'static str; 3]) -> impl Strategy<Value = LinuxSyscall> {
    let names = prop::sample::subsequence(names.to_vec(), 1..=3);
    let args = prop_oneof![2 => Just(vec![]), 5 => prop::collection::vec(arg(0..3), 1..4)];
    (names, verdicts(), args).prop_map(|(names, (action, errno), args)| {
        let mut entry = LinuxSyscall::default();
        entry.set_names(names.into_iter().map(str::to_owned).collect());
        entry.set_action(action);
        entry.set_errno_ret(errno);
        entry.set_args((!args.is_empty()).then_some(args));
        entry
    })
}

/// A profile about some of three system calls.
pub(crate) fn profile(names: [&'static str; 3]) -> impl Strategy<Value = LinuxSeccomp> {
    (verdicts(), prop::collection::vec(entry(names), 0..6)).prop_map(|((action, errno), entries)| {
        let mut profile = LinuxSeccomp::default();
        profile.set_default_action(action);
        profile.set_default_errno_ret(errno);
        profile.set_syscalls(Some(entries));
        profile
    })
}
