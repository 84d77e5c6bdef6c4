//! `tighten` against an oracle that reads profiles entry by entry.

#[cfg(test)]
mod generated;
#[cfg(test)]
mod oracle;

#[cfg(test)]
mod tests {
    use super::generated::{self, arguments, entry, verdicts};
    use super::oracle::{answer, distinct_answers};
    use oci_spec::runtime::{
        Arch, Capabilities, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompArgBuilder,
        LinuxSeccompFilterFlag as Flag, LinuxSeccompOperator as Op, LinuxSyscall,
    };
    use palisade_seccomp::{
        Architecture, BuiltinProfile, RefusedProfile, SeccompProfile, TightenError, Verdict, profile_for, profile_with,
        tighten, verdict,
    };
    use proptest::prelude::*;

    const NAMED: [&str; 3] = ["alpha", "beta", "gamma"];
    const NAMES: [&str; 4] = ["alpha", "beta", "gamma", "unnamed"];

    fn profile() -> impl Strategy<Value = LinuxSeccomp> {
        generated::profile(NAMED)
    }

    /// Whether the written profile means the same where runtimes read profiles differently: no repeated index.
    fn has_one_meaning(profile: &LinuxSeccomp) -> bool {
        profile.syscalls().iter().flatten().all(|entry| {
            let mut indices: Vec<usize> = entry.args().iter().flatten().map(LinuxSeccompArg::index).collect();
            let before = indices.len();
            indices.sort_unstable();
            indices.dedup();
            indices.len() == before
        })
    }

