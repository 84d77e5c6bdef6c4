//! A seccomp profile as a function: (system call, arguments) to [`Verdict`].
//!
//! The OCI runtime-spec leaves open what several matching entries mean, and runtimes differ: runc reads two
//! conditions on one argument index as OR, others as AND. A profile is read here in its strictest sense:
//!
//! * of all entries that match a call the strictest action wins, and the default action if none matches;
//! * conditions of an entry that lets calls run are AND; of an entry that stops calls they are AND too, unless an
//!   argument index occurs twice, then each condition alone stops the call.
//!
//! What is written has one meaning only: entries of different actions never overlap, and no entry names an
//! argument index twice.

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::OciSpecError;
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompFilterFlag};

use crate::read::{self, RulesByName};
use crate::refused::RefusedProfile;
use crate::region::{self, Region, TooManyPieces};
use crate::verdict::{EPERM, Verdict};
use crate::write;

/// Calls that get one verdict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Piece {
    pub(crate) region: Region,
    pub(crate) verdict: Verdict,
}

/// A profile with one meaning: for each named system call pieces that cover all arguments, those of different
/// verdicts disjoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    default: Verdict,
    flags: Option<BTreeSet<Flag>>,
    syscalls: BTreeMap<String, Vec<Piece>>,
}

/// The filter flags that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flag {
    /// Log what is not allowed.
    Log,
    /// Leave the speculative store bypass mitigation off.
    SpecAllow,
}

impl Filter {
    /// Reads an OCI profile.
    pub(crate) fn read(profile: &LinuxSeccomp) -> Result<Self, RefusedProfile> {
        let default = Verdict::read(profile.default_action(), profile.default_errno_ret(), "/defaultAction")?;
        read::refuse_listener(profile)?;
        let filter = Self::new(default, read::rules_by_name(profile)?);
        Ok(Self { flags: read::flags(profile)?, ..filter })
    }

    /// A filter of these rules that leaves the flags to the runtime.
    pub(crate) fn new(default: Verdict, rules: RulesByName) -> Self {
        let pieces = rules.into_iter().map(|(name, rules)| (name, pieces_of(&rules, default)));
        Self { default, flags: None, syscalls: pieces.collect() }
    }

    /// The OCI profile that says the same for the native architecture.
    ///
    /// A system call that would need more than [`write::MAX_RULES`] entries is narrowed to what fits, and stopped
    /// for all arguments if nothing does.
    pub(crate) fn write(&self, architecture: Arch) -> Result<LinuxSeccomp, OciSpecError> {
        let (action, errno) = self.default.write();
        let mut written = LinuxSeccomp::default();
        written.set_default_action(action);
        written.set_default_errno_ret(errno);
        written.set_architectures(Some(vec![architecture]));
        written.set_flags(self.flags.as_ref().map(|flags| flags.iter().map(|flag| flag.write()).collect()));
        written.set_syscalls(Some(write::entries(self.default, &self.syscalls)?));
        Ok(written)
    }

    /// The verdict on one call.
    fn verdict(&self, name: &str, arguments: [u64; 6]) -> Verdict {
        let pieces = self.syscalls.get(name).map(Vec::as_slice).unwrap_or_default();
        pieces.iter().find(|piece| piece.region.holds(arguments)).map_or(self.default, |piece| piece.verdict)
    }

    /// For every call the stricter of the two verdicts.
    pub(crate) fn stricter(&self, other: &Self) -> Self {
        let names: BTreeSet<&String> = self.syscalls.keys().chain(other.syscalls.keys()).collect();
        let syscalls = names
            .into_iter()
            .map(|name| (name.clone(), stricter_pieces(&self.pieces(name), &other.pieces(name))))
            .collect();
        Self {
            default: self.default.max(other.default),
            flags: stricter_flags(self.flags.as_ref(), other.flags.as_ref()),
            syscalls,
        }
    }

    fn pieces(&self, name: &str) -> Vec<Piece> {
        let everything = || vec![Piece { region: Region::ALL, verdict: self.default }];
        self.syscalls.get(name).cloned().unwrap_or_else(everything)
    }
}

/// What a compiler needs to know.
#[cfg(feature = "compile")]
impl Filter {
    /// What no entry decides.
    pub(crate) fn default_verdict(&self) -> Verdict {
        self.default
    }

