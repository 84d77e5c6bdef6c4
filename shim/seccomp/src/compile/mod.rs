//! From a profile to the BPF program that the kernel loads.
//!
//! ```text
//! architecture? ─ not listed: kill ─ number? (a tree over sorted ranges) ─ arguments? (halves, most calls none) ─ verdict
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
use std::collections::BTreeSet;

use oci_spec::runtime::LinuxSeccomp;

use crate::architecture::UnsupportedArchitecture;
use crate::filter::Flag;
use crate::read::{self, Rules};
use crate::refused::RefusedProfile;
use crate::region::Region;
use crate::verdict::{ENOSYS, Verdict};
use assemble::{Assembler, Position};
use instruction::{ARCHITECTURE_OFFSET, JUMP_IF_EQUAL, NUMBER_OFFSET};
use numbers::Ways;
use target::X32_BIT;

pub use bytes::CorruptFilter;
pub use instruction::Instruction;
pub use interpret::{Answer, Call};
pub use names::{architecture_of, syscall_name};
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
    /// An entry that stops a call names one that this machine does not have: misspelt, it would stop nothing.
    #[error("the seccomp profile stops {syscall:?}, which this machine does not have: correct or remove it")]
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

/// Compiles a profile for this machine.
///
/// It is read as [`tighten`](crate::tighten) reads it. The native calls are always judged, those of another architecture if
/// `architectures` lists it and this machine may run it. All others kill the process; x32 calls too, unless the default action
/// stops calls: then they get that. Where the default action is an errno, calls with a number beyond the known ones get ENOSYS.
///
/// # Errors
///
/// What [`tighten`](crate::tighten) refuses; an entry that names an unknown call to stop it (a name that is only
/// allowed is skipped); a profile too large for the kernel.
pub fn compile(profile: &LinuxSeccomp) -> Result<CompiledFilter, CompileError> {
    compile_for(profile, &Target::native()?, &Target::others())
}

/// The same for another machine: its own architecture, and what else it may run.
///
/// # Errors
///
/// As [`compile`].
pub fn compile_for(profile: &LinuxSeccomp, native: &Target, others: &[Target]) -> Result<CompiledFilter, CompileError> {
    let default = Verdict::read(profile.default_action(), profile.default_errno_ret(), &"/defaultAction");
    let default = default.map_err(CompileError::Refused)?;
    read::refuse_listener(profile).map_err(CompileError::Refused)?;
    let rules = read::rules(profile).map_err(CompileError::Refused)?;
    let flags = read::flags(profile).unwrap_or_default();
    let listed = read::architectures(profile);
    let (judged, left): (Vec<&Target>, Vec<&Target>) =
        others.iter().partition(|other| listed.contains(&other.architecture()));
    let judged = [&[native], judged.as_slice()].concat();

    let mut program = Assembler::default();
    let tables = tables(&mut program, rules, default, &judged, &left)?;
    let kill = program.give(value(Verdict::KillProcess));
    // From the last to the first, so that the native calls are asked for first.
    let dispatch = tables.iter().rev().fold(kill, |otherwise, table| {
        let tree = numbers::tree(&mut program, &table.areas, &table.decided, kill);
        let number = program.load(NUMBER_OFFSET, tree);
        program.branch(JUMP_IF_EQUAL, table.audit, number, otherwise)
    });
    let start = program.load(ARCHITECTURE_OFFSET, dispatch);
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

/// What is done for the numbers of all calls that carry one AUDIT_ARCH_*.
struct Table {
    audit: u32,
    areas: Ways,
    decided: Ways,
}

/// The tables of the architectures that are judged, the first one's first. A name is known if another architecture of
/// the machine has it: all calls of that one are stopped.
fn tables(
    program: &mut Assembler,
    mut rules: Rules<'_>,
    default: Verdict,
    judged: &[&Target],
    left: &[&Target],
) -> Result<Vec<Table>, CompileError> {
    let mut tables: Vec<Table> = Vec::with_capacity(judged.len());
    for target in judged {
        let areas = areas(program, default, target);
        match tables.iter_mut().find(|table| table.audit == target.audit()) {
            Some(table) => table.areas.extend(areas),
            None => tables.push(Table { audit: target.audit(), areas: areas.collect(), decided: Ways::new() }),
        }
    }
    for (name, entries) in rules.by_name() {
        let mut then = None;
        for (target, number) in judged.iter().filter_map(|target| Some((target, target.number(name)?))) {
            let then = *then.get_or_insert_with(|| decision(program, entries.clone(), default));
            let table = tables.iter_mut().find(|table| table.audit == target.audit());
            table.into_iter().for_each(|table| table.decided.push((number, then)));
        }
        // Misspelt or of another machine: it may be left out only where that stops more.
        let stops = || entries.clone().any(|(verdict, _)| verdict > default);
        if then.is_none() && stops() && left.iter().all(|target| target.number(name).is_none()) {
            return Err(CompileError::UnknownSyscall { syscall: name.to_owned() });
        }
    }
    Ok(tables)
}

/// What is done for the numbers that no entry decides, by the first of each area.
fn areas(program: &mut Assembler, default: Verdict, target: &Target) -> impl Iterator<Item = (u32, Position)> + use<> {
    let otherwise = program.give(value(default));
    // What came to the kernel after this table of names was made (as runc's `libcontainer/seccomp/patchbpf` has it).
    let newer =
        if matches!(default, Verdict::Errno(_)) { program.give(value(Verdict::Errno(ENOSYS))) } else { otherwise };
    // Calls of x32 carry the architecture of x86_64, so a filter by number that lets unknown calls run lets all of them run.
    let x32 = if default.runs() { program.give(value(Verdict::KillProcess)) } else { otherwise };
    let x32 = target.has_x32().then_some((X32_BIT, x32));
    // Number -1, the end of the last area, is no call: it is what a tracer leaves behind to skip one.
    let unknown = target.unknown().into_iter().flat_map(move |[first, end]| [(first, newer), (end, otherwise)]);
    [(target.first(), otherwise)].into_iter().chain(unknown).chain(x32).chain([(u32::MAX, otherwise)])
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
