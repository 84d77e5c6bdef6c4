//! Programs that ask a listener, on a simulator: what is asked about, and what the listener's answer would be.

#[cfg(test)]
mod simulator;

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{Capabilities, Capability, LinuxSeccomp};
    use palisade_seccomp::{
        Answer, BuiltinProfile, Call, CompiledFilter, Verdict, compile, profile_for, syscall_name, verdicts,
    };

    use super::simulator::{Call as Asked, run, value};

    const ENOSYS: u16 = 38;
    const ASKS: u32 = 0x7fc0_0000;
    const BUSY: u32 = 0x0005_0010;
    const NEW_LISTENER: u64 = 1 << 3;
    const OTHERS: [u32; 3] = [0x4000_0003, 0x4000_0028, 0];
    /// Beyond the table, x32's, and what a tracer leaves.
    const STRANGE: [u32; 6] = [470, 700, 1 << 30, (1 << 30) + 41, u32::MAX - 1, u32::MAX];

    fn native() -> u32 {
        match std::env::consts::ARCH {
            "x86_64" => 0xc000_003e,
            "aarch64" => 0xc000_00b7,
            other => panic!("no number for {other}"),
        }
    }

    fn profiles() -> Vec<LinuxSeccomp> {
        let some: Capabilities = [Capability::SysAdmin, Capability::SysPtrace].into_iter().collect();
        let built_in = BuiltinProfile::ALL
            .into_iter()
            .flat_map(|profile| [Capabilities::new(), some.clone()].map(|held| profile_for(profile, &held).unwrap()));
        let own = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":13,"syscalls":[
            {"names":["read","write","execve"],"action":"SCMP_ACT_ALLOW"},
            {"names":["getpid"],"action":"SCMP_ACT_LOG"},
            {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
            {"names":["kill"],"action":"SCMP_ACT_KILL_PROCESS"},
            {"names":["tkill"],"action":"SCMP_ACT_TRAP"},
            {"names":["sync"],"action":"SCMP_ACT_ERRNO","errnoRet":0},
            {"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#;
        built_in.chain([serde_json::from_str(own).unwrap()]).collect()
    }

    /// Every number with edges of what profiles compare: families, flags, requests, modes.
    fn calls() -> impl Iterator<Item = Call> {
        let edges = [0, 1, 2, 10, 16, 38, 40, 0o4000, 0x2000_0000, 0x5412, 0x541c, 0x1_0000_0026, u64::MAX];
        let architectures = [native()].into_iter().chain(OTHERS);
        architectures.flat_map(move |architecture| {
            (0..480).chain(STRANGE).flat_map(move |number| {
                let each =
                    edges.into_iter().flat_map(|edge| [[edge; 6], [edge, 0, edge, 0, 0, 0], [0, edge, 0, 0, 0, 0]]);
                each.map(move |arguments| Call { architecture, number, arguments })
            })
        })
    }

    fn asked(call: &Call) -> Asked {
        Asked { audit: call.architecture, number: call.number, arguments: call.arguments }
    }

    fn kernel_would(filter: &CompiledFilter, call: &Call) -> u32 {
        value(filter.program(), &asked(call)).0
    }

    /// Whether it is a call for a listener, on any architecture.
    fn is_for_listener(call: &Call) -> bool {
        let name = syscall_name(call.architecture, call.number);
        name == Some("seccomp") && call.arguments[1] & NEW_LISTENER != 0
    }

    #[test]
    fn no_filter_that_asks_lets_another_listener_be_made() {
        let mut refused = 0;
        for profile in profiles() {
            let filter = compile(&profile).unwrap();
            for asking in [filter.reporting(), filter.recording(&["read", "seccomp"])] {
                for call in calls().filter(is_for_listener) {
                    let would_run = filter.answer(&call).unwrap().verdict.runs();
                    let got = kernel_would(&asking, &call);
                    assert!(
                        got == BUSY || (!would_run && [ASKS, kernel_would(&filter, &call)].contains(&got)),
                        "{call:?}"
                    );
                    refused += usize::from(got == BUSY);
                }
            }
        }
        assert!(refused > 0);
    }

    #[test]
    fn a_filter_that_has_nothing_to_ask_stays_as_it_is() {
        let deny = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["kill"],"action":"SCMP_ACT_KILL_PROCESS"},
            {"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#;
        let filter = compile(&serde_json::from_str(deny).unwrap()).unwrap();
        assert_eq!(filter.reporting(), filter);
    }

    #[test]
    fn without_room_to_refuse_listeners_nothing_is_asked() {
        let filter = compile(&profiles()[0]).unwrap();
        let mut bytes = filter.to_bytes();
        let at = bytes.len() - 8 * filter.program().len() - 2;
        // Returns that nothing leads to make it as long as the kernel takes.
        let more = 4096 - filter.program().len();
        bytes.extend([0x06, 0, 0, 0, 0, 0, 0, 0].repeat(more));
        bytes[at..at + 2].copy_from_slice(&4096_u16.to_le_bytes());
        let long = CompiledFilter::from_bytes(&bytes).unwrap();
        assert_eq!(long.reporting(), long);
        assert_eq!(long.recording(&["read"]), long);
    }

    #[test]
    fn the_answer_is_the_kernels_own() {
        for profile in profiles() {
            let filter = compile(&profile).unwrap();
            for call in calls() {
                let verdict = run(filter.program(), &asked(&call)).0;
                assert_eq!(filter.answer(&call).map(|answer| answer.verdict), Some(verdict), "{call:?}");
            }
        }
    }

    #[test]
    fn a_reporting_filter_asks_about_refusals_and_nothing_else() {
        for profile in profiles() {
            let filter = compile(&profile).unwrap();
            let reporting = filter.reporting();
            let mut asks = 0;
            for call in calls().filter(|call| !is_for_listener(call)) {
                let refusal = match filter.answer(&call).unwrap().verdict {
                    Verdict::Errno(errno) => errno != ENOSYS,
                    _ => false,
                };
                let expected = if refusal { ASKS } else { kernel_would(&filter, &call) };
                assert_eq!(kernel_would(&reporting, &call), expected, "{call:?}");
                asks += usize::from(refusal);
            }
            assert!(asks > 0);
            assert_eq!(reporting.load_flags(), filter.load_flags());
        }
    }

    #[test]
    fn a_recording_filter_asks_about_what_runs_and_refuses_by_itself() {
        let unasked = ["read", "socket", "no_such_call", "getpid", "kill"];
        for profile in profiles() {
            let filter = compile(&profile).unwrap();
            let recording = filter.recording(&unasked);
            for call in calls().filter(|call| !is_for_listener(call)) {
                let Answer { verdict, looked_at } = filter.answer(&call).unwrap();
                let name = syscall_name(call.architecture, call.number).unwrap_or("");
                let left_out = unasked.contains(&name) && verdict == Verdict::Allow && looked_at == [false; 6];
                let expected = if verdict.runs() && !left_out { ASKS } else { kernel_would(&filter, &call) };
                assert_eq!(kernel_would(&recording, &call), expected, "{name} {call:?}");
            }
        }
    }

    #[test]
    fn as_many_as_jumps_can_skip_are_left_unasked() {
        let filter = compile(&profile_for(BuiltinProfile::RuntimeDefault, &Capabilities::new()).unwrap()).unwrap();
        let names: Vec<&str> = (0..480).filter_map(|number| syscall_name(native(), number)).collect();
        let recording = filter.recording(&names);
        let unasked = (0..480).filter(|number| {
            let call = Call { architecture: native(), number: *number, arguments: [0; 6] };
            filter.answer(&call).unwrap().verdict.runs() && kernel_would(&recording, &call) != ASKS
        });
        assert_eq!(unasked.count(), 240);
        for call in calls().filter(|call| !is_for_listener(call)) {
            let verdict = filter.answer(&call).unwrap().verdict;
            assert!(verdict.runs() || kernel_would(&recording, &call) == kernel_would(&filter, &call), "{call:?}");
        }
    }

    #[test]
    fn the_arguments_that_decide_are_those_looked_at() {
        let profile = profile_for(BuiltinProfile::Strict, &Capabilities::new()).unwrap();
        let filter = compile(&profile).unwrap();
        let judge = verdicts(&profile).unwrap();
        let decided = |name: &str, arguments: [u64; 6]| {
            let number = (0..480).find(|number| syscall_name(native(), *number) == Some(name)).unwrap();
            let answer = filter.answer(&Call { architecture: native(), number, arguments }).unwrap();
            assert_eq!(answer.verdict, judge(name, arguments), "{name}");
            answer.looked_at
        };
        let only = |index: usize| std::array::from_fn(|at| at == index);
        assert_eq!(decided("socket", [38, 5, 0, 0, 0, 0]), only(0));
        assert_eq!(decided("ioctl", [0, 0x5412, 9, 0, 0, 0]), only(1));
        assert_eq!(decided("ptrace", [16, 1, 2, 3, 4, 5]), [false; 6]);
    }

    #[test]
    fn what_is_no_program_has_no_answer() {
        let profile = profile_for(BuiltinProfile::Strict, &Capabilities::new()).unwrap();
        let filter = compile(&profile).unwrap();
        let mut bytes = filter.to_bytes();
        let end = bytes.len();
        // The last instruction becomes a jump that leads nowhere.
        bytes.splice(end - 8.., [0x05, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        let broken = CompiledFilter::from_bytes(&bytes).unwrap();
        assert!(calls().any(|call| broken.answer(&call).is_none()));
        let asks = calls().find(|call| filter.answer(call).unwrap().verdict == Verdict::Errno(1)).unwrap();
        assert_eq!(filter.reporting().answer(&asks), None, "it asks");
    }
}
