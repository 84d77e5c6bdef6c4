//! From a profile to the BPF program that the kernel loads.
//!
//! ```text
//! architecture? ─ another: kill ─ number? (a tree over sorted ranges) ─ arguments? (halves, most calls none) ─ verdict
//! ```
//!
//! Linux 5.11 and later runs the program once for each number when it is loaded, and answers calls that are allowed whatever their
//! arguments from a bitmap; so does this program's size count then, and the depth of its tree for all others.

mod arguments;
mod assemble;
mod bytes;
mod instruction;
mod interpret;
mod listening;
mod names;
mod numbers;
mod target;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use oci_spec::runtime::LinuxSeccomp;

use crate::architecture::UnsupportedArchitecture;
use crate::filter::Flag;
use crate::read::{self, Rules};
use crate::refused::RefusedProfile;
use crate::region::Region;
use crate::verdict::Verdict;
use assemble::{Assembler, Position};
use instruction::{ARCHITECTURE_OFFSET, JUMP_IF_EQUAL, NUMBER_OFFSET};
use numbers::Range;

pub use bytes::CorruptFilter;
pub use instruction::Instruction;
pub use interpret::{Answer, Call};
pub use names::{architecture_name, syscall_name};
pub use target::Target;

/// The program of a profile, ready to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledFilter {
    program: Vec<Instruction>,
    flags: u32,
}

/// Why a profile has no program. The container must then not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The profile holds something that is not understood.
    #[error("the seccomp profile is refused")]
    Refused(#[source] RefusedProfile),
    /// An entry that stops a call names one that this architecture does not have: misspelt, it would stop nothing.
    #[error("the seccomp profile stops {syscall:?}, which this architecture does not have: correct or remove it")]
    UnknownSyscall {
        /// The name.
        syscall: String,
    },
    /// It takes more than the 4096 instructions that the kernel loads.
    #[error(
        "the seccomp profile is too large for the kernel: it takes more than {} instructions",
        assemble::MAX_INSTRUCTIONS
    )]
    TooLarge,
    /// There is no filter for this machine.
    #[error(transparent)]
    Architecture(#[from] UnsupportedArchitecture),
}

/// SECCOMP_FILTER_FLAG_LOG (linux/seccomp.h).
const FLAG_LOG: u32 = 1 << 1;
/// SECCOMP_FILTER_FLAG_SPEC_ALLOW (linux/seccomp.h).
const FLAG_SPEC_ALLOW: u32 = 1 << 2;

/// __X32_SYSCALL_BIT (asm/unistd.h).
const X32_BIT: u32 = 0x4000_0000;

/// What a call gets that came to the kernel after this table of names was made, so that callers fall back as on an older kernel.
/// Source: runc `libcontainer/seccomp/patchbpf`.
const ENOSYS: u16 = 38;

/// Compiles a profile for the architecture of this program.
///
/// It is read as [`tighten`](crate::tighten) reads it. Whatever `architectures` lists, calls of another architecture
/// kill the process; x32 calls too, unless the default action stops calls: then they get that. Where the default action is an errno,
/// calls with a number beyond the known ones get ENOSYS.
///
/// # Errors
///
/// What [`tighten`](crate::tighten) refuses; an entry that names an unknown call to stop it (a name that is only
/// allowed is skipped); a profile too large for the kernel.
pub fn compile(profile: &LinuxSeccomp) -> Result<CompiledFilter, CompileError> {
    compile_for(profile, &Target::native()?)
}

/// The same for another architecture.
///
/// # Errors
///
/// As [`compile`].
pub fn compile_for(profile: &LinuxSeccomp, target: &Target) -> Result<CompiledFilter, CompileError> {
    let default = Verdict::read(profile.default_action(), profile.default_errno_ret(), "/defaultAction");
    let default = default.map_err(CompileError::Refused)?;
    read::refuse_listener(profile).map_err(CompileError::Refused)?;
    let rules = read::rules(profile).map_err(CompileError::Refused)?;
    let flags = read::flags(profile).map_err(CompileError::Refused)?.unwrap_or_default();
    let mut program = Assembler::default();
    let ranges = ranges(&mut program, rules, default, target)?;
    let kill = program.give(value(Verdict::KillProcess));
    let tree = numbers::tree(&mut program, &ranges, kill);
    let number = program.load(NUMBER_OFFSET, tree);
    let native = program.branch(JUMP_IF_EQUAL, target.audit(), number, kill);
    let start = program.load(ARCHITECTURE_OFFSET, native);
    let program = program.finish(start).ok_or(CompileError::TooLarge)?;
    Ok(CompiledFilter { program, flags: load_flags(&flags) })
}

