//! What the built-in profiles say, and that they are complete.

#[cfg(test)]
mod oracle;

#[cfg(test)]
mod tests {
    use super::oracle::answer;

    use oci_spec::runtime::{Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction};
    use palisade_seccomp::{BuiltinProfile, Library, Verdict, profile_for, tighten, verdict};
    use syscalls::Sysno;

    const EPERM: Verdict = Verdict::Errno(1);
    const ENOSYS: Verdict = Verdict::Errno(38);

    fn resolved(profile: BuiltinProfile, capabilities: &[Capability]) -> LinuxSeccomp {
        let bounding: Capabilities = capabilities.iter().copied().collect();
        profile_for(profile, &bounding).unwrap()
    }

    fn call(profile: &LinuxSeccomp, name: &str, arguments: &[u64]) -> Verdict {
        let mut six = [0; 6];
        six[..arguments.len()].copy_from_slice(arguments);
        let verdict = verdict(profile, name, six).unwrap();
        assert_eq!(verdict, answer(profile, name, six));
        verdict
    }

    #[test]
    fn names_round_trip_and_unknown_names_are_refused_with_those_that_there_are() {
        for profile in BuiltinProfile::ALL {
            assert_eq!(BuiltinProfile::named(profile.name()), Some(profile));
        }
        for none in ["baseline", "base", "never", "Strict", ""] {
            let error = Library::default().profile(none).unwrap_err();
            assert!(error.to_string().ends_with("there are web-service, strict, runtime-default"), "{error}");
        }
    }

    #[test]
    fn they_are_allow_lists_for_the_native_architecture() {
        for profile in BuiltinProfile::ALL {
            let written = resolved(profile, &[]);
            assert_eq!(written.default_action(), LinuxSeccompAction::ScmpActErrno);
            assert_eq!(written.default_errno_ret(), Some(1));
            let native = if cfg!(target_arch = "aarch64") { Arch::ScmpArchAarch64 } else { Arch::ScmpArchX86_64 };
            assert_eq!(written.architectures(), &Some(vec![native]));
            assert!(written.listener_path().is_none() && written.flags().is_none());
        }
    }

    #[test]
    fn each_allows_nothing_that_the_next_refuses() {
        let every_capability: Vec<Capability> =
            (0..41).filter_map(|number| CAPABILITIES.get(number).copied()).collect();
        let pairs = BuiltinProfile::ALL.into_iter().zip(BuiltinProfile::ALL.into_iter().skip(1));
        for (held, (tight, wide)) in
            [&[][..], &every_capability].into_iter().flat_map(|held| pairs.clone().map(move |pair| (held, pair)))
        {
            let (strict, wide) = (resolved(tight, held), resolved(wide, held));
            let both = tighten(&strict, &wide).unwrap();
            for name in Sysno::iter().chain([Sysno::last()]).map(|syscall| syscall.name()) {
                for value in INTERESTING {
                    let same = [value; 6];
                    let (strict, both) = (answer(&strict, name, same), answer(&both, name, same));
                    assert_eq!(strict.runs(), both.runs(), "{tight} {name} {value:#x}");
                }
            }
        }
    }

    /// Values that the profiles' conditions tell apart, with the neighbours of each.
    const INTERESTING: [u64; 30] = [
        0,
        1,
        2,
        3,
        8,
        10,
        16,
        37,
        38,
        39,
        40,
        41,
        45,
        46,
        0x40,
        0o777,
        0o4000,
        0o2777,
        0o10_0000,
        0o2_0000,
        0x2_0000,
        0x2_0008,
        0x5411,
        0x5412,
        0x541c,
        0x7e02_0000,
        0x40_0000,
        0xffff_ffff,
        0x1_0000_0026,
        u64::MAX,
    ];

    /// All that a profile file names.
    const CAPABILITIES: [Capability; 13] = [
        Capability::SysAdmin,
        Capability::SysChroot,
        Capability::SysNice,
        Capability::SysTime,
        Capability::Syslog,
        Capability::SysTtyConfig,
        Capability::DacReadSearch,
        Capability::SysBoot,
        Capability::SysModule,
        Capability::SysPtrace,
        Capability::SysRawio,
        Capability::Bpf,
        Capability::Perfmon,
    ];

