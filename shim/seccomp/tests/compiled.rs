//! Compiled programs on a simulator: every number, the edges of arguments, several architectures.

#[cfg(test)]
mod generated;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod simulator;

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{Capabilities, Capability, LinuxSeccomp, LinuxSeccompArg};
    use palisade_seccomp::{
        Architecture, BuiltinProfile, CompileError, CompiledFilter, Target, Verdict, compile_for, profile_for, tighten,
    };
    use proptest::prelude::*;
    use syscalls::x86_64;

    use super::generated;
    use super::machines::{self, Table};
    use super::oracle::answer;
    use super::simulator::{Call, run};

    const X86_64: u32 = 0xc000_003e;
    const ENOSYS: u16 = 38;

    fn x86_64() -> Target {
        machines::all()[0][0].target
    }

    fn only_x86_64(profile: &LinuxSeccomp) -> Result<CompiledFilter, CompileError> {
        compile_for(profile, &x86_64(), &[])
    }

    /// Compiles a profile for a machine.
    fn compiled_for(profile: &LinuxSeccomp, machine: &[Table]) -> Result<CompiledFilter, CompileError> {
        let others: Vec<Target> = machine[1..].iter().map(|table| table.target).collect();
        compile_for(profile, &machine[0].target, &others)
    }

    /// `None` if it is too large for the kernel. Some generated profiles are: conditions on one argument that have to be taken apart.
    fn if_it_fits(profile: &LinuxSeccomp, machine: &[Table]) -> Option<CompiledFilter> {
        match compiled_for(profile, machine) {
            Err(CompileError::TooLarge) => None,
            compiled => Some(compiled.unwrap()),
        }
    }

    fn for_machine(profile: &LinuxSeccomp, machine: &[Table]) -> CompiledFilter {
        compiled_for(profile, machine).unwrap()
    }

    fn listing(mut profile: LinuxSeccomp, architectures: &[Architecture]) -> LinuxSeccomp {
        profile.set_architectures(Some(architectures.iter().map(|known| known.oci()).collect()));
        profile
    }

    /// What a profile says of a number, for arguments that the call may have.
    fn expected(profile: &LinuxSeccomp, table: &Table, listed: bool, number: u32, arguments: [u64; 6]) -> Verdict {
        let default = answer(profile, "no such call", [0; 6]);
        match (table.name)(number) {
            _ if !listed && table.architecture == Architecture::X32 && !default.runs() => default,
            _ if !listed => Verdict::KillProcess,
            Some(name) => answer(profile, name, arguments),
            None if table.is_known_area(number) || !matches!(default, Verdict::Errno(_)) => default,
            None => Verdict::Errno(ENOSYS),
        }
    }

    fn verdict(filter: &CompiledFilter, audit: u32, number: u32, arguments: [u64; 6]) -> Verdict {
        run(filter.program(), &Call { audit, number, arguments }).0
    }

    fn built_in() -> Vec<LinuxSeccomp> {
        let some: Capabilities =
            [Capability::SysAdmin, Capability::SysPtrace, Capability::Syslog].into_iter().collect();
        let each = BuiltinProfile::ALL.into_iter();
        each.flat_map(|profile| [Capabilities::new(), some.clone()].map(|held| profile_for(profile, &held).unwrap()))
            .collect()
    }

    /// Each value that a profile compares an argument with, and what is beside it: one more, one less, one bit else, and as an `int`
    /// with something above.
    fn edges(profile: &LinuxSeccomp, name: &str) -> Vec<[u64; 6]> {
        let args = profile.syscalls().iter().flatten().filter(|entry| entry.names().iter().any(|other| other == name));
        let args: Vec<&LinuxSeccompArg> = args.flat_map(|entry| entry.args().iter().flatten()).collect();
        let mut calls = vec![[0; 6], [u64::MAX; 6]];
        for arg in &args {
            let values = [Some(arg.value()), arg.value_two()].into_iter().flatten();
            let near = values.flat_map(|value| {
                [
                    value,
                    value.wrapping_add(1),
                    value.wrapping_sub(1),
                    value ^ 1 << 32,
                    value ^ 1 << 12,
                    value | !0 << 32,
                ]
            });
            for (value, rest) in near.flat_map(|value| [(value, 0), (value, u64::MAX)]) {
                let mut call = [rest; 6];
                call[arg.index()] = value;
                calls.push(call);
            }
        }
        calls
    }

    #[test]
    fn every_number_of_every_architecture_gets_what_the_profile_says() {
        for profile in built_in() {
            for machine in machines::all() {
                for listed in [&machine[..1], &machine] {
                    let listed: Vec<Architecture> = listed.iter().map(|table| table.architecture).collect();
                    let filter = for_machine(&listing(profile.clone(), &listed), &machine);
                    for table in &machine {
                        let is_listed = listed.contains(&table.architecture);
                        for number in table.numbers() {
                            let calls = (table.name)(number).map_or_else(|| vec![[0; 6]], |name| edges(&profile, name));
                            for arguments in calls {
                                let got = verdict(&filter, table.audit, number, arguments);
                                let expected = expected(&profile, table, is_listed, number, arguments);
                                let who = table.architecture;
                                assert_eq!(got, expected, "{number} of {who}, {listed:?} listed: {arguments:x?}");
                            }
                        }
                    }
                    for foreign in [0, 0x4000_0028, 0x8000_0008, 0xc000_0015] {
                        let known =
                            machine.iter().any(|table| table.audit == foreign && listed.contains(&table.architecture));
                        assert!(known || verdict(&filter, foreign, 0, [0; 6]) == Verdict::KillProcess, "{foreign:#x}");
                    }
                }
            }
        }
    }

    /// Each machine has all names of the profiles that it could have.
    #[test]
    fn an_other_spelling_of_a_table_is_known() {
        let profile = json(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["newfstatat","set_tls"],"action":"SCMP_ACT_ALLOW"}]}"#,
        );
        let [_, arm, _] = machines::all();
        let filter = for_machine(&listing(profile, &[Architecture::Arm]), &arm);
        assert_eq!(verdict(&filter, arm[0].audit, 79, [0; 6]), Verdict::Allow, "newfstatat");
        assert_eq!(verdict(&filter, arm[1].audit, 0x0f_0005, [0; 6]), Verdict::Allow, "set_tls");
        assert_eq!(verdict(&filter, arm[1].audit, 0x0f_0002, [0; 6]), Verdict::Errno(1), "cacheflush");
    }

    #[test]
    fn a_name_that_another_architecture_of_the_machine_has_is_not_misspelt() {
        let stops = |name: &str| {
            json(&format!(
                r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["{name}"],"action":"SCMP_ACT_ERRNO"}}]}}"#
            ))
        };
        let [x86, ..] = machines::all();
        let filter = for_machine(&listing(stops("socketcall"), &[Architecture::X86]), &x86);
        assert_eq!(verdict(&filter, x86[1].audit, 102, [0; 6]), Verdict::Errno(1));
        // 32-bit calls are all killed.
        let filter = for_machine(&stops("socketcall"), &x86);
        assert_eq!(verdict(&filter, x86[1].audit, 102, [0; 6]), Verdict::KillProcess);
        let others: Vec<Target> = x86[1..].iter().map(|table| table.target).collect();
        for (name, others) in [("socketcal", others.as_slice()), ("socketcall", &[])] {
            let refused = compile_for(&stops(name), &x86_64(), others);
            assert!(matches!(refused, Err(CompileError::UnknownSyscall { syscall }) if syscall == name), "{name}");
        }
    }

    fn json(text: &str) -> LinuxSeccomp {
        serde_json::from_str(text).unwrap()
    }

    /// x32 calls have the architecture of x86_64, and bit 30; number -1 is what a tracer writes to skip a call.
    #[test]
    fn numbers_of_no_call() {
        let refuses = json(r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":7}"#);
        let kills = json(r#"{"defaultAction":"SCMP_ACT_KILL_PROCESS"}"#);
        let allows = json(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
        let (errno, kill, allow) = (Verdict::Errno(7), Verdict::KillProcess, Verdict::Allow);
        for (profile, newer, x32, none) in
            [(refuses, Verdict::Errno(ENOSYS), errno, errno), (kills, kill, kill, kill), (allows, allow, kill, allow)]
        {
            let filter = only_x86_64(&profile).unwrap();
            let last = x86_64::Sysno::last().id().cast_unsigned();
            for number in [last + 1, 5000, 0x3fff_ffff] {
                assert_eq!(verdict(&filter, X86_64, number, [0; 6]), newer, "{number:#x}");
            }
            for number in [0x4000_0000, 0x4000_0001, 0x7fff_ffff, 0xffff_fffe] {
                assert_eq!(verdict(&filter, X86_64, number, [0; 6]), x32, "{number:#x}");
            }
            assert_eq!(verdict(&filter, X86_64, u32::MAX, [0; 6]), none);
            let [_, arm, _] = machines::all();
            assert_eq!(verdict(&for_machine(&profile, &arm), arm[0].audit, 0x4000_0000, [0; 6]), newer, "no x32 there");
        }
    }

    /// A dozen comparisons for the number, however many calls a profile names.
    #[test]
    fn a_call_is_decided_in_few_instructions() {
        for profile in built_in() {
            let filter = only_x86_64(&profile).unwrap();
            let steps = |number| run(filter.program(), &Call { audit: X86_64, number, arguments: [0; 6] }).1;
            let most = (0..500).map(steps).max().unwrap();
            assert!(most <= 60, "{most} instructions");
            assert!(steps(39) <= 20, "getpid takes {}", steps(39));
            assert!(filter.program().len() <= 700, "{} instructions", filter.program().len());
        }
    }

    #[test]
    fn what_the_kernel_would_not_load_is_an_error() {
        let conditions = |name: &str, from: u32| {
            let rules = (0..30).map(|at| {
                let value = u64::from(from + at) << 20 | 1 << 40 | 5;
                format!(
                    r#"{{"names":["{name}"],"action":"SCMP_ACT_ALLOW","args":[{{"index":0,"value":{value},"op":"SCMP_CMP_EQ"}},
                        {{"index":1,"value":{at},"op":"SCMP_CMP_EQ"}}]}}"#
                )
            });
            rules.collect::<Vec<_>>().join(",")
        };
        let profile = |calls: usize| {
            let names = x86_64::Sysno::iter().take(calls).enumerate();
            let rules: Vec<_> =
                names.map(|(at, call)| conditions(call.name(), u32::try_from(at * 100).unwrap())).collect();
            json(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{}]}}"#, rules.join(",")))
        };
        let filter = only_x86_64(&profile(8)).unwrap();
        assert!(filter.program().len() > 1000, "the chain is longer than a jump reaches");
        let arguments = [u64::from(329_u32) << 20 | 1 << 40 | 5, 29, 0, 0, 0, 0];
        assert_eq!(verdict(&filter, X86_64, 3, arguments), Verdict::Allow);
        assert_eq!(verdict(&filter, X86_64, 2, arguments), Verdict::Errno(1));
        assert!(matches!(only_x86_64(&profile(60)), Err(CompileError::TooLarge)));
    }

    /// `ioctl` has another number in x32, `socket` another one everywhere.
    const NAMED: [&str; 3] = ["read", "ioctl", "socket"];

    fn architectures() -> impl Strategy<Value = Vec<Architecture>> {
        prop::sample::subsequence(Architecture::ALL.to_vec(), 0..=6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 2000 }))]

        #[test]
        fn generated_profiles_mean_in_bpf_what_they_say(
            profile in generated::profile(NAMED),
            architectures in architectures(),
            calls in prop::collection::vec(generated::arguments(), 16),
        ) {
            for machine in machines::all() {
                let Some(filter) = if_it_fits(&listing(profile.clone(), &architectures), &machine) else { continue };
                for (at, table) in machine.iter().enumerate() {
                    let listed = at == 0 || architectures.contains(&table.architecture);
                    for number in table.numbers() {
                        let named = (table.name)(number).is_some_and(|name| NAMED.contains(&name));
                        for arguments in calls.iter().take(if named { 16 } else { 1 }) {
                            let got = verdict(&filter, table.audit, number, *arguments);
                            let expected = expected(&profile, table, listed, number, *arguments);
                            prop_assert_eq!(got, expected, "{} of {} {:x?}", number, table.architecture, arguments);
                        }
                    }
                }
            }
        }

        /// What the combination lets run, both let run, call by call in every architecture; and what only one of the two lists, does not run.
        #[test]
        fn a_combination_is_never_looser_in_any_architecture(
            ours in generated::profile(NAMED),
            own in generated::profile(NAMED),
            (our_list, own_list) in (architectures(), architectures()),
            calls in prop::collection::vec(generated::arguments(), 8),
        ) {
            let (ours, own) = (listing(ours, &our_list), listing(own, &own_list));
            let machine = machines::all().into_iter().find(|machine| Ok(machine[0].architecture) == Architecture::native());
            let machine = machine.unwrap();
            let [both, ours, own] = [&tighten(&ours, &own).unwrap(), &ours, &own].map(|one| if_it_fits(one, &machine));
            let (Some(both), Some(ours), Some(own)) = (both, ours, own) else { return Ok(()) };
            for table in &machine {
                for number in table.numbers() {
                    let named = (table.name)(number).is_some_and(|name| NAMED.contains(&name));
                    for arguments in calls.iter().take(if named { 8 } else { 1 }) {
                        let asked = |filter: &CompiledFilter| verdict(filter, table.audit, number, *arguments);
                        let (got, strictest) = (asked(&both), asked(&ours).max(asked(&own)));
                        prop_assert!(!got.runs() || got >= strictest, "{} of {}: {:?}", number, table.architecture, got);
                    }
                }
            }
        }
    }
}
