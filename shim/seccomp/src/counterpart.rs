//! Calls of 32-bit architectures that 64-bit ones do not have under that name, and what they do there.
//!
//! Sources: arch/x86/entry/syscalls/syscall_32.tbl and arch/arm/tools/syscall.tbl of the kernel.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::architecture::Architecture;

/// A call, the architectures that have it, and the calls that it stands for.
type Counterpart = (&'static str, &'static [Architecture], &'static [&'static str]);

const X86: &[Architecture] = &[Architecture::X86];
const ARM: &[Architecture] = &[Architecture::Arm];
const BOTH: &[Architecture] = &[Architecture::X86, Architecture::Arm];

/// Sorted by name. What is not here stands for nothing: the default action answers it.
///
/// `socketcall` and `ipc` name the call in a number and have its arguments in memory, where no filter sees them: that was
/// the way round the AF_ALG filter of CVE-2026-31431. Since Linux 4.3 and 5.1 each of theirs has a number of its own.
pub(crate) const ALL: &[Counterpart] = &[
    ("_llseek", BOTH, &["lseek"]),
    ("_newselect", BOTH, &["select"]),
    ("arm_fadvise64_64", ARM, &["fadvise64"]),
    ("arm_sync_file_range", ARM, &["sync_file_range"]),
    ("breakpoint", ARM, &["set_thread_area"]),
    ("cacheflush", ARM, &["set_thread_area"]),
    ("chown32", BOTH, &["chown"]),
    ("clock_adjtime64", BOTH, &["clock_adjtime"]),
    ("clock_getres_time64", BOTH, &["clock_getres"]),
    ("clock_gettime64", BOTH, &["clock_gettime"]),
    ("clock_nanosleep_time64", BOTH, &["clock_nanosleep"]),
    ("clock_settime64", BOTH, &["clock_settime"]),
    ("fadvise64_64", X86, &["fadvise64"]),
    ("fchown32", BOTH, &["fchown"]),
    ("fcntl64", BOTH, &["fcntl"]),
    ("fstat64", BOTH, &["fstat"]),
    ("fstatat64", BOTH, &["newfstatat"]),
    ("fstatfs64", BOTH, &["fstatfs"]),
    ("ftruncate64", BOTH, &["ftruncate"]),
    ("futex_time64", BOTH, &["futex"]),
    ("get_tls", ARM, &["get_thread_area"]),
    ("getegid32", BOTH, &["getegid"]),
    ("geteuid32", BOTH, &["geteuid"]),
    ("getgid32", BOTH, &["getgid"]),
    ("getgroups32", BOTH, &["getgroups"]),
    ("getresgid32", BOTH, &["getresgid"]),
    ("getresuid32", BOTH, &["getresuid"]),
    ("getuid32", BOTH, &["getuid"]),
    ("io_pgetevents_time64", BOTH, &["io_pgetevents"]),
    (
        "ipc",
        X86,
        &[
            "semop",
            "semget",
            "semctl",
            "semtimedop",
            "msgsnd",
            "msgrcv",
            "msgget",
            "msgctl",
            "shmat",
            "shmdt",
            "shmget",
            "shmctl",
        ],
    ),
    ("lchown32", BOTH, &["lchown"]),
    ("lstat64", BOTH, &["lstat"]),
    ("mmap2", BOTH, &["mmap"]),
    ("mq_timedreceive_time64", BOTH, &["mq_timedreceive"]),
    ("mq_timedsend_time64", BOTH, &["mq_timedsend"]),
    ("nice", BOTH, &["setpriority"]),
    ("oldfstat", X86, &["fstat"]),
    ("oldlstat", X86, &["lstat"]),
    ("oldolduname", X86, &["uname"]),
    ("oldstat", X86, &["stat"]),
    ("olduname", X86, &["uname"]),
    ("ppoll_time64", BOTH, &["ppoll"]),
    ("pselect6_time64", BOTH, &["pselect6"]),
    ("readdir", X86, &["getdents"]),
    ("recv", ARM, &["recvfrom"]),
    ("recvmmsg_time64", BOTH, &["recvmmsg"]),
    ("rt_sigtimedwait_time64", BOTH, &["rt_sigtimedwait"]),
    ("sched_rr_get_interval_time64", BOTH, &["sched_rr_get_interval"]),
    ("semtimedop_time64", BOTH, &["semtimedop"]),
    ("send", ARM, &["sendto"]),
    ("sendfile64", BOTH, &["sendfile"]),
    ("set_tls", ARM, &["set_thread_area"]),
    ("setfsgid32", BOTH, &["setfsgid"]),
    ("setfsuid32", BOTH, &["setfsuid"]),
    ("setgid32", BOTH, &["setgid"]),
    ("setgroups32", BOTH, &["setgroups"]),
    ("setregid32", BOTH, &["setregid"]),
    ("setresgid32", BOTH, &["setresgid"]),
    ("setresuid32", BOTH, &["setresuid"]),
    ("setreuid32", BOTH, &["setreuid"]),
    ("setuid32", BOTH, &["setuid"]),
    ("sgetmask", X86, &["rt_sigprocmask"]),
    ("sigaction", BOTH, &["rt_sigaction"]),
    ("signal", X86, &["rt_sigaction"]),
    ("sigpending", BOTH, &["rt_sigpending"]),
    ("sigprocmask", BOTH, &["rt_sigprocmask"]),
    ("sigreturn", BOTH, &["rt_sigreturn"]),
    ("sigsuspend", BOTH, &["rt_sigsuspend"]),
    (
        "socketcall",
        X86,
        &[
            "socket",
            "bind",
            "connect",
            "listen",
            "accept",
            "getsockname",
            "getpeername",
            "socketpair",
            "sendto",
            "recvfrom",
            "shutdown",
            "setsockopt",
            "getsockopt",
            "sendmsg",
            "recvmsg",
            "accept4",
            "recvmmsg",
            "sendmmsg",
        ],
    ),
    ("ssetmask", X86, &["rt_sigprocmask"]),
    ("stat64", BOTH, &["stat"]),
    ("statfs64", BOTH, &["statfs"]),
    ("stime", X86, &["clock_settime", "settimeofday"]),
    ("timer_gettime64", BOTH, &["timer_gettime"]),
    ("timer_settime64", BOTH, &["timer_settime"]),
    ("timerfd_gettime64", BOTH, &["timerfd_gettime"]),
    ("timerfd_settime64", BOTH, &["timerfd_settime"]),
    ("truncate64", BOTH, &["truncate"]),
    ("ugetrlimit", BOTH, &["getrlimit"]),
    ("umount", X86, &["umount2"]),
    ("utimensat_time64", BOTH, &["utimensat"]),
    ("waitpid", X86, &["wait4"]),
];