    /// Without a bound on the product this took minutes, and the shim waits for it.
    #[test]
    fn two_profiles_with_many_conditions_are_combined_in_bounded_work() {
        let dense = |first: u64| {
            let entries = (0..24_u64).map(|turn| {
                let args = (0..6_usize).map(|index| {
                    let value = first + turn * 97 + u64::try_from(index).unwrap() * 13;
                    LinuxSeccompArgBuilder::default().index(index).value(value).op(Op::ScmpCmpNe).build().unwrap()
                });
                let mut entry = oci_spec::runtime::LinuxSyscall::default();
                entry
                    .set_names(vec!["socket".to_owned()])
                    .set_action(Action::ScmpActAllow)
                    .set_args(Some(args.collect()));
                entry
            });
            let mut profile = LinuxSeccomp::default();
            profile.set_default_action(Action::ScmpActErrno).set_syscalls(Some(entries.collect()));
            profile
        };
        let both = tighten(&dense(1), &dense(50_000)).unwrap();
        for call in [[1; 6], [1, 14, 27, 40, 53, 66], [50_000; 6], [7; 6]] {
            let allowed = answer(&dense(1), "socket", call).runs() && answer(&dense(50_000), "socket", call).runs();
            assert!(allowed || !answer(&both, "socket", call).runs(), "{call:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_looser_than_either(
            a in profile(), b in profile(), calls in prop::collection::vec(arguments(), 60),
        ) {
            let both = tighten(&a, &b).unwrap();
            for (name, call) in NAMES.iter().flat_map(|name| calls.iter().map(move |call| (name, *call))) {
                let strictest = answer(&a, name, call).max(answer(&b, name, call));
                let got = answer(&both, name, call);
                prop_assert!(!got.runs() || got >= strictest, "{name} {call:x?}: {got:?}, not {strictest:?}");
                prop_assert!(distinct_answers(&both, name, call) <= 1, "{name} {call:x?} overlaps");
            }
            prop_assert!(has_one_meaning(&both));
            prop_assert_eq!(both.architectures(), &Some(vec![native()]));
        }

        #[test]
        fn idempotent_even_where_it_narrows(a in profile(), b in profile()) {
            let both = tighten(&a, &b).unwrap();
            prop_assert_eq!(tighten(&a, &both).unwrap(), both);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn exact_where_it_can_be_written(
            (a, b) in small_profiles(), calls in small_calls(),
        ) {
            let both = tighten(&a, &b).unwrap();
            for (name, call) in NAMES.iter().flat_map(|name| calls.iter().map(move |call| (name, *call))) {
                let strictest = answer(&a, name, call).max(answer(&b, name, call));
                prop_assert_eq!(answer(&both, name, call), strictest, "{} {:x?}", name, call);
            }
        }

        #[test]
        fn with_itself_it_is_itself_and_again_changes_nothing(
            (a, b) in small_profiles(), calls in small_calls(),
        ) {
            let (itself, both) = (tighten(&a, &a).unwrap(), tighten(&a, &b).unwrap());
            let (again, swapped) = (tighten(&both, &b).unwrap(), tighten(&b, &a).unwrap());
            for (name, call) in NAMES.iter().flat_map(|name| calls.iter().map(move |call| (name, *call))) {
                prop_assert_eq!(answer(&itself, name, call), answer(&a, name, call));
                prop_assert_eq!(answer(&again, name, call), answer(&both, name, call));
                prop_assert_eq!(answer(&swapped, name, call), answer(&both, name, call));
            }
        }

        #[test]
        fn verdict_is_what_the_oracle_says(a in profile(), call in arguments()) {
            for name in NAMES {
                let exact = answer(&a, name, call);
                let got = verdict(&a, name, call).unwrap();
                prop_assert!(got == exact || !got.runs(), "{name} {call:x?}: {got:?}, not {exact:?}");
            }
        }
    }

    /// Pairs of profiles whose combination has few enough pieces to be written exactly: one condition an entry, small
    /// values, and either ranges or masks (a mask of a long range has many pieces).
    fn small_profiles() -> impl Strategy<Value = (LinuxSeccomp, LinuxSeccomp)> {
        let ranges = || {
            small_profile(vec![
                Op::ScmpCmpNe,
                Op::ScmpCmpLt,
                Op::ScmpCmpLe,
                Op::ScmpCmpEq,
                Op::ScmpCmpGe,
                Op::ScmpCmpGt,
            ])
        };
        let masks = || small_profile(vec![Op::ScmpCmpMaskedEq]);
        prop_oneof![(ranges(), ranges()), (masks(), masks())]
    }

    fn small_profile(ops: Vec<Op>) -> impl Strategy<Value = LinuxSeccomp> {
        let values = || prop::sample::select(vec![0_u64, 1, 2, 5, 6, 8, 38, 40]);
        let arg = (values(), values(), prop::sample::select(ops)).prop_map(|(value, two, op)| {
            LinuxSeccompArgBuilder::default().index(1_usize).value(value).value_two(two).op(op).build().unwrap()
        });
        let small = (entry(NAMED), prop::option::of(arg)).prop_map(|(mut entry, arg)| {
            entry.set_args(arg.map(|arg| vec![arg]));
            entry
        });
        (verdicts(), prop::collection::vec(small, 0..4)).prop_map(|((action, errno), entries)| {
            let mut profile = LinuxSeccomp::default();
            profile.set_default_action(action);
            profile.set_default_errno_ret(errno);
            profile.set_syscalls(Some(entries));
            profile
        })
    }

    fn small_calls() -> impl Strategy<Value = Vec<[u64; 6]>> {
        let huge = prop::sample::select(vec![63_u64, 64, 0x1_0000_0005, u64::MAX]);
        let argument = prop_oneof![4 => 0_u64..48, 1 => huge];
        prop::collection::vec(argument.prop_map(|argument| [7, argument, 0, 0, 0, 0]), 30)
    }

    fn native() -> Arch {
        if cfg!(target_arch = "aarch64") { Arch::ScmpArchAarch64 } else { Arch::ScmpArchX86_64 }
    }

    // ---- examples

    fn json(text: &str) -> LinuxSeccomp {
        serde_json::from_str(text).unwrap()
    }

    fn runtime_default() -> LinuxSeccomp {
        profile_for(BuiltinProfile::RuntimeDefault, &Capabilities::new()).unwrap()
    }

    fn call(profile: &LinuxSeccomp, name: &str, first: u64) -> Verdict {
        answer(profile, name, [first, 0, 0, 0, 0, 0])
    }

    #[test]
    fn a_container_cannot_allow_what_the_policy_does_not() {
        let own = json(r#"{ "defaultAction": "SCMP_ACT_ALLOW" }"#);
        let both = tighten(&runtime_default(), &own).unwrap();
        assert_eq!(call(&both, "io_uring_setup", 0), Verdict::Errno(1));
        assert_eq!(call(&both, "socket", 38), Verdict::Errno(1));
        assert_eq!(call(&both, "clone3", 0), Verdict::Errno(38));
        assert_eq!(call(&both, "read", 0), Verdict::Allow);
    }

    #[test]
    fn a_deny_list_takes_away_and_keeps_its_actions() {
        let own = json(
            r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                 { "names": ["mkdir", "bpf"], "action": "SCMP_ACT_KILL_PROCESS" },
                 { "names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13 },
                 { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 2, "op": "SCMP_CMP_EQ" }] }] }"#,
        );
        let both = tighten(&runtime_default(), &own).unwrap();
        assert_eq!(call(&both, "mkdir", 0), Verdict::KillProcess);
        assert_eq!(call(&both, "bpf", 0), Verdict::KillProcess);
        assert_eq!(call(&both, "chmod", 0), Verdict::Errno(13));
        for (family, verdict) in
            [(1, Verdict::Allow), (2, Verdict::Errno(1)), (3, Verdict::Allow), (38, Verdict::Errno(1))]
        {
            assert_eq!(call(&both, "socket", family), verdict, "{family}");
        }
        assert_eq!(call(&both, "rmdir", 0), Verdict::Allow);
    }