    /// The system calls that entries decide about, and how.
    pub(crate) fn syscalls(&self) -> &BTreeMap<String, Vec<Piece>> {
        &self.syscalls
    }

    /// The flags, `None` where the profile leaves them to the runtime.
    pub(crate) fn flags(&self) -> Option<&BTreeSet<Flag>> {
        self.flags.as_ref()
    }
}

impl Flag {
    fn write(self) -> LinuxSeccompFilterFlag {
        match self {
            Self::Log => LinuxSeccompFilterFlag::SeccompFilterFlagLog,
            Self::SpecAllow => LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow,
        }
    }
}

/// What a profile answers to one call, by the name of the system call and its arguments.
///
/// # Errors
///
/// What [`tighten`](crate::tighten) refuses.
pub fn verdict(profile: &LinuxSeccomp, syscall: &str, arguments: [u64; 6]) -> Result<Verdict, RefusedProfile> {
    Ok(Filter::read(profile)?.verdict(syscall, arguments))
}

/// The pieces of one system call: the strictest entries first, each less strict one without what they took.
fn pieces_of(rules: &BTreeMap<Verdict, Vec<Region>>, default: Verdict) -> Vec<Piece> {
    partition(rules, default).unwrap_or_else(|TooManyPieces| stopped(rules.keys().copied().chain([default])))
}

fn partition(rules: &BTreeMap<Verdict, Vec<Region>>, default: Verdict) -> Result<Vec<Piece>, TooManyPieces> {
    let mut left = vec![Region::ALL];
    let mut pieces = Vec::new();
    for (verdict, regions) in rules.iter().rev() {
        for region in region::intersect(regions, &left)? {
            pieces.push(Piece { region, verdict: *verdict });
        }
        left = region::subtract(left, regions)?;
    }
    pieces.extend(left.into_iter().map(|region| Piece { region, verdict: default }));
    Ok(pieces)
}

fn stricter_pieces(ours: &[Piece], theirs: &[Piece]) -> Vec<Piece> {
    let verdicts = ours.iter().chain(theirs).map(|piece| piece.verdict);
    multiply(ours, theirs).unwrap_or_else(|TooManyPieces| stopped(verdicts))
}

/// Regions of one verdict while two profiles are combined. Far above what is written in the end.
const MAX_PRODUCT: usize = 512;

fn multiply(ours: &[Piece], theirs: &[Piece]) -> Result<Vec<Piece>, TooManyPieces> {
    let mut found: BTreeMap<Verdict, Vec<Region>> = BTreeMap::new();
    for (a, b) in ours.iter().flat_map(|a| theirs.iter().map(move |b| (a, b))) {
        let regions = found.entry(a.verdict.max(b.verdict)).or_default();
        regions.extend(a.region.intersect(&b.region)?);
        // Two long profiles have a product that would take minutes to simplify at the end, with the shim waiting.
        if regions.len() > MAX_PRODUCT {
            *regions = region::simplify(std::mem::take(regions));
            if regions.len() > MAX_PRODUCT / 2 {
                return Err(TooManyPieces);
            }
        }
    }
    let pieces = found.into_iter().flat_map(|(verdict, regions)| {
        region::simplify(regions).into_iter().map(move |region| Piece { region, verdict })
    });
    Ok(pieces.collect())
}

/// One piece that stops every call: where regions cannot be worked out.
fn stopped(verdicts: impl Iterator<Item = Verdict>) -> Vec<Piece> {
    let verdict = verdicts.filter(|verdict| !verdict.runs()).max().unwrap_or(Verdict::Errno(EPERM));
    vec![Piece { region: Region::ALL, verdict }]
}

/// Logging if one wants it; the mitigation stays off only if both profiles ask for that.
fn stricter_flags(ours: Option<&BTreeSet<Flag>>, theirs: Option<&BTreeSet<Flag>>) -> Option<BTreeSet<Flag>> {
    if ours.is_none() && theirs.is_none() {
        return None;
    }
    let has = |flags: Option<&BTreeSet<Flag>>, flag| flags.is_some_and(|flags| flags.contains(&flag));
    let log = has(ours, Flag::Log) || has(theirs, Flag::Log);
    let spec_allow = has(ours, Flag::SpecAllow) && has(theirs, Flag::SpecAllow);
    let kept = [(Flag::Log, log), (Flag::SpecAllow, spec_allow)];
    Some(kept.into_iter().filter_map(|(flag, keep)| keep.then_some(flag)).collect())
}
