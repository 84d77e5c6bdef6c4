//! Profiles of the field and of the admin's own, mitigations, and how strict two profiles are to each other.

#[cfg(test)]
mod oracle;

#[cfg(test)]
mod tests {
    use super::oracle::answer;
    use std::str::FromStr as _;

    use oci_spec::runtime::{Capabilities, Capability, LinuxSeccomp};
    use palisade_seccomp::{
        Architecture, BuiltinProfile, KernelVersion, Library, ProfileError, SeccompProfile, Verdict,
    };
    use proptest::prelude::*;
    use serde_json::Value;
    use syscalls::Sysno;

    const EPERM: Verdict = Verdict::Errno(1);

    fn library(profiles: &[(&str, &str)]) -> Result<Library, ProfileError> {
        Library::with_profiles(profiles, KernelVersion::of_release("6.1.0"))
    }

    /// The profile of that text.
    fn own(text: &str) -> SeccompProfile {
        library(&[("own", text)]).unwrap_or_else(|error| panic!("{text}: {error:?}")).profile("own").unwrap()
    }

    fn resolved(profile: &SeccompProfile) -> LinuxSeccomp {
        profile.resolve(&Capabilities::new(), &[]).unwrap()
    }

    fn call(profile: &LinuxSeccomp, name: &str, arguments: &[u64]) -> Verdict {
        let mut six = [0; 6];
        six[..arguments.len()].copy_from_slice(arguments);
        answer(profile, name, six)
    }

