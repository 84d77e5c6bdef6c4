//! Every system call of every shipped profile, and every condition on its arguments with what is just outside of it, made for real: by init
//! and by an exec, with the embedded runtime and with runc, by the native door and by those of 32-bit programs and x32.
//!
//! What is expected is computed from the profile that the runtime was given. The same calls without a filter tell whether a call that is let
//! through reached the kernel. These tests write their own policy and run alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompArg};
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use palisade_integration::policy::PolicyFile;
use palisade_probe::{Made, Table};
use palisade_seccomp::{Architecture, BuiltinProfile, Verdict, syscall_name, verdicts};

use crate::support::{Check, World};

/// AUDIT_ARCH_X86_64 and AUDIT_ARCH_I386 (linux/audit.h).
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const X32_BIT: u32 = 0x4000_0000;
/// Beyond what any table knows.
const NUMBERS: u32 = 480;
/// getpid of 32-bit programs, which every kernel that has them answers.
const GETPID_32: u32 = 20;
const SIGSYS: i32 = 31;
const SIGSEGV: i32 = 11;
const ENOSYS: i32 = 38;
const EBUSY: i32 = 16;
/// SECCOMP_FILTER_FLAG_NEW_LISTENER (linux/seccomp.h): a filter that asks the shim lets nobody make another listener.
const NEW_LISTENER: u64 = 8;
/// What a pointer that leads nowhere, a descriptor that there is not and an unknown flag look like.
const BAD: u64 = u64::MAX;

/// Not made: they end nothing but the child, and yet disturb others.
const LEFT_OUT: &[(&str, &str)] = &[
    ("sync", "writes out every filesystem of the machine"),
    ("vfork", "the child would go on in its parent's memory"),
    ("fork", "the child's child would report as well"),
    ("vhangup", "hangs up whoever has the terminal"),
];

/// What a kernel answers otherwise from one time to the next.
const UNSTEADY: &[&str] = &["restart_syscall"];

/// With each of these runtimes, of the name and at the path.
pub(crate) fn trials(world: &'static World, runtimes: &[(&'static str, Option<&Path>)]) -> Vec<Trial> {
    if !cfg!(target_arch = "x86_64") {
        return Vec::new();
    }
    let cases = runtimes.iter().flat_map(|(name, binary)| {
        let binary = binary.map(|path| path.display().to_string());
        BuiltinProfile::ALL.into_iter().flat_map(move |profile| {
            let binary = binary.clone();
            ["", "\"x86\""].into_iter().map(move |others| (name, binary.clone(), profile, others))
        })
    });
    // 32-bit programs run on where a profile lists them: one of each is enough.
    let wanted =
        cases.filter(|(_, _, profile, others)| others.is_empty() || *profile == BuiltinProfile::RuntimeDefault);
    wanted
        .map(|(runtime, binary, profile, others)| {
            let with = if others.is_empty() { "" } else { " with x86" };
            Trial::test(format!("rule by rule: {profile}{with} under {runtime}"), move || {
                each_rule(world, &Case { binary, profile, others })
            })
        })
        .collect()
}

/// What there is beside the native door.
#[derive(Clone, Copy)]
struct Doors {
    interrupt: Interrupt,
    /// The profile lists them.
    x86: bool,
}

/// What the kernel does at `int 0x80`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interrupt {
    /// It runs a call of a 32-bit program.
    Compatible,
    /// It has no 32-bit programs, and ends the process.
    Fault,
    /// It runs a native call, with what the registers of native arguments happen to hold, as User-Mode Linux does: that is not judged.
    Native,
}

struct Case {
    binary: Option<String>,
    profile: BuiltinProfile,
    others: &'static str,
}

impl Case {
    fn policy(&self, filtered: bool) -> PolicyFile {
        let runtime = self.binary.as_ref().map(|path| format!("[runtime]\nbinary = {path:?}\n")).unwrap_or_default();
        let rule = |name: &str, rest: String| format!("[profiles.restricted.rules.\"{name}\"]\n{rest}\n");
        let action = if filtered { "" } else { "action = \"off\"\n" };
        let profile = rule("linux.seccomp", format!("{action}profile = \"{}\"", self.profile));
        let others = rule("linux.seccomp.arch", format!("allow = [{}]", self.others));
        PolicyFile::of(&format!("{runtime}{profile}{others}"))
    }
}

