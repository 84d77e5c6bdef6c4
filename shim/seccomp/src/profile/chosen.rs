//! A profile that was chosen for containers, with the mitigations that are switched on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oci_spec::runtime::{Capabilities, Capability, LinuxSeccomp};

use super::file::{ProfileFile, ReadEntry};
use super::mitigation::Mitigation;
use super::{BuiltinProfile, ProfileError, also_here, filter_for};
use crate::architecture::Architecture;
use crate::counterpart;
use crate::filter::{Filter, Flag, Origin, Pieces, common, pieces_of};
use crate::tighten::{self, TightenError};
use crate::verdict::Verdict;

/// A profile by which containers are filtered, less what mitigations take away. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SeccompProfile {
    source: Source,
    mitigations: Vec<Arc<Mitigation>>,
}

#[derive(Clone, Debug)]
enum Source {
    BuiltIn(BuiltinProfile),
    Own(Arc<ProfileFile>),
}

impl From<BuiltinProfile> for SeccompProfile {
    fn from(builtin: BuiltinProfile) -> Self {
        Self { source: Source::BuiltIn(builtin), mitigations: Vec::new() }
    }
}

impl SeccompProfile {
    pub(super) fn own(file: Arc<ProfileFile>) -> Self {
        Self { source: Source::Own(file), mitigations: Vec::new() }
    }

    /// Its name in a policy file.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.source {
            Source::BuiltIn(builtin) => builtin.name(),
            Source::Own(file) => file.name(),
        }
    }

    /// The same without what these mitigations deny.
    #[must_use]
    pub fn mitigated(mut self, mitigations: &[Arc<Mitigation>]) -> Self {
        let new = mitigations.iter().filter(|new| !self.mitigations.iter().any(|known| known.id() == new.id()));
        let new: Vec<_> = new.cloned().collect();
        self.mitigations.extend(new);
        self
    }

    /// What was taken away from it.
    #[must_use]
    pub fn mitigations(&self) -> &[Arc<Mitigation>] {
        &self.mitigations
    }

    /// The profile for a container that is left with these capabilities in its bounding set.
    ///
    /// Entries that depend on a capability are decided here, by the capabilities after hardening, not those that were
    /// asked for. The result is for native calls and those of `architectures`, where this machine may run them. Calls that only these
    /// have (`mmap2`, `socketcall`) get what the calls get that they stand for; where that depends on arguments they get ENOSYS, since
    /// theirs are in memory or elsewhere. A profile that looks at an argument which another architecture passes in another place is for
    /// native calls only.
    ///
    /// # Errors
    ///
    /// A broken profile file, or an architecture without filters. The container must then not be created.
    pub fn resolve(
        &self,
        bounding: &Capabilities,
        architectures: &[Architecture],
    ) -> Result<LinuxSeccomp, ProfileError> {
        let (filter, origin) = self.filter(bounding, architectures)?;
        let unwritten = |source| ProfileError::Write { file: self.name().to_owned(), source };
        let native = Architecture::native()?;
        match origin {
            Origin::BuiltIn => filter.write(native).map_err(unwritten),
            Origin::Given => filter.as_ref().clone().settled(&filter, origin).write(native).map_err(unwritten),
        }
    }

    /// [`tighten`](crate::tighten) with what [`resolve`](Self::resolve) gives for the same capabilities and architectures.
    ///
    /// # Errors
    ///
    /// Those of [`tighten`](crate::tighten), and a broken profile file.
    pub fn tighten(
        &self,
        bounding: &Capabilities,
        architectures: &[Architecture],
        own: &LinuxSeccomp,
    ) -> Result<LinuxSeccomp, TightenError> {
        let (ours, origin) = self.filter(bounding, architectures)?;
        tighten::combined(&ours, own, origin)
    }

    /// What it comes to with these capabilities.
    fn filter(
        &self,
        bounding: &Capabilities,
        architectures: &[Architecture],
    ) -> Result<(Arc<Filter<'_>>, Origin), ProfileError> {
        let mut left: Filter<'_> = match &self.source {
            Source::BuiltIn(builtin) if self.mitigations.is_empty() => {
                return Ok((filter_for(*builtin, bounding, architectures)?, Origin::BuiltIn));
            }
            Source::BuiltIn(builtin) => filter_for(*builtin, bounding, &[])?.as_ref().clone(),
            Source::Own(file) => file.resolve(bounding)?,
        };
        for mitigation in &self.mitigations {
            left = left.stricter(&mitigation.filter().with_flags_of(&left));
        }
        // Last, so that a call of another architecture that stands for one that was taken is taken as well.
        Ok((Arc::new(also_here(left, architectures)?.without_the_impossible()), Origin::Given))
    }

    /// The profile's own file.
    pub(crate) fn file(&self) -> Result<&ProfileFile, ProfileError> {
        match &self.source {
            Source::BuiltIn(builtin) => builtin.file(),
            Source::Own(file) => Ok(file),
        }
    }

    /// Whether it is the same profile with at least the same mitigations.
    fn includes(&self, other: &Self) -> bool {
        let same = match (&self.source, &other.source) {
            (Source::BuiltIn(one), Source::BuiltIn(another)) => one == another,
            (Source::Own(one), Source::Own(another)) => Arc::ptr_eq(one, another),
            _ => false,
        };
        let has = |wanted: &Arc<Mitigation>| self.mitigations.iter().any(|known| Arc::ptr_eq(known, wanted));
        same && other.mitigations.iter().all(has)
    }

    /// The first system call of which this profile lets something run, or run unseen, that `other` does not, with whatever
    /// capabilities, or a flag that is looser; `None` if it is at least as strict. Two answers that do not let a call run are equally strict, but for those that
    /// end the process.
    ///
    /// # Errors
    ///
    /// A broken profile file.
    pub fn looser_than(&self, other: &Self) -> Result<Option<String>, ProfileError> {
        if self.includes(other) {
            return Ok(None);
        }
        if let Some(flag) = looser_flag(self.file()?.flags.as_ref(), other.file()?.flags.as_ref()) {
            return Ok(Some(flag.to_owned()));
        }
        let (ours, theirs) = (Indexed::of(self)?, Indexed::of(other)?);
        if ours.default.strictness() < theirs.default.strictness() {
            return Ok(Some("calls that it does not name".to_owned()));
        }
        let names: BTreeSet<&str> = ours.names().chain(theirs.names()).collect();
        Ok(names.into_iter().find(|name| ours.is_looser_at(&theirs, name)).map(str::to_owned))
    }
}

