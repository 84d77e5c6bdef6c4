//! Compiled filters in the running kernel: each is loaded in a thread or process of its own and real calls are made.
#![cfg(target_arch = "x86_64")]

#[cfg(test)]
mod oracle;

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, ExitStatus, Stdio};
    use std::str::FromStr as _;

    use oci_spec::runtime::{
        Capabilities, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompArgBuilder,
        LinuxSeccompOperator as Op, LinuxSyscall,
    };
    use palisade_seccomp::{
        Architecture, BuiltinProfile, CompileError, CompiledFilter, Instruction, Verdict, compile, profile_for,
        profile_with, tighten,
    };
    use proptest::prelude::*;
    use syscalls::Sysno;

    use super::oracle::answer;

    const EPERM: i32 = libc::EPERM;
    const X32_BIT: i64 = 0x4000_0000;

    // ---- calling the kernel

    /// Makes a call and returns its errno, 0 for success.
    #[allow(unsafe_code, reason = "calls by number with arbitrary arguments have no safe wrapper")]
    fn call(number: i64, arguments: [u64; 6]) -> i32 {
        let [a, b, c, d, e, f] = arguments;
        // JUSTIFICATION: what the kernel answers to a raw call is what is tested.
        // SAFETY: the callers pass null or all-ones for every pointer, which the kernel refuses to touch, and no
        // call that ends, forks or re-maps this process (`NOT_CALLED`).
        let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
        if result == -1 { std::io::Error::last_os_error().raw_os_error().unwrap() } else { 0 }
    }

    /// A call of the 32-bit ABI: its result, or its errno negated.
    #[allow(unsafe_code, reason = "the 32-bit entry is reached by an instruction")]
    fn int80(number: i32, [a, b, c]: [u32; 3]) -> i32 {
        let mut eax = number;
        // JUSTIFICATION: the 32-bit entry has no other door.
        // SAFETY: the callers pass no pointer that leads anywhere; rbx, which LLVM keeps for itself, is put back; int 0x80 clobbers r8 to
        // r11 and the flags.
        unsafe {
            std::arch::asm!("xchg rbx, {first:r}", "int 0x80", "xchg rbx, {first:r}", first = inout(reg) u64::from(a) => _,
                inlateout("eax") eax, in("ecx") b, in("edx") c, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
        }
        eax
    }

    fn number(name: &str) -> i64 {
        i64::from(Sysno::from_str(name).unwrap().id())
    }

    /// Every call of the table; `iter` leaves out the last one.
    fn all_names() -> impl Iterator<Item = &'static str> {
        Sysno::iter().chain([Sysno::last()]).map(|syscall| syscall.name())
    }

    fn load(filter: &CompiledFilter) {
        let step =
            |step: &Instruction| seccompiler::sock_filter { code: step.code, jt: step.jt, jf: step.jf, k: step.k };
        let program: Vec<_> = filter.program().iter().map(step).collect();
        seccompiler::apply_filter(&program).unwrap();
    }

    /// The errnos of the calls, made by a thread under the filter.
    fn filtered(profile: &LinuxSeccomp, calls: &[(i64, [u64; 6])]) -> Vec<i32> {
        let filter = compile(profile).unwrap();
        in_a_thread(calls, move || load(&filter))
    }

    /// The same without a filter. no_new_privs is set as loading a filter does, because some calls depend on it.
    fn unfiltered(calls: &[(i64, [u64; 6])]) -> Vec<i32> {
        let set_no_new_privs = (libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0, 0, 0]);
        in_a_thread(calls, move || assert_eq!(call(set_no_new_privs.0, set_no_new_privs.1), 0))
    }

    fn in_a_thread(calls: &[(i64, [u64; 6])], prepare: impl FnOnce() + Send) -> Vec<i32> {
        let work = || {
            prepare();
            calls.iter().map(|(number, arguments)| call(*number, *arguments)).collect()
        };
        std::thread::scope(|scope| scope.spawn(work).join().unwrap())
    }

    fn built_in(profile: BuiltinProfile) -> LinuxSeccomp {
        profile_for(profile, &Capabilities::new()).unwrap()
    }

    fn six(arguments: &[u64]) -> [u64; 6] {
        let mut six = [0; 6];
        six[..arguments.len()].copy_from_slice(arguments);
        six
    }

    // ---- every call of the table

    /// Calls that would end, fork, stop or disturb the test process whatever their arguments.
    const NOT_CALLED: [&str; 13] = [
        "exit",
        "exit_group",
        "fork",
        "vfork",
        "pause",
        "rt_sigreturn",
        "setsid",
        "set_tid_address",
        "sync",
        "umask",
        "uprobe",
        "uretprobe",
        "vhangup",
    ];

    /// Arguments that the kernel refuses; all ones except where that would do something.
    fn harmless(name: &str) -> [u64; 6] {
        match name {
            "kill" => six(&[0x7fff_fff0]),
            "msgget" => six(&[0x7fff_fff0]),
            "alarm" | "eventfd" => [0; 6],
            _ => [u64::MAX; 6],
        }
    }

    #[test]
    fn every_call_gets_what_its_profile_says() {
        let names: Vec<&str> = all_names().filter(|name| !NOT_CALLED.contains(name)).collect();
        let calls: Vec<_> = names.iter().map(|name| (number(name), harmless(name))).collect();
        let plain = unfiltered(&calls);
        for profile in BuiltinProfile::ALL.map(built_in) {
            let mut told_apart = 0;
            for ((name, plain), got) in names.iter().zip(&plain).zip(filtered(&profile, &calls)) {
                match answer(&profile, name, harmless(name)) {
                    Verdict::Allow => assert_eq!(got, *plain, "{name} should reach the kernel"),
                    Verdict::Errno(errno) => {
                        assert_eq!(got, i32::from(errno), "{name} should be stopped");
                        told_apart += usize::from(got != *plain);
                    }
                    other => panic!("{name}: no built-in profile says {other:?}"),
                }
            }
            // The control: without the filter most of the stopped calls answer something else.
            assert!(told_apart > 50, "{told_apart}");
        }
    }

    // ---- every rule with conditions, and one argument changed

    /// A call that the kernel alone does not answer with EPERM, and whether runtime-default and strict stop it.
    struct Case(&'static str, &'static [u64], bool, bool);

    const NULL: u64 = 0;
    const BAD: u64 = u64::MAX;
    /// CLONE_SIGHAND without CLONE_VM: refused with EINVAL before anything is created.
    const NO_CLONE: u64 = 0x800;

    const CASES: &[Case] = &[
        Case("clone", &[NO_CLONE], false, false),
        Case("clone", &[NO_CLONE | 0x2_0000], true, true),
        Case("clone", &[NO_CLONE | 0x200_0000], true, true),
        Case("clone", &[NO_CLONE | 0x400_0000], true, true),
        Case("clone", &[NO_CLONE | 0x800_0000], true, true),
        Case("clone", &[NO_CLONE | 0x1000_0000], true, true),
        Case("clone", &[NO_CLONE | 0x2000_0000], true, true),
        Case("clone", &[NO_CLONE | 0x4000_0000], true, true),
        Case("clone", &[NO_CLONE | 0x1_0000_0000], false, false),
        Case("socket", &[37, 99], false, true),
        Case("socket", &[38, 99], true, true),
        Case("socket", &[0x1_0000_0026, 99], true, true),
        Case("socket", &[0xffff_ffff_0000_0026, 99], true, true),
        Case("socket", &[39, 99], false, true),
        Case("socket", &[40, 99], true, true),
        Case("socket", &[41, 99], false, true),
        Case("socket", &[45, 99], false, true),
        Case("socket", &[46, 99], true, true),
        Case("socket", &[0, 99], false, true),
        Case("socket", &[1, 99], false, false),
        Case("socket", &[2, 99], false, false),
        Case("socket", &[3, 99], false, true),
        Case("socket", &[9, 99], false, true),
        Case("socket", &[10, 99], false, false),
        Case("socket", &[11, 99], false, true),
        Case("socket", &[16, 99], false, false),
        Case("socket", &[17, 99], false, true),
        Case("socket", &[0x1_0000_0001, 99], false, false),
        Case("socketpair", &[1, 99], false, false),
        Case("socketpair", &[30, 99], false, true),
        Case("socketpair", &[38, 99], true, true),
        Case("personality", &[0], false, false),
        Case("personality", &[8], false, true),
        Case("personality", &[0x2_0000], false, true),
        Case("personality", &[0x2_0008], false, true),
        Case("personality", &[0], false, false),
        Case("personality", &[0xffff_ffff], false, false),
        Case("personality", &[u64::MAX], false, false),
        Case("personality", &[0x4_0000], true, true),
        Case("personality", &[0x1_0004_0000], true, true),
        Case("personality", &[1], true, true),
        Case("personality", &[0], false, false),
        Case("ioctl", &[BAD, 0x5411], false, false),
        Case("ioctl", &[BAD, 0x5412], false, true),
        Case("ioctl", &[BAD, 0x1_0000_5412], false, true),
        Case("ioctl", &[BAD, 0x5413], false, false),
        Case("ioctl", &[BAD, 0x541b], false, false),
        Case("ioctl", &[BAD, 0x541c], false, true),
        Case("ioctl", &[BAD, 0x541d], false, false),
        Case("ioctl", &[BAD, 0], false, false),
        Case("ioctl", &[BAD, 0xffff_ffff], false, false),
        Case("chmod", &[NULL, 0o755], false, false),
        Case("chmod", &[NULL, 0o3777], false, false),
        Case("chmod", &[NULL, 0o4755], false, true),
        Case("fchmod", &[BAD, 0o2755], false, false),
        Case("fchmod", &[BAD, 0o4755], false, true),
        Case("fchmodat", &[BAD, NULL, 0o755], false, false),
        Case("fchmodat", &[BAD, NULL, 0o6755], false, true),
        Case("fchmodat2", &[BAD, NULL, 0o755], false, false),
        Case("fchmodat2", &[BAD, NULL, 0o4000], false, true),
        Case("creat", &[NULL, 0o644], false, false),
        Case("creat", &[NULL, 0o4644], false, true),
        Case("open", &[NULL, 0o2, 0o4755], false, false),
        Case("open", &[NULL, 0o102, 0o755], false, false),
        Case("open", &[NULL, 0o102, 0o4755], false, true),
        Case("open", &[NULL, 0o2020_0002, 0o4755], false, true),
        Case("openat", &[BAD, NULL, 0, 0o4755], false, false),
        Case("openat", &[BAD, NULL, 0o101, 0o2755], false, false),
        Case("openat", &[BAD, NULL, 0o101, 0o4755], false, true),
        Case("openat", &[BAD, NULL, 0o2020_0001, 0o4755], false, true),
        Case("mknod", &[NULL, 0o644], false, false),
        Case("mknod", &[NULL, 0o10_0644], false, false),
        Case("mknod", &[NULL, 0o1_0644], false, false),
        Case("mknod", &[NULL, 0o14_0644], false, false),
        Case("mknod", &[NULL, 0o2_0644, 0x103], false, true),
        Case("mknod", &[NULL, 0o6_0644, 0x800], false, true),
        Case("mknod", &[NULL, 0o10_4755], false, true),
        Case("mknodat", &[BAD, NULL, 0o644], false, false),
        Case("mknodat", &[BAD, NULL, 0o10_0644], false, false),
        Case("mknodat", &[BAD, NULL, 0o1_0644], false, false),
        Case("mknodat", &[BAD, NULL, 0o14_0644], false, false),
        Case("mknodat", &[BAD, NULL, 0o2_0644, 0x103], false, true),
        Case("mknodat", &[BAD, NULL, 0o6_0644, 0x800], false, true),
        Case("mknodat", &[BAD, NULL, 0o1_4644], false, true),
    ];

    #[test]
    fn every_condition_stops_its_neighbour() {
        let calls: Vec<_> = CASES.iter().map(|case| (number(case.0), six(case.1))).collect();
        let plain = unfiltered(&calls);
        let runtime_default = filtered(&built_in(BuiltinProfile::RuntimeDefault), &calls);
        let strict = filtered(&built_in(BuiltinProfile::Strict), &calls);
        for (at, Case(name, arguments, in_default, in_strict)) in CASES.iter().enumerate() {
            let place = format!("{name} {arguments:x?}");
            assert_ne!(plain[at], EPERM, "{place}: the kernel alone does not stop it");
            for (got, stopped) in [(runtime_default[at], *in_default), (strict[at], *in_strict)] {
                assert_eq!(got, if stopped { EPERM } else { plain[at] }, "{place}");
            }
        }
    }

    /// Why the profiles compare the lower half: the ranges that container runtimes write for `socket` are 64-bit, and
    /// the kernel cuts the family to an `int`.
    #[test]
    fn a_64_bit_comparison_of_an_int_is_walked_round_and_ours_is_not() {
        let usual = json(
            r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                 { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                   "args": [{ "index": 0, "value": 38, "op": "SCMP_CMP_EQ" }] }] }"#,
        );
        let calls = [(number("socket"), six(&[38, 99])), (number("socket"), six(&[0x1_0000_0026, 99]))];
        let plain = unfiltered(&calls);
        assert_eq!(plain[0], plain[1], "the kernel sees the same family");
        assert_eq!(filtered(&usual, &calls), [EPERM, plain[0]]);
        assert_eq!(filtered(&built_in(BuiltinProfile::RuntimeDefault), &calls), [EPERM, EPERM]);
        let both = tighten(&built_in(BuiltinProfile::RuntimeDefault), &usual).unwrap();
        assert_eq!(filtered(&both, &calls), [EPERM, EPERM]);
    }

    #[test]
    fn calls_with_a_fallback_get_enosys() {
        let calls = [(number("clone3"), [0; 6]), (number("openat2"), [0; 6])];
        assert_eq!(unfiltered(&calls), [libc::EINVAL, libc::EINVAL]);
        assert_eq!(filtered(&built_in(BuiltinProfile::RuntimeDefault), &calls), [libc::ENOSYS, libc::EINVAL]);
        assert_eq!(filtered(&built_in(BuiltinProfile::Strict), &calls), [libc::ENOSYS, libc::ENOSYS]);
    }

    // ---- generated conditions

    /// fadvise64 of a bad descriptor answers EBADF whatever the other arguments.
    const PROBED: &str = "fadvise64";

    fn probed(profile: &LinuxSeccomp, arguments: [u64; 3]) -> ((i64, [u64; 6]), i32) {
        let [a, b, c] = arguments;
        let six = [u64::MAX, a, b, c, 0, 0];
        let expected = match answer(profile, PROBED, six) {
            Verdict::Allow | Verdict::Log => libc::EBADF,
            Verdict::Errno(errno) => i32::from(errno),
            other => panic!("not generated: {other:?}"),
        };
        ((number(PROBED), six), expected)
    }

    fn value() -> impl Strategy<Value = u64> {
        let edges = vec![0_u64, 1, 5, 0x5412, 0x7fff_ffff, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0026, u64::MAX];
        let edge = (prop::sample::select(edges), -1_i64..=1);
        prop_oneof![4 => edge.prop_map(|(edge, step)| edge.wrapping_add_signed(step)), 1 => any::<u64>()]
    }

    fn arg(index: usize) -> impl Strategy<Value = LinuxSeccompArg> {
        let ops = vec![
            Op::ScmpCmpNe,
            Op::ScmpCmpLt,
            Op::ScmpCmpLe,
            Op::ScmpCmpEq,
            Op::ScmpCmpGe,
            Op::ScmpCmpGt,
            Op::ScmpCmpMaskedEq,
        ];
        (value(), value(), prop::sample::select(ops)).prop_map(move |(value, two, op)| {
            LinuxSeccompArgBuilder::default().index(index).value(value).value_two(two).op(op).build().unwrap()
        })
    }

    fn errno() -> impl Strategy<Value = (Action, Option<u32>)> {
        prop::sample::select(vec![
            (Action::ScmpActErrno, Some(1)),
            (Action::ScmpActErrno, Some(77)),
            (Action::ScmpActErrno, None),
        ])
    }

    /// One entry with up to three conditions and its opposite as default: exactly one answer a call.
    fn one_rule() -> impl Strategy<Value = LinuxSeccomp> {
        let args = (prop::option::of(arg(1)), prop::option::of(arg(2)), prop::option::of(arg(3)));
        (args, errno(), any::<bool>()).prop_map(|((a, b, c), stop, allows)| {
            let go = (Action::ScmpActAllow, None);
            let (matched, default) = if allows { (go, stop) } else { (stop, go) };
            let args: Vec<LinuxSeccompArg> = a.into_iter().chain(b).chain(c).collect();
            let mut entries = vec![everything_but_the_probe()];
            let mut probe = LinuxSyscall::default();
            probe.set_names(vec![PROBED.to_owned()]);
            probe.set_action(matched.0);
            probe.set_errno_ret(matched.1);
            probe.set_args((!args.is_empty()).then_some(args));
            entries.push(probe);
            let mut profile = LinuxSeccomp::default();
            profile.set_default_action(default.0);
            profile.set_default_errno_ret(default.1);
            profile.set_syscalls(Some(entries));
            profile
        })
    }

    /// What the thread needs to report and end.
    fn everything_but_the_probe() -> LinuxSyscall {
        let names = all_names().filter(|name| *name != PROBED).map(str::to_owned);
        let mut entry = LinuxSyscall::default();
        entry.set_names(names.collect());
        entry.set_action(Action::ScmpActAllow);
        entry
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn conditions_mean_in_the_kernel_what_they_say(
            profile in one_rule(), arguments in prop::collection::vec([value(), value(), value()], 25),
        ) {
            let (calls, expected): (Vec<_>, Vec<_>) =
                arguments.into_iter().map(|arguments| probed(&profile, arguments)).unzip();
            prop_assert_eq!(filtered(&profile, &calls), expected, "{:x?}", calls);
        }
    }

    // ---- several actions, and their order

    fn json(text: &str) -> LinuxSeccomp {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn several_errnos_do_not_mix() {
        let own = json(
            r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                 { "names": ["getuid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7 },
                 { "names": ["getgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
                 { "names": ["geteuid"], "action": "SCMP_ACT_LOG" },
                 { "names": ["fadvise64"], "action": "SCMP_ACT_ERRNO", "errnoRet": 11, "args": [{ "index": 3, "value": 5, "op": "SCMP_CMP_GE" }] },
                 { "names": ["fadvise64"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4095, "args": [{ "index": 3, "value": 5, "op": "SCMP_CMP_LT" }] }] }"#,
        );
        let both = tighten(&built_in(BuiltinProfile::Strict), &own).unwrap();
        let calls = [
            (number("getuid"), [0; 6]),
            (number("getgid"), [0; 6]),
            (number("geteuid"), [0; 6]),
            (number("getegid"), [0; 6]),
            (number("fadvise64"), six(&[BAD, 0, 0, 5])),
            (number("fadvise64"), six(&[BAD, 0, 0, 4])),
            (number("ptrace"), [0; 6]),
            (number("clone3"), [0; 6]),
        ];
        assert_eq!(filtered(&both, &calls), [7, 38, 0, 0, 11, 4095, EPERM, libc::ENOSYS]);
    }

    #[test]
    fn the_same_filter_comes_back_from_its_bytes() {
        for profile in BuiltinProfile::ALL.map(built_in) {
            let filter = compile(&profile).unwrap();
            let bytes = filter.to_bytes();
            assert_eq!(CompiledFilter::from_bytes(&bytes), Ok(filter));
            for wrong in [&bytes[1..], &bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat(), &[], b"PALISC\0\x01"] {
                assert!(CompiledFilter::from_bytes(wrong).is_err());
            }
        }
    }

    #[test]
    fn a_misspelt_name_is_an_error_where_it_stops_and_skipped_where_it_allows() {
        let entry = |action: &str| format!(r#"{{ "names": ["umuont2"], "action": "{action}" }}"#);
        let profile = |default: &str, entry: String| {
            json(&format!(r#"{{ "defaultAction": "{default}", "syscalls": [{entry}] }}"#))
        };
        let stops = compile(&profile("SCMP_ACT_ALLOW", entry("SCMP_ACT_ERRNO")));
        assert!(matches!(stops, Err(CompileError::UnknownSyscall { syscall }) if syscall == "umuont2"));
        assert!(compile(&profile("SCMP_ACT_ERRNO", entry("SCMP_ACT_KILL_PROCESS"))).is_err());
        assert!(compile(&profile("SCMP_ACT_ERRNO", entry("SCMP_ACT_ALLOW"))).is_ok());
    }

    /// As runc does, so that a program falls back as on an older kernel.
    #[test]
    fn calls_newer_than_the_table_get_enosys() {
        let newest = i64::from(Sysno::last().id());
        let profile = built_in(BuiltinProfile::Strict);
        assert_eq!(filtered(&profile, &[(newest + 1, [0; 6]), (9_999, [0; 6])]), [libc::ENOSYS; 2]);
    }

    #[test]
    fn flags_become_load_flags() {
        for (flags, bits) in [(r#""SECCOMP_FILTER_FLAG_LOG""#, 2), (r#""SECCOMP_FILTER_FLAG_SPEC_ALLOW""#, 4), ("", 0)]
        {
            let profile = json(&format!(r#"{{ "defaultAction": "SCMP_ACT_ERRNO", "flags": [{flags}] }}"#));
            assert_eq!(compile(&profile).unwrap().load_flags(), bits);
        }
    }

    // ---- what kills: in a process of its own

    const CHILD: &str = "PALISADE_SECCOMP_CHILD";
    const DENY_LIST: &str =
        r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["ptrace"], "action": "SCMP_ACT_ERRNO" }] }"#;
    const ALLOW_ALL: &str = r#"{ "defaultAction": "SCMP_ACT_ALLOW" }"#;

    /// Runs [`child`] in a process of its own.
    fn run(filter: &str, what: &str) -> ExitStatus {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "tests::child", "--ignored", "--test-threads=1"]);
        command.env(CHILD, format!("{what} {filter}")).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap()
    }

    #[test]
    #[ignore = "the other half of the tests below: started by them"]
    fn child() {
        let Ok(order) = std::env::var(CHILD) else { return };
        let (what, filter) = order.split_once(' ').unwrap();
        match filter {
            "none" => {}
            "runtime-default" => load(&compile(&built_in(BuiltinProfile::RuntimeDefault)).unwrap()),
            "strict" => load(&compile(&built_in(BuiltinProfile::Strict)).unwrap()),
            "runtime-default with x86" => load(&compile(&with_x86()).unwrap()),
            own => load(&compile(&json(own)).unwrap()),
        }
        match what {
            "int80" => assert!(int80(GETPID_32, [0; 3]) > 0),
            "int80-table" => {
                assert!(int80(GETPID_32, [0; 3]) > 0);
                // fcntl64 and ipc, with a descriptor and a number that there are not.
                assert_eq!((int80(221, [999, 1, 0]), int80(117, [99, 0, 0])), (-libc::EBADF, -libc::ENOSYS));
                // Two that are not in the 64-bit table: one stands for nothing, one hides what is judged.
                assert_eq!((int80(17, [0; 3]), int80(102, [1, 0, 0])), (-EPERM, -libc::ENOSYS));
                // socket of AF_ALG and of AF_UNIX with a type that there is not; mount.
                assert_eq!((int80(359, [38, 5, 0]), int80(359, [1, 99, 0])), (-EPERM, -libc::EINVAL));
                assert_eq!(int80(21, [0; 3]), -EPERM);
            }
            "x32" => eprintln!("survived: {}", call(number("getppid") | X32_BIT, [0; 6])),
            "x32-refused" => assert_eq!(call(number("getppid") | X32_BIT, [0; 6]), EPERM),
            "getppid" => assert_eq!(call(number("getppid"), [0; 6]), 0),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn calls_of_the_32_bit_abi_are_killed() {
        if !run("none", "int80").success() {
            eprintln!("this kernel has no 32-bit entry: nothing to stop");
            return;
        }
        for filter in ["runtime-default", "strict", DENY_LIST, ALLOW_ALL] {
            assert_eq!(run(filter, "int80").signal(), Some(libc::SIGSYS), "{filter}");
            assert!(run(filter, "getppid").success(), "{filter}");
        }
    }

    const GETPID_32: i32 = 20;

    fn with_x86() -> LinuxSeccomp {
        profile_with(BuiltinProfile::RuntimeDefault, &Capabilities::new(), &[Architecture::X86]).unwrap()
    }

    #[test]
    fn calls_of_the_32_bit_abi_get_what_the_profile_says_where_it_lists_them() {
        if !run("none", "int80").success() {
            eprintln!("this kernel has no 32-bit entry: nothing to judge");
            return;
        }
        assert!(!run("none", "int80-table").success(), "the control: without a filter they are answered otherwise");
        for what in ["int80", "int80-table", "getppid", "x32-refused"] {
            assert!(run("runtime-default with x86", what).success(), "{what}");
        }
    }

    #[test]
    fn x32_calls_are_refused_or_killed() {
        assert!(run("none", "x32").success());
        assert!(!run("none", "x32-refused").success());
        for filter in ["runtime-default", "strict"] {
            assert!(run(filter, "x32-refused").success(), "{filter}");
        }
        for filter in [DENY_LIST, ALLOW_ALL] {
            assert_eq!(run(filter, "x32").signal(), Some(libc::SIGSYS), "{filter}");
            assert!(run(filter, "getppid").success(), "{filter}");
        }
    }

    #[test]
    fn killing_actions_kill_even_beside_a_milder_default() {
        assert!(run("none", "getppid").success());
        for action in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
            let own = format!(
                r#"{{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{ "names": ["getppid"], "action": "{action}" }}] }}"#
            );
            assert_eq!(run(&own, "getppid").signal(), Some(libc::SIGSYS), "{action}");
            let both = tighten(&built_in(BuiltinProfile::Strict), &json(&own)).unwrap();
            let both = serde_json::to_string(&both).unwrap();
            assert_eq!(run(&both, "getppid").signal(), Some(libc::SIGSYS), "{action} combined");
        }
    }
}