    #[test]
    fn ordinary_calls_run_in_all() {
        for profile in BuiltinProfile::ALL.map(|profile| resolved(profile, &[])) {
            for name in ["read", "write", "mmap", "futex", "execve", "epoll_wait", "clock_gettime", "rseq", "sendmsg"] {
                assert_eq!(call(&profile, name, &[]), Verdict::Allow, "{name}");
            }
            // What glibc, musl and Go pass to clone for a thread and for fork.
            for flags in [0x3d_0f00, 0x7d_0f00, 0x5_0f00, 0x120_0011, 0x4111] {
                assert_eq!(call(&profile, "clone", &[flags]), Verdict::Allow, "{flags:#x}");
            }
            assert_eq!(call(&profile, "clone3", &[]), ENOSYS);
            assert_eq!(call(&profile, "openat", &[0, 0, 0o100 | 0o1, 0o644]), Verdict::Allow);
            assert_eq!(call(&profile, "socket", &[1]), Verdict::Allow);
        }
    }

    #[test]
    fn all_refuse_what_exploits_begin_with() {
        for profile in BuiltinProfile::ALL.map(|profile| resolved(profile, &[])) {
            for name in [
                "io_uring_setup",
                "userfaultfd",
                "keyctl",
                "add_key",
                "bpf",
                "perf_event_open",
                "mount",
                "unshare",
                "setns",
                "kexec_load",
                "init_module",
                "open_by_handle_at",
                "kcmp",
                "pidfd_getfd",
                "chroot",
                "no_such_call",
            ] {
                assert_eq!(call(&profile, name, &[]), EPERM, "{name}");
            }
            for flag in [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
                assert_eq!(call(&profile, "clone", &[flag | 0x11]), EPERM, "{flag:#x}");
            }
            for family in [38, 40, 0x1_0000_0026, 0xffff_ffff_0000_0028, 46, 0xffff_ffff] {
                assert_eq!(call(&profile, "socket", &[family]), EPERM, "{family:#x}");
                assert_eq!(call(&profile, "socketpair", &[family]), EPERM, "{family:#x}");
            }
            for persona in [0x4_0000, 0x40_0000, 0x1_0004_0000] {
                assert_eq!(call(&profile, "personality", &[persona]), EPERM, "{persona:#x}");
            }
        }
    }

    #[test]
    fn strict_refuses_more_and_runtime_default_is_the_control() {
        let (strict, wide) = (resolved(BuiltinProfile::Strict, &[]), resolved(BuiltinProfile::RuntimeDefault, &[]));
        let cases: [(&str, &[u64]); 24] = [
            ("ptrace", &[]),
            ("process_vm_readv", &[]),
            ("name_to_handle_at", &[]),
            ("vmsplice", &[]),
            ("modify_ldt", &[]),
            ("fanotify_mark", &[]),
            ("mknod", &[0, 0o2_0600, 0x103]),
            ("mknodat", &[0, 0, 0o6_0600, 0x800]),
            ("mknod", &[0, 0o10_4755]),
            ("ioctl", &[0, 0x5412]),
            ("ioctl", &[0, 0x1_0000_5412]),
            ("ioctl", &[0, 0x541c]),
            ("chmod", &[0, 0o4755]),
            ("fchmodat", &[0, 0, 0o4755]),
            ("openat", &[0, 0, 0o101, 0o4755]),
            ("open", &[0, 0o2020_0001, 0o6755]),
            ("socket", &[17]),
            ("socketpair", &[30]),
            ("socketpair", &[2]),
            ("socket", &[16, 3, 6]),
            ("socket", &[16, 3, 12]),
            ("socket", &[0xdead_0000_0000_0010, 3, 0x1_0000_0006]),
            ("prctl", &[35]),
            ("personality", &[8]),
        ];
        for (name, arguments) in cases {
            assert_eq!(call(&strict, name, arguments), EPERM, "{name} {arguments:?}");
            assert_eq!(call(&wide, name, arguments), Verdict::Allow, "{name} {arguments:?}");
        }
        let neighbours: [(&str, &[u64]); 13] = [
            ("mknod", &[0, 0o1_0600]),
            ("mknodat", &[0, 0, 0o14_0600]),
            ("ioctl", &[0, 0x5411]),
            ("ioctl", &[0, 0x5413]),
            ("chmod", &[0, 0o2775]),
            ("openat", &[0, 0, 0, 0o4755]),
            ("openat", &[0, 0, 0o101, 0o2755]),
            ("socket", &[0xdead_0000_0000_0010]),
            ("socket", &[16, 3, 0xdead_0000_0000_0000]),
            ("prctl", &[36]),
            ("prctl", &[0x5356_4d41]),
            ("shmget", &[]),
            ("personality", &[u64::MAX]),
        ];
        for (name, arguments) in neighbours {
            assert_eq!(call(&strict, name, arguments), Verdict::Allow, "{name} {arguments:?}");
        }
    }