/// A flag that is missing, or that switches more off. Without any list the runtime decides about the mitigation, and runc leaves it off.
fn looser_flag(ours: Option<&BTreeSet<Flag>>, theirs: Option<&BTreeSet<Flag>>) -> Option<&'static str> {
    let logs = |flags: Option<&BTreeSet<Flag>>| flags.is_some_and(|flags| flags.contains(&Flag::Log));
    let unmitigated =
        |flags: Option<&BTreeSet<Flag>>| flags.map_or(1, |flags| 2 * u8::from(flags.contains(&Flag::SpecAllow)));
    if logs(theirs) && !logs(ours) {
        return Some("SECCOMP_FILTER_FLAG_LOG is missing");
    }
    (unmitigated(ours) > unmitigated(theirs)).then_some("SECCOMP_FILTER_FLAG_SPEC_ALLOW")
}

/// Capabilities that the entries of one call may depend on, so that every combination can be looked at.
const MAX_GATES: usize = 6;

/// A profile's entries by the calls that they name.
pub(crate) struct Indexed<'a> {
    default: Verdict,
    entries: BTreeMap<&'a str, Vec<&'a ReadEntry>>,
    /// Those of each mitigation.
    mitigations: Vec<BTreeMap<&'a str, Vec<&'a ReadEntry>>>,
}

impl<'a> Indexed<'a> {
    pub(crate) fn of(profile: &'a SeccompProfile) -> Result<Self, ProfileError> {
        let file = profile.file()?;
        let mitigations = profile.mitigations.iter().map(|mitigation| by_name(mitigation.entries())).collect();
        Ok(Self { default: file.default()?, entries: by_name(&file.entries), mitigations })
    }