fn each_rule(world: &World, case: &Case) -> Check {
    let result = compare(world, case);
    PolicyFile::defaults().write(world.containerd.layout())?;
    result
}

fn compare(world: &World, case: &Case) -> Check {
    case.policy(true).write(world.containerd.layout())?;
    let container = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]))?;
    let profile = given(world, container.id())?;
    let calls = calls(&profile);
    let list = Made::list(&calls);
    let by_exec = answers(&container.exec(&[], &["/probe", "calls", &list])?.success()?)?;
    container.remove()?;
    let run = || world.containerd.run(&Run::new(Runtime::Palisade, &["/probe", "calls", &list]));
    let by_init = answers(&run()?.success()?)?;
    case.policy(false).write(world.containerd.layout())?;
    let free = answers(&run()?.success()?)?;

    let expected = verdicts(&profile)?;
    let getpid = calls.iter().position(|call| call.table == Table::Interrupt && call.number == GETPID_32);
    let doors = Doors {
        interrupt: match getpid.and_then(|at| free.get(at)) {
            Some(0) => Interrupt::Compatible,
            Some(ended) if *ended == -SIGSEGV => Interrupt::Fault,
            _ => Interrupt::Native,
        },
        x86: profile.architectures().iter().flatten().any(|arch| Architecture::of(*arch) == Some(Architecture::X86)),
    };
    let mut wrong = Vec::new();
    let (mut stopped, mut told_apart) = (0, 0);
    for (((call, by_init), by_exec), free) in calls.iter().zip(by_init).zip(by_exec).zip(free) {
        if call.table == Table::Interrupt && doors.interrupt == Interrupt::Native {
            continue;
        }
        let allowed = expected_of(case, call, doors, free, &expected);
        let name = name(call).unwrap_or("no call");
        for (who, got) in [("init", by_init), ("exec", by_exec)] {
            if !allowed.contains(&got) && !UNSTEADY.contains(&name) {
                wrong.push(format!("{name} {call} by {who}: {got}, expected {allowed:?}, {free} without a filter"));
            }
        }
        stopped += usize::from(!allowed.contains(&free));
        told_apart += usize::from(by_init != free);
    }
    expect!(wrong.is_empty(), "{} of {} wrong: {}", wrong.len(), calls.len() * 2, wrong.join("\n"));
    expect!(stopped > 40, "only {stopped} calls could show that they are stopped");
    println!("{}: {} calls, {told_apart} of them answered otherwise than without a filter", case.profile, calls.len());
    Ok(())
}

/// What the runtime was given.
fn given(world: &World, id: &str) -> Result<LinuxSeccomp, Failed> {
    let bundle = world.containerd.layout().bundles().join(world.containerd.tag()).join(id);
    let spec: serde_json::Value = serde_json::from_slice(&fs::read(bundle.join("palisade/config.json"))?)?;
    let profile = spec.pointer("/linux/seccomp").cloned().ok_or("no filter")?;
    Ok(serde_json::from_value(profile)?)
}

fn answers(output: &str) -> Result<Vec<i32>, Failed> {
    Ok(serde_json::from_str(output.trim())?)
}

fn name(call: &Made) -> Option<&'static str> {
    name_in(call.table, call.number)
}

fn name_in(table: Table, number: u32) -> Option<&'static str> {
    match table {
        Table::Native => syscall_name(X86_64, number),
        Table::Interrupt => syscall_name(I386, number),
    }
}