    #[test]
    fn capabilities_open_their_group_in_runtime_default_only_the_mild_ones_in_strict_and_none_in_web_service() {
        let opened = [
            (Capability::SysAdmin, "unshare", false),
            (Capability::SysAdmin, "mount", false),
            (Capability::DacReadSearch, "open_by_handle_at", false),
            (Capability::SysModule, "finit_module", false),
            (Capability::Bpf, "bpf", false),
            (Capability::SysPtrace, "pidfd_getfd", false),
            (Capability::SysChroot, "chroot", true),
            (Capability::SysNice, "mbind", true),
            (Capability::SysTime, "clock_settime", true),
        ];
        for (capability, name, mild) in opened {
            let held = resolved(BuiltinProfile::RuntimeDefault, &[capability]);
            assert_eq!(call(&held, name, &[]), Verdict::Allow, "{name}");
            assert_eq!(call(&resolved(BuiltinProfile::RuntimeDefault, &[]), name, &[]), EPERM, "{name}");
            let strict = resolved(BuiltinProfile::Strict, &[capability]);
            assert_eq!(call(&strict, name, &[]).runs(), mild, "{name}");
            let service = resolved(BuiltinProfile::WebService, &[capability]);
            assert_eq!(call(&service, name, &[]), EPERM, "{name}");
        }
        let admin = resolved(BuiltinProfile::RuntimeDefault, &[Capability::SysAdmin]);
        assert_eq!(call(&admin, "clone", &[0x1000_0000]), Verdict::Allow);
        assert_eq!(call(&admin, "clone3", &[]), Verdict::Allow);
    }

    #[test]
    fn a_web_service_has_what_servers_call_and_not_what_only_administration_does() {
        let service = resolved(BuiltinProfile::WebService, &[]);
        for (name, arguments) in [
            ("accept4", &[][..]),
            ("epoll_pwait2", &[]),
            ("sendfile", &[]),
            ("splice", &[]),
            ("io_setup", &[]),
            ("timer_create", &[]),
            ("memfd_create", &[]),
            ("pidfd_open", &[]),
            ("setgroups", &[]),
            ("vfork", &[]),
            ("openat", &[0, 0, 0o101, 0o644]),
            ("socket", &[10, 1, 6]),
            ("socket", &[16, 3, 0]),
        ] {
            assert_eq!(call(&service, name, arguments), Verdict::Allow, "{name}");
        }
        let strict = resolved(BuiltinProfile::Strict, &[]);
        for (name, arguments) in [
            ("mknod", &[0, 0o1_0600][..]),
            ("personality", &[]),
            ("shmget", &[]),
            ("mq_open", &[]),
            ("execveat", &[]),
            ("setxattr", &[]),
            ("memfd_secret", &[]),
            ("sched_setscheduler", &[]),
            ("adjtimex", &[]),
            ("ioprio_set", &[]),
        ] {
            assert_eq!(call(&service, name, arguments), EPERM, "{name}");
            assert_eq!(call(&strict, name, arguments), Verdict::Allow, "{name}: the control");
        }
    }
}