    pub(crate) fn default(&self) -> Verdict {
        self.default
    }

    /// The calls that some entry names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.keys().chain(self.mitigations.iter().flat_map(BTreeMap::keys)).copied()
    }

    /// The verdicts on one call. One that only another architecture has, and that no entry names, is judged by what it stands for.
    pub(crate) fn pieces(&self, name: &str, bounding: &Capabilities) -> Pieces {
        let meant = counterpart::meant_by(name).filter(|_| !self.names_it(name));
        meant.map_or_else(|| self.own_pieces(name, bounding), |meant| Pieces::Whole(self.of_all(meant, bounding)))
    }

    fn of_all(&self, meant: &[&str], bounding: &Capabilities) -> Verdict {
        let verdicts = meant.iter().map(|name| match self.own_pieces(name, bounding) {
            Pieces::Whole(verdict) => Some(verdict),
            Pieces::Parts(_) => None,
        });
        common(verdicts, self.default)
    }

    fn names_it(&self, name: &str) -> bool {
        self.entries.contains_key(name) || self.mitigations.iter().any(|entries| entries.contains_key(name))
    }

    fn own_pieces(&self, name: &str, bounding: &Capabilities) -> Pieces {
        let own = pieces(self.entries.get(name), bounding, self.default);
        let taken = self.mitigations.iter().filter_map(|entries| entries.get(name));
        taken.fold(own, |left, entries| left.stricter(&pieces(Some(entries), bounding, Verdict::Allow)))
    }

    /// The entries that name a call, those of mitigations first.
    pub(crate) fn entries(&self, name: &str) -> impl Iterator<Item = &'a ReadEntry> {
        let taken = self.mitigations.iter().filter_map(|entries| entries.get(name));
        taken.chain(self.entries.get(name)).flatten().copied().collect::<Vec<_>>().into_iter()
    }

    /// The capabilities on which the verdicts on one call depend.
    fn gates(&self, name: &str) -> Capabilities {
        let meant = counterpart::meant_by(name).into_iter().flatten().copied().chain([name]);
        let entries = meant.filter_map(|name| self.entries.get(name)).flatten();
        entries.flat_map(|entry| entry.with.iter().chain(&entry.without)).copied().collect()
    }

    fn is_looser_at(&self, other: &Self, name: &str) -> bool {
        let gates: Vec<Capability> = self.gates(name).union(&other.gates(name)).copied().collect();
        if gates.len() > MAX_GATES {
            return true;
        }
        (0..1_usize << gates.len()).any(|chosen| {
            let held = gates.iter().enumerate().filter(|(at, _)| chosen & (1 << at) != 0);
            let bounding: Capabilities = held.map(|(_, capability)| *capability).collect();
            let (ours, theirs) = (self.pieces(name, &bounding), other.pieces(name, &bounding));
            ours.each().any(|ours| {
                let looser = |theirs: &crate::filter::Piece| ours.verdict.strictness() < theirs.verdict.strictness();
                // Too many pieces to say: then they are taken to meet.
                let meet = |theirs: crate::filter::Piece| {
                    ours.region.intersect(&theirs.region).map_or(true, |met| !met.is_empty())
                };
                theirs.each().filter(looser).any(meet)
            })
        })
    }
}

fn by_name(entries: &[ReadEntry]) -> BTreeMap<&str, Vec<&ReadEntry>> {
    let mut found: BTreeMap<&str, Vec<&ReadEntry>> = BTreeMap::new();
    for (name, entry) in entries.iter().flat_map(|entry| entry.names.iter().map(move |name| (name, entry))) {
        found.entry(name).or_default().push(entry);
    }
    found
}

fn pieces(entries: Option<&Vec<&ReadEntry>>, bounding: &Capabilities, default: Verdict) -> Pieces {
    let counting = entries.into_iter().flatten().filter(|entry| entry.counts(bounding));
    pieces_of(counting.map(|entry| (entry.verdict, entry.regions.as_slice())), default)
}