impl CompiledFilter {
    /// The program.
    #[must_use]
    pub fn program(&self) -> &[Instruction] {
        &self.program
    }

    /// The flags of seccomp(2) to load it with. 0 for a profile without flags: speculation mitigations
    /// are then left to the kernel's own default.
    #[must_use]
    pub fn load_flags(&self) -> u32 {
        self.flags
    }
}

fn load_flags(flags: &BTreeSet<Flag>) -> u32 {
    let bit = |flag: &Flag| match flag {
        Flag::Log => FLAG_LOG,
        Flag::SpecAllow => FLAG_SPEC_ALLOW,
    };
    flags.iter().map(bit).sum()
}

/// What to do for each number.
fn ranges(
    program: &mut Assembler,
    mut rules: Rules<'_>,
    default: Verdict,
    target: &Target,
) -> Result<Vec<Range>, CompileError> {
    let mut decided: BTreeMap<u32, Position> = BTreeMap::new();
    for (name, entries) in rules.by_name() {
        match target.number(name) {
            Some(number) => drop(decided.insert(number, decision(program, entries, default))),
            // Misspelt or of another architecture: it may be left out only where that stops more.
            None if entries.clone().any(|(verdict, _)| verdict > default) => {
                return Err(CompileError::UnknownSyscall { syscall: name.to_owned() });
            }
            None => {}
        }
    }
    let otherwise = program.give(value(default));
    let mut ranges = numbers::ranges(decided.into_iter(), otherwise);
    let newer =
        if matches!(default, Verdict::Errno(_)) { program.give(value(Verdict::Errno(ENOSYS))) } else { otherwise };
    numbers::extend(&mut ranges, Range { start: target.first_unknown(), then: newer });
    if target.has_x32() {
        // These calls carry the architecture of x86_64, so a filter by number that lets unknown calls run lets all of them run.
        let x32 = if default.runs() { program.give(value(Verdict::KillProcess)) } else { otherwise };
        numbers::extend(&mut ranges, Range { start: X32_BIT, then: x32 });
    }
    // Number -1 is no call: it is what a tracer leaves behind to skip one.
    numbers::extend(&mut ranges, Range { start: u32::MAX, then: otherwise });
    Ok(ranges)
}

/// What to do for one call by its arguments: the strictest of all entries that match, and the default if none does.
fn decision<'r>(
    program: &mut Assembler,
    entries: impl Iterator<Item = (Verdict, &'r [Region])>,
    default: Verdict,
) -> Position {
    let each = entries.flat_map(|(verdict, regions)| regions.iter().map(move |region| (verdict, region)));
    let mut strictest_first: Vec<(Verdict, &Region)> = each.collect();
    strictest_first.sort_by_key(|(verdict, _)| Reverse(*verdict));
    let mut rest = default;
    if let Some(at) = strictest_first.iter().position(|(_, region)| **region == Region::ALL) {
        rest = strictest_first.get(at).map_or(default, |(verdict, _)| *verdict);
        strictest_first.truncate(at);
    }
    // Of what is left the last needs no look if it says the same.
    while strictest_first.pop_if(|(verdict, _)| *verdict == rest).is_some() {}
    let outside = program.give(value(rest));
    strictest_first.into_iter().rev().fold(outside, |outside, (verdict, region)| {
        let inside = program.give(value(verdict));
        arguments::region(program, region, inside, outside)
    })
}

/// The verdict as the kernel takes it: SECCOMP_RET_* with its data (linux/seccomp.h).
fn value(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Allow => 0x7fff_0000,
        Verdict::Log => 0x7ffc_0000,
        Verdict::Errno(errno) => 0x0005_0000 | u32::from(errno),
        Verdict::Trap => 0x0003_0000,
        Verdict::KillThread => 0,
        Verdict::KillProcess => 0x8000_0000,
    }
}