/// The calls of these architectures, and what they stand for.
pub(crate) fn of(architectures: &[Architecture]) -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let here = ALL.iter().filter(|(_, having, _)| having.iter().any(|one| architectures.contains(one)));
    here.map(|(name, _, meant)| (*name, *meant))
}

/// What a call stands for that only another architecture has.
pub(crate) fn meant_by(name: &str) -> Option<&'static [&'static str]> {
    let at = ALL.binary_search_by_key(&name, |(known, ..)| known).ok()?;
    ALL.get(at).map(|(.., meant)| *meant)
}

/// Which calls can be made where these architectures run beside the native one, asked in the order of their names: a
/// profile has hundreds, and most are in no list here.
pub(crate) struct Possible<'a> {
    architectures: &'a BTreeSet<Architecture>,
    left: &'static [Counterpart],
}

impl<'a> Possible<'a> {
    pub(crate) fn with(architectures: &'a BTreeSet<Architecture>) -> Self {
        Self { architectures, left: ALL }
    }

    /// Whether this call can be made. No later call may have a smaller name.
    pub(crate) fn holds(&mut self, name: &str) -> bool {
        while let Some(((known, having, _), later)) = self.left.split_first() {
            match (*known).cmp(name) {
                Ordering::Less => self.left = later,
                Ordering::Equal => return having.iter().any(|one| self.architectures.contains(one)),
                Ordering::Greater => break,
            }
        }
        true
    }
}

