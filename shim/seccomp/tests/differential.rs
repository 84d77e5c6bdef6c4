//! The compiler against libseccomp: both programs of a profile on the simulator. Where they are meant to differ, it is said how.

#[cfg(test)]
mod generated;
#[cfg(test)]
mod libseccomp;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod simulator;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use oci_spec::runtime::{Capabilities, LinuxSeccomp, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSyscall};
    use palisade_seccomp::{
        Architecture, BuiltinProfile, CompileError, Instruction, Target, Verdict, compile_for, profile_for,
        profile_with, tighten,
    };
    use proptest::prelude::*;

    use super::generated;
    use super::libseccomp::{Libseccomp, repeats};
    use super::machines::{self, Table};
    use super::oracle::{self, answer};
    use super::simulator::{Call, run};

    const ENOSYS: u16 = 38;

    /// Why the two may answer differently.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Reason {
        /// The architecture is not listed: libseccomp kills the thread, we the process, and x32 gets the default if that stops calls.
        NotListed,
        /// A number beyond both tables: we answer ENOSYS where the default is an errno, as runc does by instructions of its own in front.
        Newer,
        /// A name that this libseccomp does not know yet.
        UnknownName,
        /// Entries of several verdicts match: the strictest counts here, there it depends on how they are nested.
        SeveralEntries,
        /// Two conditions on one argument: runc makes two rules of them, so any of them is enough; here all are needed to let a call run.
        RepeatedArgument,
        /// Several rules compare the arguments of one call: how libseccomp 2.5 nests them, some never match. One rule alone always does.
        LostRule,
        /// On 32-bit architectures libseccomp compares the lower halves of arguments and of what a profile says.
        Width,
    }
    use Reason::{LostRule, Newer, NotListed, RepeatedArgument, SeveralEntries, UnknownName, Width};

    /// How often they agreed, and why not.
    type Tally = BTreeMap<Option<Reason>, usize>;

    struct Compared<'a> {
        library: &'a Libseccomp,
        profile: &'a LinuxSeccomp,
        ours: Vec<Instruction>,
        theirs: Vec<Instruction>,
    }

    impl<'a> Compared<'a> {
        /// `None`: the profile is too large for the kernel.
        fn new(library: &'a Libseccomp, profile: &'a LinuxSeccomp, machine: &[Table]) -> Option<Self> {
            let others: Vec<Target> = machine[1..].iter().map(|table| table.target).collect();
            let ours = match compile_for(profile, &machine[0].target, &others) {
                Err(CompileError::TooLarge) => return None,
                compiled => compiled.unwrap().program().to_vec(),
            };
            let theirs = library.compile(profile, machine[0].architecture);
            Some(Self { library, profile, ours, theirs })
        }

        /// Whether both say the same of a call, or why not. Panics if what they say is not meant to differ so.
        fn call(&self, table: &Table, listed: bool, number: u32, arguments: [u64; 6]) -> Option<Reason> {
            let call = Call { audit: table.audit, number, arguments };
            let (ours, theirs) = (run(&self.ours, &call).0, run(&self.theirs, &call).0);
            let default = answer(self.profile, "no such call", [0; 6]);
            let who =
                format!("{number:#x} of {}: {arguments:x?}, ours {ours:?}, theirs {theirs:?}", table.architecture);
            if !listed {
                let stopped = if table.architecture == Architecture::X32 && !default.runs() {
                    default
                } else {
                    Verdict::KillProcess
                };
                assert_eq!((ours, theirs), (stopped, Verdict::KillThread), "{who}");
                return Some(NotListed);
            }
            let Some(name) = (table.name)(number) else {
                let newer = !table.is_known_area(number) && matches!(default, Verdict::Errno(_));
                let expected = if newer { Verdict::Errno(ENOSYS) } else { default };
                assert_eq!((ours, theirs), (expected, default), "{who}");
                return (ours != theirs).then_some(Newer);
            };
            assert_eq!(ours, answer(self.profile, name, arguments), "{who}");
            if !self.library.knows(name) {
                assert_eq!(theirs, default, "{who}");
                return (ours != theirs).then_some(UnknownName);
            }
            let narrow = [Architecture::X86, Architecture::X32, Architecture::Arm].contains(&table.architecture);
            let read = as_runc(self.profile, narrow);
            // Only x32 has registers of 64 bits among these.
            let wide = narrow && arguments.iter().any(|argument| *argument > 0xffff_ffff);
            let arguments = if narrow { arguments.map(|argument| argument & 0xffff_ffff) } else { arguments };
            let mut possible: BTreeSet<Verdict> =
                oracle::answers(&read, name, arguments).into_iter().filter(|one| *one != default).collect();
            if possible.is_empty() {
                possible.insert(default);
            }
            if !possible.contains(&theirs) {
                assert!(rules_for(&read, name) > 1, "{who}, not {possible:?}");
                return Some(LostRule);
            }
            (ours != theirs).then(|| self.reason(name, possible.len(), narrow, wide))
        }

        fn reason(&self, name: &str, possible: usize, narrow: bool, wide: bool) -> Reason {
            let entries =
                || self.profile.syscalls().iter().flatten().filter(|entry| entry.names().iter().any(|one| one == name));
            match () {
                () if entries().any(repeats) => RepeatedArgument,
                () if wide || narrow && entries().any(|entry| entry.args().iter().flatten().any(is_wide)) => Width,
                () if possible > 1 || entries().count() > 1 => SeveralEntries,
                () => panic!("{name}: no reason to differ"),
            }
        }
    }

    fn rules_for(profile: &LinuxSeccomp, name: &str) -> usize {
        profile.syscalls().iter().flatten().filter(|entry| entry.names().iter().any(|one| one == name)).count()
    }

    fn is_wide(arg: &LinuxSeccompArg) -> bool {
        [Some(arg.value()), arg.value_two()].into_iter().flatten().any(|value| value > 0xffff_ffff)
    }

    /// The profile as runc hands it to libseccomp, and as that reads it on 32-bit architectures.
    fn as_runc(profile: &LinuxSeccomp, narrow: bool) -> LinuxSeccomp {
        let mut read = profile.clone();
        let width = |value: u64| if narrow { value & 0xffff_ffff } else { value };
        let entries = profile.syscalls().iter().flatten().flat_map(|entry| {
            let args: Vec<LinuxSeccompArg> = entry
                .args()
                .iter()
                .flatten()
                .map(|arg| {
                    let built =
                        LinuxSeccompArgBuilder::default().index(arg.index()).op(arg.op()).value(width(arg.value()));
                    built.value_two(arg.value_two().map(width).unwrap_or_default()).build().unwrap()
                })
                .collect();
            let rules: Vec<Vec<LinuxSeccompArg>> =
                if repeats(entry) { args.into_iter().map(|arg| vec![arg]).collect() } else { vec![args] };
            rules.into_iter().map(|args| {
                let mut rule: LinuxSyscall = entry.clone();
                rule.set_args((!args.is_empty()).then_some(args));
                rule
            })
        });
        read.set_syscalls(Some(entries.collect()));
        read
    }

    fn listing(mut profile: LinuxSeccomp, architectures: &[Architecture]) -> LinuxSeccomp {
        profile.set_architectures(Some(architectures.iter().map(|known| known.oci()).collect()));
        profile
    }

    /// Every number of every architecture that the profile lists and does not list, at the edges of the arguments that it asks for.
    fn compare(profile: &LinuxSeccomp, machine: &[Table]) -> Tally {
        let library = Libseccomp::open();
        let compared = Compared::new(&library, profile, machine).unwrap();
        let mut tally = Tally::new();
        for table in machine {
            let listed = is_listed(profile, table, machine);
            for number in table.numbers() {
                let calls = (table.name)(number).map_or_else(|| vec![[0; 6]], |name| edges(profile, name));
                for arguments in calls.into_iter().map(|call| handed(table, call)) {
                    *tally.entry(compared.call(table, listed, number, arguments)).or_default() += 1;
                }
            }
        }
        tally
    }

    fn is_listed(profile: &LinuxSeccomp, table: &Table, machine: &[Table]) -> bool {
        table.architecture == machine[0].architecture
            || profile.architectures().iter().flatten().any(|arch| Architecture::of(*arch) == Some(table.architecture))
    }

    /// What the kernel hands to a filter: the registers of a 32-bit process have 32 bits.
    fn handed(table: &Table, arguments: [u64; 6]) -> [u64; 6] {
        let small = [Architecture::X86, Architecture::Arm].contains(&table.architecture);
        if small { arguments.map(|argument| argument & 0xffff_ffff) } else { arguments }
    }

    fn edges(profile: &LinuxSeccomp, name: &str) -> Vec<[u64; 6]> {
        let entries =
            profile.syscalls().iter().flatten().filter(|entry| entry.names().iter().any(|other| other == name));
        let mut calls = vec![[0; 6], [u64::MAX; 6]];
        for arg in entries.flat_map(|entry| entry.args().iter().flatten()) {
            for value in [Some(arg.value()), arg.value_two()].into_iter().flatten() {
                for near in [value, value.wrapping_add(1), value.wrapping_sub(1), value ^ 1 << 32, value ^ 1 << 12] {
                    let mut call = [0; 6];
                    call[arg.index()] = near;
                    calls.push(call);
                }
            }
        }
        calls
    }

    // ---- profiles in the field

    fn json(text: &str) -> LinuxSeccomp {
        serde_json::from_str(text).unwrap()
    }

    /// What containerd writes for a container with its default capabilities, as `ctr run --seccomp` handed it over.
    fn containerd() -> LinuxSeccomp {
        let config: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/golden/ctr-seccomp/config.json")).unwrap();
        serde_json::from_value(config["linux"]["seccomp"].clone()).unwrap()
    }

    /// Docker's: containerd's with another name more or less, its errno written out, and socket families by ranges.
    fn docker() -> LinuxSeccomp {
        let mut profile = containerd();
        let mut entries = profile.syscalls().clone().unwrap();
        entries.retain(|entry| !entry.names().contains(&"socket".to_owned()));
        let mut names = entries[0].names().clone();
        names.retain(|name| !name.starts_with("lsm_"));
        names.push("riscv_hwprobe".to_owned());
        entries[0].set_names(names);
        let ranges = json(
            r#"{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                 { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 38, "op": "SCMP_CMP_LT" }] },
                 { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 39, "op": "SCMP_CMP_EQ" }] },
                 { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 40, "op": "SCMP_CMP_GT" }] }] }"#,
        );
        entries.extend(ranges.syscalls().clone().unwrap());
        profile.set_syscalls(Some(entries)).set_default_errno_ret(Some(1));
        profile
    }

    /// Which names the library knows is a matter of its version.
    fn reasons(tally: &Tally) -> Vec<Reason> {
        tally.keys().copied().flatten().filter(|reason| *reason != UnknownName).collect()
    }

    #[test]
    fn the_profiles_of_docker_and_containerd_mean_the_same_in_every_architecture() {
        for profile in [containerd(), docker()] {
            for machine in machines::all() {
                let all: Vec<Architecture> = machine.iter().map(|table| table.architecture).collect();
                let tally = compare(&listing(profile.clone(), &all), &machine);
                let x32 = all.contains(&Architecture::X32);
                assert_eq!(reasons(&tally), if x32 { vec![Newer, Width] } else { vec![Newer] }, "{tally:?}");
                assert!(tally[&None] > 300 * machine.len(), "{tally:?}");
                let native = compare(&listing(profile.clone(), &all[..1]), &machine);
                assert_eq!(
                    reasons(&native),
                    if all.len() > 1 { vec![NotListed, Newer] } else { vec![Newer] },
                    "{native:?}"
                );
            }
        }
    }

    #[test]
    fn our_profiles_mean_the_same_to_libseccomp() {
        let [x86, ..] = machines::all();
        let none = Capabilities::new();
        for ours in BuiltinProfile::ALL {
            let plain = profile_for(ours, &none).unwrap();
            let combined = tighten(&plain, &containerd()).unwrap();
            let with_x86 = profile_with(ours, &none, &[Architecture::X86]).unwrap();
            let combined_x86 = tighten(&with_x86, &containerd()).unwrap();
            for profile in [plain, combined, with_x86, combined_x86] {
                let tally = compare(&profile, &x86);
                let known = reasons(&tally).into_iter().all(|reason| [NotListed, Newer].contains(&reason));
                assert!(known && tally[&None] > 500, "{ours}: {tally:?}");
            }
        }
    }

    /// libseccomp refuses 4095, which the kernel takes.
    fn without_largest_errno(mut profile: LinuxSeccomp) -> LinuxSeccomp {
        let less = |errno: Option<u32>| errno.map(|errno| errno.min(4094));
        let (default, mut entries) = (profile.default_errno_ret(), profile.syscalls().clone().unwrap_or_default());
        for entry in &mut entries {
            entry.set_errno_ret(less(entry.errno_ret()));
        }
        profile.set_default_errno_ret(less(default)).set_syscalls(Some(entries));
        profile
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn generated_profiles_mean_the_same_but_for_what_is_known(
            profile in generated::profile(NAMED),
            architectures in prop::sample::subsequence(Architecture::ALL.to_vec(), 0..=6),
            calls in prop::collection::vec(generated::arguments(), 16),
        ) {
            let library = Libseccomp::open();
            for machine in machines::all() {
                let profile = listing(without_largest_errno(profile.clone()), &architectures);
                let Some(compared) = Compared::new(&library, &profile, &machine) else { continue };
                for table in &machine {
                    let listed = is_listed(&profile, table, &machine);
                    let named = |number: &u32| (table.name)(*number).is_some_and(|name| NAMED.contains(&name));
                    for (number, arguments) in table.numbers().filter(named).flat_map(|number| calls.iter().map(move |call| (number, call))) {
                        let _ = compared.call(table, listed, number, handed(table, *arguments));
                    }
                }
            }
        }
    }

    const NAMED: [&str; 3] = ["read", "ioctl", "openat"];
}