    /// Docker's form, old and new keys, with what Go writes for what is empty.
    const DOCKER: &str = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "archMap": [{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] },
                    { "architecture": "SCMP_ARCH_RISCV64", "subArchitectures": null }],
        "syscalls": [
            { "names": ["read", "chown32"], "action": "SCMP_ACT_ALLOW", "args": [], "comment": "", "includes": {}, "excludes": {} },
            { "name": "write", "action": "SCMP_ACT_ALLOW", "args": null },
            { "names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "args": null, "includes": { "minKernel": "4.8" }, "excludes": null },
            { "names": ["mseal"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "6.10" } },
            { "names": ["kcmp"], "action": "SCMP_ACT_ALLOW", "excludes": { "minKernel": "5.0" } },
            { "names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_SYS_CHROOT"] } },
            { "names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["amd64", "x32"] } },
            { "names": ["s390_runtime_instr"], "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["s390", "s390x"] } },
            { "names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ" }],
              "excludes": { "caps": ["CAP_SYS_ADMIN"], "arches": ["s390", "s390x"] } },
            { "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": { "caps": ["CAP_SYS_ADMIN"] } },
            { "names": ["kill"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_NE" }] }
        ]
    }"#;

    #[test]
    fn a_profile_in_dockers_form_is_read_as_docker_reads_it() {
        let profile = own(DOCKER);
        let plain = resolved(&profile);
        for (name, arguments, runs) in [
            ("read", &[][..], true),
            ("write", &[], true),
            ("ptrace", &[], true),
            ("mseal", &[], false),
            ("kcmp", &[], false),
            ("chroot", &[], false),
            ("s390_runtime_instr", &[], false),
            ("arch_prctl", &[], cfg!(target_arch = "x86_64")),
            ("clone", &[0x11], true),
            ("clone", &[0x1000_0011], false),
            ("kill", &[2], true),
            ("kill", &[1], false),
            ("unshare", &[], false),
        ] {
            assert_eq!(call(&plain, name, arguments).runs(), runs, "{name} {arguments:?}");
        }
        assert_eq!(call(&plain, "clone3", &[]), Verdict::Errno(38));
        let held = Capabilities::from([Capability::SysChroot, Capability::SysAdmin]);
        let admin = profile.resolve(&held, &[]).unwrap();
        assert!(call(&admin, "chroot", &[]).runs());
        assert_eq!((call(&admin, "clone", &[0x11]), call(&admin, "clone3", &[])), (EPERM, EPERM));
    }

    #[test]
    fn what_containerd_writes_is_a_profile() {
        let bounding = Capabilities::from([Capability::SysChroot]);
        let written = SeccompProfile::from(BuiltinProfile::RuntimeDefault).resolve(&bounding, &[]).unwrap();
        let again = own(&serde_json::to_string(&written).unwrap());
        assert_eq!(resolved(&again), written);
    }

    #[test]
    fn an_object_of_the_security_profiles_operator_is_a_profile() {
        let profile = own(r#"{
            "apiVersion": "security-profiles-operator.x-k8s.io/v1beta1", "kind": "SeccompProfile",
            "metadata": { "name": "p", "labels": { "kind": "x" } },
            "spec": { "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "baseProfileName": "base",
                      "syscalls": [{ "action": "SCMP_ACT_ALLOW", "names": ["mkdir"] }] }
        }"#);
        let resolved = resolved(&profile);
        assert!(call(&resolved, "mkdir", &[]).runs() && call(&resolved, "read", &[]).runs());
        assert_eq!(call(&resolved, "rmdir", &[]), EPERM);
        let other = r#"{ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "spec": { "defaultAction": "SCMP_ACT_ERRNO" } }"#;
        assert!(matches!(library(&[("own", other)]), Err(ProfileError::Json { .. })));
    }

    #[test]
    fn a_broken_profile_is_an_error_that_names_it_and_the_fault() {
        let entry = |rest: &str| format!(r#"{{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{ {rest} }}] }}"#);
        for (text, word) in [
            (String::new(), "EOF"),
            ("[]".to_owned(), "no JSON object"),
            (r#"{ "defaultAction": "SCMP_ACT_ERRNO", "defaultActoin": 1 }"#.to_owned(), "defaultActoin"),
            (r#"{ "defaultAction": "SCMP_ACT_NOTIFY" }"#.to_owned(), "SCMP_ACT_NOTIFY"),
            (r#"{ "defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "/run/x" }"#.to_owned(), "listener"),
            (r#"{ "defaultAction": "SCMP_ACT_ERRNO", "include": ["nothing"] }"#.to_owned(), "nothing"),
            (r#"{ "defaultAction": "SCMP_ACT_ERRNO", "include": ["own"] }"#.to_owned(), "leads back"),
            (entry(r#""names": ["read"], "action": "SCMP_ACT_ALOW""#), "SCMP_ACT_ALOW"),
            (entry(r#""names": ["read"], "name": "write", "action": "SCMP_ACT_ALLOW""#), "exclude each other"),
            (entry(r#""names": [], "action": "SCMP_ACT_ALLOW""#), "names no system call"),
            (
                entry(
                    r#""names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 1, "vlaueTwo": 1, "op": "SCMP_CMP_EQ" }]"#,
                ),
                "vlaueTwo",
            ),
            (entry(r#""names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_X"] }"#), "CAP_X"),
            (
                entry(r#""names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "new" }"#),
                "no version",
            ),
        ] {
            let error = library(&[("fine", DOCKER), ("own", &text)]).unwrap_err();
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            let whole = format!("{error}: {source}");
            assert!(whole.contains("own") && whole.contains(word), "{text}: {whole}");
        }
    }

    #[test]
    fn names_are_plain_and_each_belongs_to_one_file() {
        for taken in ["strict", "base", "never"] {
            assert!(matches!(library(&[(taken, DOCKER)]), Err(ProfileError::Taken { .. })), "{taken}");
        }
        for name in ["", ".", "../x", "a/b", "a b", ".hidden", "ä"] {
            assert!(matches!(library(&[(name, DOCKER)]), Err(ProfileError::Name { .. })), "{name:?}");
        }
        let set = r#"{ "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ALLOW" }] }"#;
        let uses = r#"{ "include": ["my-set"], "defaultAction": "SCMP_ACT_KILL_PROCESS" }"#;
        let library = library(&[("uses", uses), ("my-set", set)]).unwrap();
        assert_eq!(library.profiles(), ["web-service", "strict", "runtime-default", "uses"]);
        assert!(library.profile("my-set").is_err(), "a set is no profile");
        let resolved = resolved(&library.profile("uses").unwrap());
        assert_eq!(
            (call(&resolved, "mkdir", &[]), call(&resolved, "read", &[])),
            (Verdict::Allow, Verdict::KillProcess)
        );
    }

    #[test]
    fn a_set_on_top_of_a_profile_adds_to_it() {
        let postgres = own(r#"{ "include": ["web-service", "base-ipc"], "defaultAction": "SCMP_ACT_ERRNO" }"#);
        let service = SeccompProfile::from(BuiltinProfile::WebService);
        assert!(call(&resolved(&postgres), "shmget", &[]).runs());
        assert_eq!(postgres.looser_than(&service).unwrap().as_deref(), Some("mq_getsetattr"));
        assert_eq!(service.looser_than(&postgres).unwrap(), None);
        assert_eq!(postgres.looser_than(&BuiltinProfile::Strict.into()).unwrap(), None);
    }

    #[test]
    fn what_comes_out_of_an_own_profile_comes_out_again() {
        let many: Vec<String> =
            (0..60).map(|n| format!(r#"{{ "index": 0, "in": ["{}-{}"] }}"#, n * 7, n * 7 + 3)).collect();
        let entries =
            many.iter().map(|low| format!(r#"{{ "names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "low32": [{low}] }}"#));
        let text = format!(
            r#"{{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{}] }}"#,
            entries.collect::<Vec<_>>().join(",")
        );
        let list = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                        "syscalls": [{ "names": ["mount"], "action": "SCMP_ACT_ERRNO" }] }"#;
        for profile in [own(&text), own(DOCKER), own(list)] {
            for profile in [profile.clone(), profile.mitigated(&all_mitigations())] {
                let once = resolved(&profile);
                assert_eq!(profile.tighten(&Capabilities::new(), &[], &once).unwrap(), once, "{}", profile.name());
            }
        }
    }

    /// 32-bit calls that stand for a call that was taken, or hide one.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_mitigation_takes_the_calls_of_other_architectures_as_well() {
        let text = r#"{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{ "action": "SCMP_ACT_ALLOW",
            "names": ["socket", "socketcall", "chown", "chown32", "bind", "connect"] }] }"#;
        let profile = own(text);
        let resolve = |profile: &SeccompProfile| profile.resolve(&Capabilities::new(), &[Architecture::X86]).unwrap();
        let all = r#"{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{ "action": "SCMP_ACT_ALLOW", "names": ["socketcall", "socket", "bind", "connect",
            "listen", "accept", "accept4", "getsockname", "getpeername", "socketpair", "send", "sendto", "recv", "recvfrom", "shutdown", "setsockopt",
            "getsockopt", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg"] }] }"#;
        assert!(call(&resolve(&own(all)), "socketcall", &[]).runs(), "the control");
        let family = r#""args": [{ "index": 0, "value": 38, "op": "SCMP_CMP_NE" }], "names": ["socket"]"#;
        let judged = all
            .replace("] }] }", &format!(r#"] }}, {{ "action": "SCMP_ACT_ALLOW", {family} }}] }}"#))
            .replace(r#""socketcall", "socket""#, r#""socketcall""#);
        assert_eq!(
            call(&resolve(&own(&judged)), "socketcall", &[]),
            Verdict::Errno(38),
            "a profile that judges socket"
        );
        assert!(profile.looser_than(&BuiltinProfile::RuntimeDefault.into()).unwrap().is_some());
        let id = |id| Library::default().mitigation(id).unwrap().unwrap();
        let less = resolve(&profile.clone().mitigated(&[id("copy-fail")]));
        assert_eq!(call(&less, "socketcall", &[]), Verdict::Errno(38));
        assert!(call(&less, "chown32", &[]).runs() && call(&less, "socket", &[2]).runs());
        let native = profile.resolve(&Capabilities::new(), &[]).unwrap();
        assert!(!call(&native, "chown32", &[]).runs(), "no such call there");
    }

    #[test]
    fn names_of_other_architectures_are_compared_by_what_they_stand_for() {
        let mostly = r#"{ "include": ["runtime-default"], "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{ "action": "SCMP_ACT_ALLOW", "names": [NAMES] }] }"#;
        let with = |names: &str| own(&mostly.replace("NAMES", names));
        let default = SeccompProfile::from(BuiltinProfile::RuntimeDefault);
        assert_eq!(with(r#""chown32", "mmap2", "stat64""#).looser_than(&default).unwrap(), None);
        assert_eq!(with(r#""socketcall""#).looser_than(&default).unwrap().as_deref(), Some("socketcall"));
        assert_eq!(
            with(r#""umount""#).looser_than(&default).unwrap().as_deref(),
            Some("umount"),
            "without CAP_SYS_ADMIN"
        );
    }

    fn all_mitigations() -> Vec<std::sync::Arc<palisade_seccomp::Mitigation>> {
        let library = Library::default();
        library.mitigations().iter().map(|id| library.mitigation(id).unwrap().unwrap()).collect()
    }

    #[test]
    fn each_shipped_mitigation_takes_away_what_it_names_and_nothing_else() {
        let allow_all = own(r#"{ "defaultAction": "SCMP_ACT_ALLOW" }"#);
        let cases: &[(&str, &str, &[u64], &[u64])] = &[
            ("bpf", "bpf", &[], &[]),
            ("copy-fail", "socket", &[38], &[37]),
            ("copy-fail", "socket", &[0x1_0000_0026], &[39]),
            ("dirty-frag", "socket", &[33], &[34]),
            ("dirty-frag", "socket", &[15], &[14]),
            ("dirty-frag", "socket", &[16, 3, 6], &[16, 3, 0]),
            ("dirty-pipe", "splice", &[], &[]),
            ("dirty-pipe", "vmsplice", &[], &[]),
            ("fragnesia", "setsockopt", &[3, 6, 31], &[3, 6, 1]),
            ("fragnesia", "socket", &[16, 3, 6], &[16, 3, 12]),
            ("io-uring", "io_uring_setup", &[], &[]),
            ("keyrings", "keyctl", &[], &[]),
            ("mount-api", "fsconfig", &[], &[]),
            ("nf-tables", "socket", &[16, 3, 12], &[16, 3, 6]),
            ("nf-tables", "setsockopt", &[3, 0, 64], &[3, 0, 63]),
            ("nf-tables", "setsockopt", &[3, 41, 65], &[3, 41, 66]),
            ("packet", "socket", &[17], &[16]),
            ("ptrace", "ptrace", &[], &[]),
            ("terminal-input", "ioctl", &[0, 0x1_0000_5412], &[0, 0x5413]),
            ("user-namespaces", "clone", &[0x1000_0011], &[0x2000_0011]),
            ("user-namespaces", "unshare", &[0x1002_0000], &[0x2_0000]),
            ("user-namespaces", "clone3", &[], &[]),
            ("userfaultfd", "userfaultfd", &[], &[]),
            ("vsock", "socket", &[40], &[41]),
        ];
        let library = Library::default();
        for id in library.mitigations() {
            let mitigation = library.mitigation(&id).unwrap().unwrap();
            assert!(!mitigation.comment().is_empty() && !mitigation.kernels().is_empty(), "{id}");
            let taken = resolved(&allow_all.clone().mitigated(&[mitigation]));
            let own: Vec<_> = cases.iter().filter(|(known, ..)| *known == id).collect();
            assert!(!own.is_empty(), "{id} is tried");
            for (_, name, inside, outside) in own {
                assert!(!call(&taken, name, inside).runs(), "{id}: {name} {inside:?}");
                assert!(inside == outside || call(&taken, name, outside).runs(), "{id}: {name} {outside:?}");
            }
            assert!(call(&taken, "read", &[]).runs());
            for entry in taken.syscalls().iter().flatten() {
                for name in entry.names() {
                    assert!(Sysno::from_str(name).is_ok(), "{id}: {name} is no call");
                }
            }
        }
    }

    #[test]
    fn mitigations_only_tighten_and_a_profile_without_them_is_looser() {
        let all = all_mitigations();
        for profile in BuiltinProfile::ALL.map(SeccompProfile::from).into_iter().chain([own(DOCKER)]) {
            let less = profile.clone().mitigated(&all);
            assert_eq!(less.looser_than(&profile).unwrap(), None, "{}", profile.name());
            assert_eq!(less.looser_than(&less.clone().mitigated(&all)).unwrap(), None);
            assert_eq!(less.mitigations().len(), all.len());
        }
        let default = SeccompProfile::from(BuiltinProfile::RuntimeDefault);
        let less = default.clone().mitigated(&all);
        assert_eq!(default.looser_than(&less).unwrap().as_deref(), Some("bpf"), "with CAP_BPF");
        let strict = SeccompProfile::from(BuiltinProfile::Strict);
        let io_uring = Library::default().mitigation("io-uring").unwrap().unwrap();
        assert_eq!(strict.looser_than(&strict.clone().mitigated(&[io_uring])).unwrap(), None, "it refuses that anyway");
    }

    #[test]
    fn a_broken_mitigation_is_an_error() {
        let denies = r#"[{ "comment": "c", "names": ["read"] }]"#;
        let text = |id: &str, denies: &str| {
            format!(r#"{{ "id": "{id}", "comment": "c", "kernels": "all", "denies": {denies} }}"#)
        };
        let read = |id: &str, text: &str| Library::default().and_mitigations(&[(id, text)]);
        assert!(read("mine", &text("mine", denies)).is_ok());
        assert!(matches!(read("io-uring", &text("io-uring", denies)), Err(ProfileError::Taken { .. })));
        for broken in [
            text("other", denies),
            text("mine", "[]"),
            text("mine", r#"[{ "comment": "c", "names": [] }]"#),
            text("mine", r#"[{ "comment": "c", "names": ["read"], "action": "SCMP_ACT_ALLOW" }]"#),
            r#"{ "id": "mine", "denies": [] }"#.to_owned(),
        ] {
            assert!(read("mine", &broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn the_shipped_profiles_are_ordered_and_errnos_are_equally_strict() {
        let [service, strict, default] = BuiltinProfile::ALL.map(SeccompProfile::from);
        for (tight, wide) in [(&service, &strict), (&strict, &default), (&service, &default)] {
            assert_eq!(tight.looser_than(wide).unwrap(), None);
            assert!(wide.looser_than(tight).unwrap().is_some());
        }
        let [a, b] = [1, 38]
            .map(|errno| own(&format!(r#"{{ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": {errno} }}"#)));
        assert!(a.looser_than(&b).unwrap().is_none() && b.looser_than(&a).unwrap().is_none());
        let kill = own(r#"{ "defaultAction": "SCMP_ACT_KILL_PROCESS" }"#);
        assert!(a.looser_than(&kill).unwrap().is_some() && kill.looser_than(&a).unwrap().is_none());
        let log = own(r#"{ "defaultAction": "SCMP_ACT_LOG" }"#);
        assert!(log.looser_than(&a).unwrap().is_some());
    }

    #[test]
    fn a_profile_with_a_looser_flag_is_looser() {
        let with = |flags: &str| own(&format!(r#"{{ "defaultAction": "SCMP_ACT_ERRNO"{flags} }}"#));
        let spec_allow = with(r#", "flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]"#);
        let log = with(r#", "flags": ["SECCOMP_FILTER_FLAG_LOG"]"#);
        let (none, unsaid) = (with(r#", "flags": []"#), with(""));
        for (loose, tight) in [(&spec_allow, &none), (&spec_allow, &unsaid), (&unsaid, &none), (&none, &log)] {
            assert!(loose.looser_than(tight).unwrap().is_some());
            assert_eq!(tight.looser_than(loose).unwrap(), None);
        }
    }

    /// One character of Docker's form is another, or gone: it is refused, or read, resolved and compared.
    #[test]
    fn a_text_that_is_nearly_a_profile_is_an_error_or_a_profile() {
        let strict = SeccompProfile::from(BuiltinProfile::Strict);
        let mut read = 0;
        for at in 0..DOCKER.len() {
            for other in ["", "0", "\"", "{", "]", "\u{e9}"] {
                let text = format!("{}{other}{}", &DOCKER[..at], &DOCKER[at + 1..]);
                let Ok(profile) = library(&[("own", &text)]).map(|library| library.profile("own")) else { continue };
                let Ok(profile) = profile else { continue };
                read += 1;
                profile.resolve(&Capabilities::new(), &[]).unwrap();
                strict.looser_than(&profile).unwrap();
            }
        }
        assert!(read > 100, "some still say something: {read}");
    }

    /// The values that generated conditions compare with.
    const SMALL: std::ops::Range<u64> = 0..4;

    /// A value of each kind that these conditions tell apart: below and among what they compare with, and above with both low bits.
    const KINDS: std::ops::Range<u64> = 0..8;

    fn entry(operators: &[&'static str]) -> impl Strategy<Value = String> + use<> {
        let arg = (0..2_usize, SMALL, prop::sample::select(operators.to_vec()));
        let action = prop::sample::select(vec![
            r#""SCMP_ACT_ALLOW""#,
            r#""SCMP_ACT_LOG""#,
            r#""SCMP_ACT_ERRNO""#,
            r#""SCMP_ACT_KILL_PROCESS""#,
        ]);
        let name = prop::sample::select(vec!["read", "write"]);
        let gate = prop::sample::select(vec![
            "",
            r#", "includes": { "caps": ["CAP_SYS_ADMIN"] }"#,
            r#", "excludes": { "caps": ["CAP_SYS_ADMIN"] }"#,
            r#", "includes": { "caps": ["CAP_BPF"] }"#,
        ]);
        (name, action, prop::collection::vec(arg, 0..3), gate).prop_map(|(name, action, args, gate)| {
            let args = args.iter().map(|(index, value, op)| {
                format!(r#"{{ "index": {index}, "value": {value}, "valueTwo": {value}, "op": "SCMP_CMP_{op}" }}"#)
            });
            format!(
                r#"{{ "names": ["{name}"], "action": {action}, "args": [{}]{gate} }}"#,
                args.collect::<Vec<_>>().join(",")
            )
        })
    }

    fn profile(operators: &[&'static str]) -> impl Strategy<Value = String> + use<> {
        let default = prop::sample::select(vec!["SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW"]);
        (default, prop::collection::vec(entry(operators), 0..5)).prop_map(|(default, entries)| {
            format!(r#"{{ "defaultAction": "{default}", "syscalls": [{}] }}"#, entries.join(","))
        })
    }

    fn rank(verdict: Verdict) -> Verdict {
        if matches!(verdict, Verdict::Errno(_)) { EPERM } else { verdict }
    }

    /// What a profile's text says to a container with these capabilities, without palisade's reader.
    fn meaning(text: &str, held: &[&str]) -> LinuxSeccomp {
        let mut profile: Value = serde_json::from_str(text).unwrap();
        let entries = profile["syscalls"].as_array_mut().unwrap();
        let gate = |entry: &Value, key: &str| entry[key]["caps"][0].as_str().map(|cap| held.contains(&cap));
        entries.retain(|entry| gate(entry, "includes") != Some(false) && gate(entry, "excludes") != Some(true));
        for entry in entries {
            entry.as_object_mut().unwrap().retain(|key, _| key != "includes" && key != "excludes");
        }
        serde_json::from_value(profile).unwrap()
    }

    /// What becomes of it.
    fn effect(text: &str, held: &[&str]) -> LinuxSeccomp {
        let bounding: Capabilities = serde_json::from_value(held.iter().copied().collect()).unwrap();
        own(text).resolve(&bounding, &[]).unwrap()
    }

    /// Whether some call of the small world runs in `a` and less so in `b`: every one is tried.
    fn is_seen_looser(a: &str, read: fn(&str, &[&str]) -> LinuxSeccomp, b: &str) -> bool {
        let held = [&[][..], &["CAP_SYS_ADMIN"], &["CAP_BPF"], &["CAP_SYS_ADMIN", "CAP_BPF"]];
        held.iter().any(|held| {
            let (a, b) = (read(a, held), meaning(b, held));
            let calls = ["read", "write", "mkdir"].into_iter().flat_map(|name| KINDS.map(move |x| (name, x)));
            calls
                .flat_map(|(name, x)| KINDS.map(move |y| (name, [x, y, 0, 0, 0, 0])))
                .any(|(name, arguments)| rank(answer(&a, name, arguments)) < rank(answer(&b, name, arguments)))
        })
    }

    proptest! {
        #[test]
        fn strictness_is_what_trying_every_call_shows(
            a in profile(&["EQ", "NE", "LT", "GE"]),
            b in profile(&["EQ", "NE", "LT", "GE"]),
        ) {
            let looser = own(&a).looser_than(&own(&b)).unwrap();
            prop_assert_eq!(looser.is_some(), is_seen_looser(&a, meaning, &b));
        }

        /// What takes too many pieces to compare is taken for looser, or stopped; never the other way round.
        #[test]
        fn a_looser_profile_is_never_taken_for_a_strict_one(
            a in profile(&["EQ", "NE", "MASKED_EQ"]),
            b in profile(&["EQ", "NE", "MASKED_EQ"]),
        ) {
            let looser = own(&a).looser_than(&own(&b)).unwrap();
            prop_assert!(looser.is_some() || !is_seen_looser(&a, effect, &b));
        }
    }
}
