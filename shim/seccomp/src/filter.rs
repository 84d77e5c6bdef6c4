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

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use oci_spec::OciSpecError;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag};

use crate::architecture::Architecture;
use crate::counterpart::{self, Possible};
use crate::read::{self, Rules};
use crate::refused::RefusedProfile;
use crate::region::{self, Region, TooManyPieces};
use crate::verdict::{ENOSYS, EPERM, Verdict};
use crate::write;

/// Calls that get one verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Piece {
    pub(crate) region: Region,
    pub(crate) verdict: Verdict,
}

/// The verdicts on one system call. Most have one for all arguments, so that takes no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// Whatever the arguments.
    Whole(Verdict),
    /// By the arguments: pieces that cover all of them, those of different verdicts disjoint.
    Parts(Vec<Piece>),
}

/// A profile with one meaning. The names are those of the profile that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter<'a> {
    default: Verdict,
    flags: Option<BTreeSet<Flag>>,
    /// The architectures whose calls are judged; the native one always is.
    architectures: BTreeSet<Architecture>,
    /// Sorted by name, each once.
    syscalls: Vec<(&'a str, Pieces)>,
}

/// Where the policy's profile is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// One of the program's own, whose system calls are known to be read as they are written.
    BuiltIn,
    /// Any other.
    Given,
}

/// The filter flags that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flag {
    /// Log what is not allowed.
    Log,
    /// Leave the speculative store bypass mitigation off.
    SpecAllow,
}

impl<'a> Filter<'a> {
    /// Reads an OCI profile.
    pub(crate) fn read(profile: &'a LinuxSeccomp) -> Result<Self, RefusedProfile> {
        let default = Verdict::read(profile.default_action(), profile.default_errno_ret(), &"/defaultAction")?;
        read::refuse_listener(profile)?;
        let filter = Self::new(default, read::rules(profile)?);
        Ok(Self { flags: read::flags(profile), architectures: read::architectures(profile), ..filter })
    }

    /// A filter of these rules for native calls that leaves the flags to the runtime.
    pub(crate) fn new(default: Verdict, rules: Rules<'a>) -> Self {
        let mut rules = rules;
        let syscalls = rules.by_name().map(|(name, decided)| (name, pieces_of(decided, default))).collect();
        Self { default, flags: None, architectures: BTreeSet::new(), syscalls }
    }

    /// The same with these flags; `None` leaves them to the runtime.
    pub(crate) fn with_flags(self, flags: Option<BTreeSet<Flag>>) -> Self {
        Self { flags, ..self }
    }

    /// The same with the flags of another, for what has no say in them.
    pub(crate) fn with_flags_of(self, other: &Self) -> Self {
        Self { flags: other.flags.clone(), ..self }
    }

    /// The same also for calls of `architectures`, where they can be judged: calls that only they have are judged as
    /// those that they stand for.
    pub(crate) fn also_for(mut self, architectures: &[Architecture]) -> Self {
        let restricts = |name: &str, from: usize| {
            self.pieces(name).is_some_and(|pieces| pieces.each().any(|piece| piece.region.restricts_from(from)))
        };
        if architectures.is_empty() || counterpart::SHIFTED.iter().any(|(name, from)| restricts(name, *from)) {
            return self;
        }
        let judged: Vec<_> =
            counterpart::of(architectures).filter_map(|(name, meant)| self.judged(name, meant)).collect();
        self.syscalls.retain(|(name, _)| !judged.iter().any(|(other, _)| other == name));
        self.syscalls.extend(judged);
        self.syscalls.sort_unstable_by_key(|(name, _)| *name);
        self.architectures.extend(architectures);
        self
    }

