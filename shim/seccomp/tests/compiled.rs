//! Compiled programs on a simulator: every number, the edges of arguments, several architectures.

#[cfg(test)]
mod generated;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod simulator;

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use oci_spec::runtime::{Capabilities, Capability, LinuxSeccomp, LinuxSeccompArg};
    use palisade_seccomp::{BuiltinProfile, CompileError, CompiledFilter, Target, Verdict, compile_for, profile_for};
    use proptest::prelude::*;
    use syscalls::{aarch64, x86_64};

    use super::generated;
    use super::oracle::answer;
    use super::simulator::{Call, run};

    const X86_64: u32 = 0xc000_003e;
    const AARCH64: u32 = 0xc000_00b7;
    /// AUDIT_ARCH_I386 and AUDIT_ARCH_ARM (linux/audit.h).
    const OTHERS: [u32; 3] = [0x4000_0003, 0x4000_0028, 0];
    const ENOSYS: u16 = 38;

    fn x86_64() -> Target {
        let number = |name: &str| u32::try_from(x86_64::Sysno::from_str(name).ok()?.id()).ok();
        Target::new(X86_64, number, x86_64::Sysno::last().id().cast_unsigned())
    }

    fn aarch64() -> Target {
        let number = |name: &str| u32::try_from(aarch64::Sysno::from_str(name).ok()?.id()).ok();
        Target::new(AARCH64, number, aarch64::Sysno::last().id().cast_unsigned())
    }

    /// The targets, each with its AUDIT_ARCH and with the name of a number.
    type Names = fn(u32) -> Option<&'static str>;
    fn targets() -> [(u32, Target, Names); 2] {
        let of_x86 = |number: u32| x86_64::Sysno::new(number as usize).map(|call| call.name());
        let of_arm = |number: u32| aarch64::Sysno::new(number as usize).map(|call| call.name());
        [(X86_64, x86_64(), of_x86), (AARCH64, aarch64(), of_arm)]
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
            let default = answer(&profile, "no such call", [0; 6]);
            for (audit, target, name) in targets() {
                let filter = compile_for(&profile, &target).unwrap();
                for number in 0..1200 {
                    let Some(name) = name(number) else {
                        let beyond = (number..1200).all(|number| name(number).is_none());
                        let expected = if beyond { Verdict::Errno(ENOSYS) } else { default };
                        assert_eq!(verdict(&filter, audit, number, [0; 6]), expected, "{number} of {audit:#x}");
                        continue;
                    };
                    for arguments in edges(&profile, name) {
                        let got = verdict(&filter, audit, number, arguments);
                        assert_eq!(got, answer(&profile, name, arguments), "{name} {arguments:x?} of {audit:#x}");
                    }
                }
                for other in OTHERS {
                    assert_eq!(verdict(&filter, other, 0, [0; 6]), Verdict::KillProcess, "{other:#x}");
                }
            }
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
            let filter = compile_for(&profile, &x86_64()).unwrap();
            let last = x86_64::Sysno::last().id().cast_unsigned();
            for number in [last + 1, 5000, 0x3fff_ffff] {
                assert_eq!(verdict(&filter, X86_64, number, [0; 6]), newer, "{number:#x}");
            }
            for number in [0x4000_0000, 0x4000_0001, 0x7fff_ffff, 0xffff_fffe] {
                assert_eq!(verdict(&filter, X86_64, number, [0; 6]), x32, "{number:#x}");
            }
            assert_eq!(verdict(&filter, X86_64, u32::MAX, [0; 6]), none);
            let arm = compile_for(&profile, &aarch64()).unwrap();
            assert_eq!(verdict(&arm, AARCH64, 0x4000_0000, [0; 6]), newer, "no x32 there");
        }
    }

    /// A dozen comparisons for the number, however many calls a profile names.
    #[test]
    fn a_call_is_decided_in_few_instructions() {
        for profile in built_in() {
            let filter = compile_for(&profile, &x86_64()).unwrap();
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
        let filter = compile_for(&profile(8), &x86_64()).unwrap();
        assert!(filter.program().len() > 1000, "the chain is longer than a jump reaches");
        let arguments = [u64::from(329_u32) << 20 | 1 << 40 | 5, 29, 0, 0, 0, 0];
        assert_eq!(verdict(&filter, X86_64, 3, arguments), Verdict::Allow);
        assert_eq!(verdict(&filter, X86_64, 2, arguments), Verdict::Errno(1));
        assert!(matches!(compile_for(&profile(60), &x86_64()), Err(CompileError::TooLarge)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 2000 }))]

        #[test]
        fn generated_profiles_mean_in_bpf_what_they_say(
            profile in generated::profile(["read", "ioctl", "socket"]),
            calls in prop::collection::vec(generated::arguments(), 16),
        ) {
            for (audit, target, name) in targets() {
                let filter = compile_for(&profile, &target).unwrap();
                for number in 0..300 {
                    let Some(name) = name(number) else { continue };
                    let named = ["read", "ioctl", "socket"].contains(&name);
                    for arguments in calls.iter().take(if named { 16 } else { 1 }) {
                        let got = verdict(&filter, audit, number, *arguments);
                        prop_assert_eq!(got, answer(&profile, name, *arguments), "{} {:x?}", name, arguments);
                    }
                }
            }
        }
    }
}