/// Calls that take other arguments elsewhere under the same name, from an argument's index on: halves of a 64-bit value that push the
/// next ones along, another order, or a pointer to all of them.
pub(crate) const SHIFTED: &[(&str, usize)] = &[
    ("clone", 3),
    ("fadvise64", 1),
    ("fallocate", 2),
    ("fanotify_mark", 2),
    ("lookup_dcookie", 0),
    ("mmap", 0),
    ("pread64", 3),
    ("pwrite64", 3),
    ("readahead", 1),
    ("select", 0),
    ("sync_file_range", 1),
];

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use oci_spec::runtime::{Arch, LinuxSeccomp};
    use syscalls::{arm, x86, x86_64};

    use super::*;
    use crate::filter::Filter;
    use crate::verdict::Verdict;

    /// Calls of the 32-bit tables that no kernel of this century answers, that answer to old binaries of another ABI alone, or that
    /// switch the processor to its 16-bit mode.
    const STAND_FOR_NOTHING: [&str; 18] = [
        "bdflush",
        "ftime",
        "gtty",
        "idle",
        "lock",
        "mpx",
        "pciconfig_iobase",
        "pciconfig_read",
        "pciconfig_write",
        "prof",
        "profil",
        "r#break",
        "stty",
        "ulimit",
        "usr26",
        "usr32",
        "vm86",
        "vm86old",
    ];

    #[test]
    fn every_call_of_a_32_bit_table_has_its_place() {
        let every = |numbers: fn(usize) -> Option<&'static str>| (0..600).filter_map(numbers).collect::<BTreeSet<_>>();
        let x86_64 = every(|number| Some(x86_64::Sysno::new(number)?.name()));
        let small = &every(|number| Some(x86::Sysno::new(number)?.name()))
            | &every(|number| Some(arm::Sysno::new(number)?.name()));
        let private = BTreeSet::from(["breakpoint", "cacheflush", "get_tls", "set_tls", "usr26", "usr32"]);
        let listed: BTreeSet<&str> = ALL.iter().map(|(name, ..)| *name).chain(STAND_FOR_NOTHING).collect();
        assert_eq!(&(&small | &private) - &x86_64, listed);
        for (name, having, meant) in ALL {
            assert!(meant.iter().all(|one| x86_64.contains(one)), "{name}");
            let of_x86 = x86::Sysno::from_str(name).is_ok();
            let of_arm = arm::Sysno::from_str(name).is_ok() || private.contains(name);
            assert_eq!(
                [having.contains(&Architecture::X86), having.contains(&Architecture::Arm)],
                [of_x86, of_arm],
                "{name}"
            );
        }
        assert!(ALL.is_sorted_by_key(|(name, ..)| *name) && SHIFTED.is_sorted());
        assert!(SHIFTED.iter().all(|(name, _)| x86_64.contains(name)));
    }

    fn read(syscalls: &str) -> LinuxSeccomp {
        let text = format!(r#"{{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{syscalls}] }}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn names(names: &str, args: &str) -> String {
        format!(r#"{{ "names": [{names}], "action": "SCMP_ACT_ALLOW", "args": [{args}] }}"#)
    }

    /// What is written for x86_64 with x86.
    fn with_x86(syscalls: &str) -> (Vec<Arch>, impl Fn(&str) -> Verdict + use<>) {
        let profile = read(syscalls);
        let filter = Filter::read(&profile).unwrap().also_for(&[Architecture::X86]);
        let written = filter.write(Architecture::X86_64).unwrap();
        let architectures = written.architectures().clone().unwrap();
        (architectures, move |name: &str| crate::verdict(&written, name, [0; 6]).unwrap())
    }

    const SYSV: &str = r#""semop","semget","semctl","semtimedop","msgsnd","msgrcv","msgget","msgctl","shmat","shmdt","shmget","shmctl""#;

    #[test]
    fn a_multiplexer_is_allowed_if_everything_behind_it_is() {
        let (architectures, verdict) = with_x86(&names(SYSV, ""));
        assert_eq!(architectures, [Arch::ScmpArchX86_64, Arch::ScmpArchX86]);
        assert_eq!(verdict("ipc"), Verdict::Allow);
        assert_eq!(verdict("socketcall"), Verdict::Errno(1), "none is allowed");
        let without_one = SYSV.replace(r#","shmat""#, "");
        assert_eq!(with_x86(&names(&without_one, "")).1("ipc"), Verdict::Errno(38), "some are");
        let by_argument = [names(&without_one, ""), names(r#""shmat""#, r#"{"index":2,"value":0,"op":"SCMP_CMP_EQ"}"#)];
        assert_eq!(with_x86(&by_argument.join(",")).1("ipc"), Verdict::Errno(38), "one is by its arguments");
    }

    #[test]
    fn what_a_profile_refuses_that_lets_all_else_run_does_not_run_through_another_call() {
        let refused = r#"[{ "names": ["socket"], "action": "SCMP_ACT_ERRNO",
                "args": [{ "index": 0, "value": 38, "op": "SCMP_CMP_EQ" }] },
            { "names": ["shmat"], "action": "SCMP_ACT_ERRNO" }]"#;
        for default in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"] {
            let text = format!(r#"{{ "defaultAction": "{default}", "syscalls": {refused} }}"#);
            let profile: LinuxSeccomp = serde_json::from_str(&text).unwrap();
            let filter = Filter::read(&profile).unwrap().also_for(&[Architecture::X86]);
            for name in ["socketcall", "ipc"] {
                assert_eq!(filter.verdict(name, [0; 6]), Verdict::Errno(38), "{name} beside {default}");
            }
            assert!(filter.verdict("mmap2", [0; 6]).runs());
        }
    }

    #[test]
    fn a_call_gets_what_it_stands_for() {
        let (_, verdict) = with_x86(&names(r#""mmap","fcntl","set_thread_area""#, ""));
        for name in ["mmap2", "fcntl64"] {
            assert_eq!(verdict(name), Verdict::Allow, "{name}");
        }
        assert_eq!(verdict("stat64"), Verdict::Errno(1));
        // A profile that names it itself means that.
        let own = [names(r#""mmap""#, ""), r#"{ "names": ["mmap2"], "action": "SCMP_ACT_TRAP" }"#.to_owned()].join(",");
        assert_eq!(with_x86(&own).1("mmap2"), Verdict::Trap);
    }

    #[test]
    fn what_other_architectures_pass_elsewhere_is_judged_for_native_calls_alone() {
        let by = |name: &str, index: usize| {
            names(
                &format!("{name:?}"),
                &format!(r#"{{"index":{index},"value":4,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}}"#),
            )
        };
        for (name, index) in [("mmap", 2), ("select", 0), ("clone", 3), ("fanotify_mark", 2)] {
            assert_eq!(with_x86(&by(name, index)).0, [Arch::ScmpArchX86_64], "{name}");
        }
        for (name, index) in [("mprotect", 2), ("clone", 0), ("fanotify_mark", 1)] {
            assert_eq!(with_x86(&by(name, index)).0, [Arch::ScmpArchX86_64, Arch::ScmpArchX86], "{name}");
        }
    }

    #[test]
    fn only_calls_of_the_architectures_are_added_and_they_go_with_them() {
        let profile = read("");
        let arm = Filter::read(&profile).unwrap().also_for(&[Architecture::Arm]);
        assert_eq!(arm, Filter::read(&profile).unwrap().also_for(&[Architecture::Arm]).stricter(&arm));
        let text = names(r#""socket","bind""#, r#"{"index":0,"value":1,"op":"SCMP_CMP_EQ"}"#);
        let (wide, native) = (read(&text), read(&names(r#""socketcall","mmap2","read""#, "")));
        let wide = Filter::read(&wide).unwrap().also_for(&[Architecture::X86]);
        assert_eq!(wide.verdict("socketcall", [0; 6]), Verdict::Errno(38));
        let both = wide.stricter(&Filter::read(&native).unwrap());
        assert_eq!(both.verdict("socketcall", [0; 6]), Verdict::Errno(1), "32-bit calls are killed");
    }

    #[test]
    fn only_what_the_machine_runs_is_written() {
        let profile = read("");
        let filter = Filter::read(&profile).unwrap().also_for(&[Architecture::X86, Architecture::Arm]);
        let written = |native: Architecture| filter.write(native).unwrap().architectures().clone().unwrap();
        assert_eq!(written(Architecture::X86_64), [Arch::ScmpArchX86_64, Arch::ScmpArchX86]);
        assert_eq!(written(Architecture::Aarch64), [Arch::ScmpArchAarch64, Arch::ScmpArchArm]);
        assert_eq!(written(Architecture::Riscv64), [Arch::ScmpArchRiscv64]);
    }
}