/// The answers that are right: the filter's errno, or that of the kernel without a filter.
fn expected_of(
    case: &Case,
    call: &Made,
    doors: Doors,
    free: i32,
    verdict: &impl Fn(&str, [u64; 6]) -> Verdict,
) -> BTreeSet<i32> {
    let embedded = case.binary.is_none();
    let answer = |verdict: Verdict| match verdict {
        Verdict::Errno(errno) => i32::from(errno),
        _ => free,
    };
    let default = answer(verdict("no such call", [0; 6]));
    match call.table {
        Table::Interrupt if doors.interrupt == Interrupt::Fault => [-SIGSEGV].into(),
        Table::Interrupt if doors.interrupt == Interrupt::Compatible && !doors.x86 => [-SIGSYS].into(),
        Table::Native if call.number >= X32_BIT => [if embedded { default } else { -SIGSYS }].into(),
        _ => match name(call) {
            Some(name) => {
                let arguments = if call.table == Table::Interrupt { call.arguments.map(lower) } else { call.arguments };
                let judged = verdict(name, arguments);
                if embedded && name == "seccomp" && judged.runs() && arguments[1] & NEW_LISTENER != 0 {
                    return [EBUSY].into();
                }
                let mut right = BTreeSet::from([answer(judged)]);
                // A name that runc's library does not know is left out, and a number beyond all those that are in the filter gets ENOSYS.
                if !embedded && call.number & !X32_BIT >= 440 {
                    right.extend([default, ENOSYS]);
                }
                right
            }
            None => [default, ENOSYS].into(),
        },
    }
}

fn lower(argument: u64) -> u64 {
    argument & 0xffff_ffff
}

/// Every number of every table, and for what a profile looks at the arguments of, what is at and beside each condition.
fn calls(profile: &LinuxSeccomp) -> Vec<Made> {
    let doors = [(Table::Native, 0), (Table::Native, X32_BIT), (Table::Interrupt, 0)];
    let numbers = doors.into_iter().flat_map(|(table, bit)| (0..NUMBERS).map(move |number| (table, number | bit)));
    let made = |(table, number)| {
        let call = Made { table, number, arguments: [BAD; 6] };
        let name = name_in(table, number).unwrap_or_default();
        // A kernel may take a 32-bit program's call for a native one.
        let names = [Some(name), name_in(Table::Native, number)];
        let left_out = LEFT_OUT.iter().any(|(known, _)| names.contains(&Some(known)));
        let arguments = if left_out { Vec::new() } else { edges(profile, name) };
        arguments.into_iter().map(move |arguments| Made { arguments, ..call })
    };
    numbers.flat_map(made).collect()
}

fn edges(profile: &LinuxSeccomp, name: &str) -> Vec<[u64; 6]> {
    let entries = profile.syscalls().iter().flatten().filter(|entry| entry.names().iter().any(|other| other == name));
    let args = entries.flat_map(|entry| entry.args().iter().flatten());
    let mut tried = BTreeSet::from([harmless(name)]);
    for (index, value) in args.flat_map(|arg| near(arg).map(|value| (arg.index(), value))) {
        let mut arguments = harmless(name);
        if let Some(argument) = arguments.get_mut(index) {
            *argument = value;
        }
        // CLONE_SIGHAND without CLONE_VM: refused before anything is made.
        if name == "clone" {
            arguments[0] |= 0x800;
        }
        tried.insert(arguments);
    }
    tried.into_iter().collect()
}

/// What a condition asks for, one more, one less, the same as an `int` with something above, and one bit of its mask else.
fn near(arg: &LinuxSeccompArg) -> impl Iterator<Item = u64> + use<> {
    let (value, two) = (arg.value(), arg.value_two());
    let wanted = two.unwrap_or(value);
    let bits =
        two.map(|two| [two ^ (value & value.wrapping_neg()), two ^ (1_u64 << 63 >> value.leading_zeros().min(63))]);
    [wanted, wanted.wrapping_add(1), wanted.wrapping_sub(1), wanted | 1 << 32]
        .into_iter()
        .chain(bits.into_iter().flatten())
}

/// Arguments that the kernel refuses, or with which a call does nothing.
fn harmless(name: &str) -> [u64; 6] {
    match name {
        // Nobody, and no signal.
        "kill" | "tkill" | "tgkill" => [0x7fff_fff0, 0x7fff_fff0, 0, 0, 0, 0],
        "msgget" | "semget" | "shmget" => [0x7fff_fff0, 0, 0, 0, 0, 0],
        // Its mask is the argument itself, and would hold up the alarm.
        "sigsuspend" => [0; 6],
        // A switch that there is not, in either table.
        "ipc" => [99, 0, 0, 0, 0, 0],
        _ => [BAD; 6],
    }
}