    /// What a call of another architecture gets by the calls that it may be, if that is more than what the profile says of it. A profile
    /// that lets `socketcall` run and judges `socket` means the latter: many list the names of all architectures.
    fn judged<'n>(&self, name: &'n str, meant: &[&str]) -> Option<(&'n str, Pieces)> {
        let by_meant = || Pieces::Whole(self.of_all(meant));
        match self.pieces(name) {
            None => Some((name, by_meant())),
            Some(own) if meant.len() > 1 => Some((name, own.stricter(&by_meant()))),
            Some(_) => None,
        }
    }

    /// The same without calls that cannot be made where only its architectures run.
    pub(crate) fn without_the_impossible(mut self) -> Self {
        let mut possible = Possible::with(&self.architectures);
        self.syscalls.retain(|(name, _)| possible.holds(name));
        self
    }

    /// The verdict on a call that may do what any of these does and does not show which: none that depends on arguments.
    fn of_all(&self, meant: &[&str]) -> Verdict {
        let verdicts = meant.iter().map(|name| match self.pieces(name) {
            Some(Pieces::Whole(verdict)) => Some(*verdict),
            Some(Pieces::Parts(_)) => None,
            None => Some(self.default),
        });
        common(verdicts, self.default)
    }

    fn pieces(&self, name: &str) -> Option<&Pieces> {
        let at = self.syscalls.binary_search_by_key(&name, |(known, _)| known).ok()?;
        self.syscalls.get(at).map(|(_, pieces)| pieces)
    }

    /// The OCI profile that says the same for a machine of this architecture.
    ///
    /// A system call that would need more than [`write::MAX_RULES`] entries is narrowed to what fits, and stopped
    /// for all arguments if nothing does.
    pub(crate) fn write(&self, native: Architecture) -> Result<LinuxSeccomp, OciSpecError> {
        let (action, errno) = self.default.write();
        let mut written = LinuxSeccomp::default();
        written.set_default_action(action);
        written.set_default_errno_ret(errno);
        let others = native.others().iter().filter(|other| self.architectures.contains(other));
        written.set_architectures(Some([native].iter().chain(others).map(|architecture| architecture.oci()).collect()));
        written.set_flags(self.flags.as_ref().map(|flags| flags.iter().map(|flag| flag.write()).collect()));
        written.set_syscalls(Some(write::entries(self.default, &self.syscalls)?));
        Ok(written)
    }

    /// The verdict on one call.
    pub(crate) fn verdict(&self, name: &str, arguments: [u64; 6]) -> Verdict {
        self.pieces(name).map_or(self.default, |pieces| pieces.verdict(arguments, self.default))
    }

    /// For every call the stricter of the two verdicts, without those that none of the common architectures has.
    pub(crate) fn stricter(&self, other: &Self) -> Self {
        let mut syscalls = Vec::with_capacity(self.syscalls.len().max(other.syscalls.len()));
        let (mut ours, mut theirs) = (self.syscalls.iter().peekable(), other.syscalls.iter().peekable());
        let (our_default, their_default) = (Pieces::Whole(self.default), Pieces::Whole(other.default));
        let architectures = &self.architectures & &other.architectures;
        let mut possible = Possible::with(&architectures);
        loop {
            let order = match (ours.peek(), theirs.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((one, _)), Some((another, _))) => one.cmp(another),
            };
            // Each side is advanced if the name is its next one, and has its default for the name otherwise.
            let own = if order.is_le() { ours.next() } else { None };
            let others = if order.is_ge() { theirs.next() } else { None };
            let Some((name, _)) = own.or(others) else { break };
            if !possible.holds(name) {
                continue;
            }
            let one = own.map_or(&our_default, |(_, pieces)| pieces);
            let another = others.map_or(&their_default, |(_, pieces)| pieces);
            syscalls.push((*name, one.stricter(another)));
        }
        Self {
            default: self.default.max(other.default),
            flags: stricter_flags(self.flags.as_ref(), other.flags.as_ref()),
            architectures,
            syscalls,
        }
    }
}

impl Filter<'_> {
    /// The same, narrowed until it would come out the same if it were written, read and combined with `ours` anew: a
    /// system call may take more pieces to read than to write, and would be stopped by the next reader only.
    pub(crate) fn settled(mut self, ours: &Self, origin: Origin) -> Self {
        let whole = Pieces::Whole(ours.default);
        // One verdict for all arguments is written and read as it is.
        let by_argument = self.syscalls.iter_mut().filter(|(_, pieces)| matches!(pieces, Pieces::Parts(_)));
        for (name, pieces) in by_argument {
            let own = ours.pieces(name).unwrap_or(&whole);
            if origin == Origin::Given || pieces != own {
                *pieces = settle(std::mem::replace(pieces, Pieces::Whole(self.default)), own, self.default);
            }
        }
        self
    }
}

impl Pieces {
    fn of(pieces: Vec<Piece>) -> Self {
        match pieces.as_slice() {
            [Piece { region: Region::ALL, verdict }] => Self::Whole(*verdict),
            _ => Self::Parts(pieces),
        }
    }

    /// Each piece.
    pub(crate) fn each(&self) -> impl Iterator<Item = Piece> + Clone {
        let (whole, parts) = match self {
            Self::Whole(verdict) => (Some(Piece { region: Region::ALL, verdict: *verdict }), [].as_slice()),
            Self::Parts(pieces) => (None, pieces.as_slice()),
        };
        whole.into_iter().chain(parts.iter().copied())
    }

    /// The verdict on one call.
    pub(crate) fn verdict(&self, arguments: [u64; 6], otherwise: Verdict) -> Verdict {
        self.each().find(|piece| piece.region.holds(arguments)).map_or(otherwise, |piece| piece.verdict)
    }

