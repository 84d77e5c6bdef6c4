//! From a profile to the BPF programs that the kernel loads.
//!
//! A program of seccompiler knows two actions, so a profile becomes a stack: one program that gives the default action
//! to every call that no entry decides, and one for each further verdict. The kernel runs all of them and takes the
//! strictest answer (seccomp(2)). The programs never disagree at equal strictness, because the regions of different
//! verdicts are disjoint, so their order does not matter.

mod bytes;
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use oci_spec::runtime::LinuxSeccomp;
use seccompiler::BpfProgram;
use syscalls::Sysno;

use crate::architecture::UnsupportedArchitecture;
use crate::filter::{Filter, Flag, Pieces};
use crate::refused::RefusedProfile;
use crate::region::{self, Region};
use crate::verdict::Verdict;

pub use bytes::CorruptFilter;

/// The programs of a profile, ready to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledFilter {
    programs: Vec<BpfProgram>,
    flags: u32,
}

/// Why a profile has no programs. The container must then not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The profile holds something that is not understood.
    #[error("the seccomp profile is refused")]
    Refused(#[source] RefusedProfile),
    /// An entry that stops a call names one that this architecture does not have: misspelt, it would stop nothing.
    #[error(
        "the seccomp profile stops {syscall:?}, which {} does not have: correct or remove it",
        std::env::consts::ARCH
    )]
    UnknownSyscall {
        /// The name.
        syscall: String,
    },
    /// Each different action needs a program of its own.
    #[error("the seccomp profile has {count} different actions and errnos, at most {max} are compiled")]
    TooManyActions {
        /// How many there are.
        count: usize,
        /// How many are compiled.
        max: usize,
    },
    /// seccompiler refused: in practice, a program of more than 4095 instructions.
    #[error("the seccomp profile does not compile")]
    Backend(#[source] seccompiler::BackendError),
    /// There is no filter for this machine.
    #[error(transparent)]
    Architecture(#[from] UnsupportedArchitecture),
}

/// How many programs a profile may become. The kernel runs each of them on every call that it does not answer from
/// its bitmap.
const MAX_PROGRAMS: usize = 16;

/// SECCOMP_FILTER_FLAG_LOG (linux/seccomp.h).
const FLAG_LOG: u32 = 1 << 1;
/// SECCOMP_FILTER_FLAG_SPEC_ALLOW (linux/seccomp.h).
const FLAG_SPEC_ALLOW: u32 = 1 << 2;

/// The calls of one verdict: by number, the regions of arguments.
type Calls = BTreeMap<i64, Vec<Region>>;

/// Compiles a profile for the architecture of this program.
///
/// It is read as [`tighten`](crate::tighten) reads it. Whatever `architectures` lists, calls of another architecture
/// kill the process; x32 calls too, unless the default action stops calls: then they get that.
///
/// # Errors
///
/// What [`tighten`](crate::tighten) refuses; an entry that names an unknown call to stop it (a name that is only
/// allowed is skipped); more than 16 different actions and errnos; a profile too large for the kernel.
pub fn compile(profile: &LinuxSeccomp) -> Result<CompiledFilter, CompileError> {
    let filter = Filter::read(profile).map_err(CompileError::Refused)?;
    let default = filter.default_verdict();
    let calls = calls_by_verdict(&filter)?;
    let count = calls.len().saturating_add(2);
    if count > MAX_PROGRAMS {
        return Err(CompileError::TooManyActions { count, max: MAX_PROGRAMS });
    }
    let mut programs = Vec::new();
    if default.runs() {
        programs.extend(program::native_guard()?);
    }
    if default != Verdict::Allow {
        programs.push(program::build(decided(&calls), Verdict::Allow, default)?);
    }
    for (verdict, calls) in calls.into_iter().filter(|(verdict, _)| *verdict != Verdict::Allow) {
        programs.push(program::build(calls, verdict, Verdict::Allow)?);
    }
    Ok(CompiledFilter { programs, flags: flags(&filter) })
}

impl CompiledFilter {
    /// The programs in load order. All must be loaded; the container is filtered by all of them together.
    #[must_use]
    pub fn programs(&self) -> &[BpfProgram] {
        &self.programs
    }

    /// The flags of seccomp(2) to load each program with. 0 for a profile without flags: speculation mitigations
    /// are then left to the kernel's own default.
    #[must_use]
    pub fn load_flags(&self) -> u32 {
        self.flags
    }
}

fn flags(filter: &Filter<'_>) -> u32 {
    let bit = |flag: &Flag| match flag {
        Flag::Log => FLAG_LOG,
        Flag::SpecAllow => FLAG_SPEC_ALLOW,
    };
    filter.flags().map(|flags| flags.iter().map(bit).sum()).unwrap_or_default()
}

/// The calls whose verdict is not the default, by verdict.
fn calls_by_verdict(filter: &Filter<'_>) -> Result<BTreeMap<Verdict, Calls>, CompileError> {
    let default = filter.default_verdict();
    let mut calls: BTreeMap<Verdict, Calls> = BTreeMap::new();
    for (name, pieces) in filter.syscalls() {
        let Some(number) = number(name) else {
            refuse_unknown(name, pieces, default)?;
            continue;
        };
        for piece in pieces.each().filter(|piece| piece.verdict != default) {
            calls.entry(piece.verdict).or_default().entry(number).or_default().push(piece.region);
        }
    }
    Ok(calls)
}

fn refuse_unknown(name: &str, pieces: &Pieces, default: Verdict) -> Result<(), CompileError> {
    if pieces.each().any(|piece| piece.verdict > default) {
        return Err(CompileError::UnknownSyscall { syscall: name.to_owned() });
    }
    Ok(())
}

fn number(name: &str) -> Option<i64> {
    Sysno::from_str(name).ok().map(|syscall| i64::from(syscall.id()))
}

/// All calls that do not get the default.
fn decided(calls: &BTreeMap<Verdict, Calls>) -> Calls {
    let numbers: BTreeSet<i64> = calls.values().flat_map(BTreeMap::keys).copied().collect();
    let regions = |number: &i64| {
        let all = calls.values().filter_map(|calls| calls.get(number)).flatten().copied();
        region::simplify(all.collect())
    };
    numbers.into_iter().map(|number| (number, regions(&number))).collect()
}