    #[test]
    fn an_allow_list_is_cut_to_the_policy() {
        let own = json(
            r#"{ "defaultAction": "SCMP_ACT_KILL", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
                 "syscalls": [{ "names": ["read", "io_uring_setup", "no_such_call"], "action": "SCMP_ACT_ALLOW" }] }"#,
        );
        let both = tighten(&runtime_default(), &own).unwrap();
        assert_eq!(call(&both, "read", 0), Verdict::Allow);
        assert_eq!(call(&both, "write", 0), Verdict::KillThread);
        // What the container did not mean to be killed for is not killed for.
        assert_eq!(call(&both, "io_uring_setup", 0), Verdict::Errno(1));
        assert_eq!(call(&both, "no_such_call", 0), Verdict::Errno(1));
        assert_eq!(both.architectures(), &Some(vec![native()]));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_combination_is_for_the_architectures_that_both_list() {
        let list =
            |names: &[&str]| json(&format!(r#"{{ "defaultAction": "SCMP_ACT_ALLOW", "architectures": {names:?} }}"#));
        let (native, x86, x32, arm) = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM");
        let cases: [(&[&str], &[&str], &[Arch]); 5] = [
            (&[native, x86, x32], &[native, x86, x32], &[Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]),
            (&[x86], &[x32, x86], &[Arch::ScmpArchX86_64, Arch::ScmpArchX86]),
            (&[native, x86], &[native, x32], &[Arch::ScmpArchX86_64]),
            (&[native, x86], &[], &[Arch::ScmpArchX86_64]),
            (&[x86, arm], &[x86, arm], &[Arch::ScmpArchX86_64, Arch::ScmpArchX86]),
        ];
        for (ours, own, expected) in cases {
            let both = tighten(&list(ours), &list(own)).unwrap();
            assert_eq!(both.architectures().as_deref(), Some(expected), "{ours:?} {own:?}");
            let swapped = tighten(&list(own), &list(ours)).unwrap();
            assert_eq!(swapped, both);
        }
    }

    /// The three ranges that container runtimes write for socket, over ours by the lower half: few rules come out,
    /// and what the 64-bit comparison lets through does not.
    #[test]
    fn a_64_bit_comparison_of_an_int_does_not_open_what_the_lower_half_closes() {
        let own = json(
            r#"{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                 { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 38, "op": "SCMP_CMP_LT" }] },
                 { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 39, "op": "SCMP_CMP_EQ" }] },
                 { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 40, "op": "SCMP_CMP_GT" }] }] }"#,
        );
        assert_eq!(call(&own, "socket", 0x1_0000_0026), Verdict::Allow);
        let both = tighten(&runtime_default(), &own).unwrap();
        for family in 0..=45 {
            let expected = if [38, 40].contains(&family) { Verdict::Errno(1) } else { Verdict::Allow };
            assert_eq!(call(&both, "socket", family), expected, "{family}");
        }
        assert_eq!(call(&both, "socket", 0x1_0000_0026), Verdict::Errno(1));
        let rules = both.syscalls().iter().flatten().filter(|entry| entry.names().iter().any(|name| name == "socket"));
        assert!(rules.count() <= 10);
    }

    /// Some forty rules for openat, which took more pieces to read than to write: the next reader stopped it.
    #[test]
    fn what_is_written_in_many_rules_is_read_as_it_was_written() {
        let own = json(
            r#"{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                { "names": ["openat"], "action": "SCMP_ACT_ERRNO", "args": [
                    { "index": 3, "value": 2114060288, "op": "SCMP_CMP_LT" },
                    { "index": 2, "value": 0, "op": "SCMP_CMP_LE" }] },
                { "names": ["openat", "read"], "action": "SCMP_ACT_ALLOW" }] }"#,
        );
        for ours in BuiltinProfile::ALL {
            let ours = profile_for(ours, &Capabilities::new()).unwrap();
            let once = tighten(&ours, &own).unwrap();
            assert_eq!(tighten(&ours, &once).unwrap(), once);
            assert_eq!(call(&once, "read", 0), Verdict::Allow);
        }
    }

    /// `SeccompProfile::tighten` goes by it.
    #[test]
    fn the_built_in_profiles_are_read_as_they_are_written() {
        let all = Capabilities::from_iter([oci_spec::runtime::Capability::SysAdmin]);
        for (ours, bounding) in
            BuiltinProfile::ALL.into_iter().flat_map(|one| [(one, Capabilities::new()), (one, all.clone())])
        {
            let profile = profile_for(ours, &bounding).unwrap();
            assert_eq!(tighten(&profile, &profile).unwrap(), profile, "{ours}");
            assert_eq!(SeccompProfile::from(ours).tighten(&bounding, &[], &profile).unwrap(), profile, "{ours}");
            let open = json(r#"{ "defaultAction": "SCMP_ACT_ALLOW" }"#);
            let x86 = [Architecture::X86];
            let wider = profile_with(ours, &bounding, &x86).unwrap();
            assert_eq!(tighten(&wider, &wider).unwrap(), wider, "{ours}");
            assert_eq!(SeccompProfile::from(ours).tighten(&bounding, &x86, &wider).unwrap(), wider, "{ours}");
            assert_eq!(SeccompProfile::from(ours).tighten(&bounding, &[], &open).unwrap(), profile, "{ours}");
        }
    }

    #[test]
    fn what_is_too_wide_to_write_is_stopped() {
        let masks = |value: u64| -> String {
            let args: Vec<String> = (0..6)
                .map(|index| {
                    format!(r#"{{ "index": {index}, "value": {value}, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }}"#)
                })
                .collect();
            args.join(",")
        };
        let own = json(&format!(
            r#"{{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                  {{ "names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7, "args": [{}] }},
                  {{ "names": ["getpid"], "action": "SCMP_ACT_TRAP", "args": [{}] }}] }}"#,
            masks(0x5555_5555_5555_5555),
            masks(0xaaaa_aaaa_aaaa_aaaa),
        ));
        let both = tighten(&runtime_default(), &own).unwrap();
        for argument in [0, 1, 2, u64::MAX] {
            assert_eq!(answer(&both, "getpid", [argument; 6]), Verdict::Trap, "{argument:#x}");
        }
        assert_eq!(call(&both, "getuid", 0), Verdict::Allow);
    }

    #[test]
    fn flags_add_logging_and_never_take_a_mitigation_away() {
        let flagged = |flags: Option<Vec<Flag>>| {
            let mut profile = runtime_default();
            profile.set_flags(flags);
            profile
        };
        let (log, spec, tsync) =
            (Flag::SeccompFilterFlagLog, Flag::SeccompFilterFlagSpecAllow, Flag::SeccompFilterFlagTsync);
        let wait = Flag::SeccompFilterFlagWaitKillableRecv;
        let cases = [
            (None, None, None),
            (None, Some(vec![log]), Some(vec![log])),
            (None, Some(vec![spec]), Some(vec![])),
            (Some(vec![spec]), None, Some(vec![])),
            (Some(vec![spec]), Some(vec![log, spec]), Some(vec![log, spec])),
            (None, Some(vec![tsync]), Some(vec![])),
            (None, Some(vec![wait]), Some(vec![])),
            (None, Some(vec![wait, log]), Some(vec![log])),
        ];
        for (ours, own, expected) in cases {
            let both = tighten(&flagged(ours.clone()), &flagged(own.clone())).unwrap();
            assert_eq!(both.flags(), &expected, "{ours:?} {own:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        let cases = [
            (r#"{ "defaultAction": "SCMP_ACT_NOTIFY" }"#, "/defaultAction"),
            (r#"{ "defaultAction": "SCMP_ACT_TRACE" }"#, "/defaultAction"),
            (r#"{ "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1 }"#, "/defaultAction"),
            (r#"{ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x.sock" }"#, "/listenerPath"),
            (r#"{ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x" }"#, "/listenerMetadata"),
            (
                r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["a"], "action": "SCMP_ACT_ALLOW" },
                  { "names": ["a"], "action": "SCMP_ACT_NOTIFY" }] }"#,
                "/syscalls/1/action",
            ),
            (
                r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": [], "action": "SCMP_ACT_KILL" }] }"#,
                "/syscalls/0/names",
            ),
            (
                r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["a"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096 }] }"#,
                "/syscalls/0/action",
            ),
            (
                r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["a"], "action": "SCMP_ACT_KILL",
                  "args": [{ "index": 6, "value": 0, "op": "SCMP_CMP_EQ" }] }] }"#,
                "/syscalls/0/args/0",
            ),
        ];
        for (text, place) in cases {
            let error = tighten(&runtime_default(), &json(text)).unwrap_err();
            let TightenError::Own(refused) = &error else { panic!("{error:?}") };
            assert!(refused.to_string().starts_with(place), "{refused}");
        }
        let many = vec![LinuxSyscall::default(); 2049];
        let mut own = runtime_default();
        own.set_syscalls(Some(many));
        assert!(matches!(tighten(&runtime_default(), &own), Err(TightenError::Own(RefusedProfile::TooLarge { .. }))));
        assert!(matches!(tighten(&own, &runtime_default()), Err(TightenError::Ours(RefusedProfile::TooLarge { .. }))));
    }
}