    /// For every call the stricter of the two verdicts.
    pub(crate) fn stricter(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Whole(ours), Self::Whole(theirs)) => return Self::Whole(*ours.max(theirs)),
            // Most profiles in the field judge arguments as the container's runtime does.
            (one, other) if one == other => return one.clone(),
            // What says yes to everything changes nothing.
            (Self::Whole(Verdict::Allow), parts) | (parts, Self::Whole(Verdict::Allow)) => return parts.clone(),
            (Self::Whole(whole), parts) | (parts, Self::Whole(whole))
                if parts.each().all(|part| part.verdict <= *whole) =>
            {
                return Self::Whole(*whole);
            }
            _ => {}
        }
        let verdicts = self.each().chain(other.each()).map(|piece| piece.verdict);
        multiply(self, other).map_or_else(|TooManyPieces| stopped(verdicts), Self::of)
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
    Ok(verdicts(profile)?(syscall, arguments))
}

/// The same for many calls: the profile is read once.
///
/// # Errors
///
/// What [`tighten`](crate::tighten) refuses.
pub fn verdicts(profile: &LinuxSeccomp) -> Result<impl Fn(&str, [u64; 6]) -> Verdict, RefusedProfile> {
    let filter = Filter::read(profile)?;
    Ok(move |syscall: &str, arguments| filter.verdict(syscall, arguments))
}

/// The verdict on a call that stands for calls with these verdicts; `None` is one that depends on arguments.
pub(crate) fn common(mut verdicts: impl Iterator<Item = Option<Verdict>>, default: Verdict) -> Verdict {
    // Where calls run by default too: what is refused behind this one would run through it.
    let hidden = if default < Verdict::Trap { Verdict::Errno(ENOSYS) } else { default };
    let Some(first) = verdicts.next().flatten() else { return hidden };
    let alike = |first: Verdict, next: Option<Verdict>| {
        next.filter(|next| *next == first || first.max(*next).runs()).map(|next| first.max(next))
    };
    verdicts.try_fold(first, alike).unwrap_or(hidden)
}

/// The pieces of one system call: the strictest entries first, each less strict one without what they took.
pub(crate) fn pieces_of<'r>(
    decided: impl Iterator<Item = (Verdict, &'r [Region])> + Clone,
    default: Verdict,
) -> Pieces {
    if decided.clone().all(|(_, regions)| regions == [Region::ALL]) {
        let strictest = decided.map(|(verdict, _)| verdict).max();
        return Pieces::Whole(strictest.unwrap_or(default));
    }
    let mut rules: BTreeMap<Verdict, Vec<Region>> = BTreeMap::new();
    for (verdict, regions) in decided {
        rules.entry(verdict).or_default().extend_from_slice(regions);
    }
    let verdicts = rules.keys().copied().chain([default]);
    partition(&rules, default).map_or_else(|TooManyPieces| stopped(verdicts), Pieces::of)
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

/// Regions of one verdict while two profiles are combined. Far above what is written in the end.
const MAX_PRODUCT: usize = 512;

fn multiply(ours: &Pieces, theirs: &Pieces) -> Result<Vec<Piece>, TooManyPieces> {
    let mut found: BTreeMap<Verdict, Vec<Region>> = BTreeMap::new();
    for (a, b) in ours.each().flat_map(|a| theirs.each().map(move |b| (a, b))) {
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

/// How often a system call is combined anew; each time it can only be narrowed.
const TURNS: usize = 4;

fn settle(pieces: Pieces, ours: &Pieces, default: Verdict) -> Pieces {
    let in_order = |pieces: &Pieces| {
        let mut rules = write::rules(pieces, default);
        rules.sort_unstable();
        rules
    };
    let mut rules = in_order(&pieces);
    for _ in 0..TURNS {
        let regions: Vec<(Verdict, Region)> = rules.iter().map(|rule| (rule.0, write::region(rule))).collect();
        let read = regions.iter().map(|(verdict, region)| (*verdict, std::slice::from_ref(region)));
        let again = ours.stricter(&pieces_of(read, default));
        let narrowed = in_order(&again);
        if narrowed == rules {
            return again;
        }
        rules = narrowed;
    }
    stopped(pieces.each().map(|piece| piece.verdict).chain([default]))
}

/// What stops every call: where regions cannot be worked out.
fn stopped(verdicts: impl Iterator<Item = Verdict>) -> Pieces {
    let verdict = verdicts.filter(|verdict| !verdict.runs()).max().unwrap_or(Verdict::Errno(EPERM));
    Pieces::Whole(verdict)
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
