//! From the OCI profile to regions, refusing what is not understood.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator};

use crate::architecture::Architecture;
use crate::argument::ArgumentSet;
use crate::filter::Flag;
use crate::refused::RefusedProfile;
use crate::region::{self, ARGUMENTS, Region, TooManyPieces};
use crate::verdict::Verdict;

/// The entries of a profile, and which of them name each system call.
#[derive(Default)]
pub(crate) struct Rules<'a> {
    entries: Vec<(Verdict, Vec<Region>)>,
    /// (name, index of the entry).
    named: Vec<(&'a str, usize)>,
}

impl<'a> Rules<'a> {
    /// Adds an entry that decides the calls in `regions`.
    pub(crate) fn add(&mut self, verdict: Verdict, regions: Vec<Region>, names: impl Iterator<Item = &'a str>) {
        let at = self.entries.len();
        self.entries.push((verdict, regions));
        self.named.extend(names.map(|name| (name, at)));
    }

    /// Each name, in order, with what the entries that name it decide.
    pub(crate) fn by_name(
        &mut self,
    ) -> impl Iterator<Item = (&'a str, impl Iterator<Item = (Verdict, &[Region])> + Clone)> {
        self.named.sort_unstable();
        let entries = &self.entries;
        self.named.chunk_by(|(one, _), (next, _)| one == next).filter_map(move |named| {
            let (name, _) = named.first()?;
            let decided = named.iter().filter_map(|(_, at)| entries.get(*at));
            Some((*name, decided.map(|(verdict, regions)| (*verdict, regions.as_slice()))))
        })
    }
}

/// How many entries a profile may have. Docker's default has about 60, a profile with one entry a call about 400.
const MAX_ENTRIES: usize = 2048;

/// How many names all entries together may have.
const MAX_NAMES: usize = 8192;

pub(crate) fn refuse_listener(profile: &LinuxSeccomp) -> Result<(), RefusedProfile> {
    let keys = [
        ("/listenerPath", profile.listener_path().is_some()),
        ("/listenerMetadata", profile.listener_metadata().is_some()),
    ];
    match keys.into_iter().find(|(_, present)| *present) {
        Some((place, _)) => Err(RefusedProfile::Listener { place: place.to_owned() }),
        None => Ok(()),
    }
}

/// The architectures beside the native one, which always counts. Of one that no machine with filters runs there are no calls.
pub(crate) fn architectures(profile: &LinuxSeccomp) -> BTreeSet<Architecture> {
    profile.architectures().iter().flatten().filter_map(|arch| Architecture::of(*arch)).collect()
}

pub(crate) fn flags(profile: &LinuxSeccomp) -> Option<BTreeSet<Flag>> {
    let read = |flag: &LinuxSeccompFilterFlag| match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => Some(Flag::Log),
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => Some(Flag::SpecAllow),
        // The filter is loaded by the one thread that becomes the container: there is nothing to synchronise.
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => None,
        // It is about waiting for a listener, and a profile may bring none.
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => None,
    };
    profile.flags().as_ref().map(|named| named.iter().filter_map(read).collect())
}

/// JSON pointer of an entry, or of a key of it, written only where it is told.
struct Place {
    at: usize,
    key: &'static str,
}

impl Display for Place {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "/syscalls/{}{}", self.at, self.key)
    }
}

pub(crate) fn rules(profile: &LinuxSeccomp) -> Result<Rules<'_>, RefusedProfile> {
    let entries = profile.syscalls().as_deref().unwrap_or_default();
    let names = entries.iter().map(|entry| entry.names().len()).sum();
    for (count, max) in [(entries.len(), MAX_ENTRIES), (names, MAX_NAMES)] {
        if count > max {
            return Err(RefusedProfile::TooLarge { place: "/syscalls".to_owned(), count, max });
        }
    }
    let mut rules = Rules::default();
    for (at, entry) in entries.iter().enumerate() {
        let place = |key| Place { at, key };
        if entry.names().is_empty() {
            return Err(RefusedProfile::NoNames { place: place("/names").to_string() });
        }
        let verdict = Verdict::read(entry.action(), entry.errno_ret(), &place("/action"))?;
        let regions = regions(entry.args().as_deref().unwrap_or_default(), verdict, &place(""))?;
        rules.add(verdict, regions, entry.names().iter().map(String::as_str));
    }
    Ok(rules)
}

/// The union of regions in which an entry with these conditions decides.
pub(crate) fn regions(
    args: &[LinuxSeccompArg],
    verdict: Verdict,
    place: &dyn Display,
) -> Result<Vec<Region>, RefusedProfile> {
    let mut conditions = Vec::with_capacity(args.len());
    for (at, arg) in args.iter().enumerate() {
        let index = arg.index();
        let alternatives: Option<Vec<Region>> =
            comparison(arg).into_iter().map(|set| Region::of_argument(index, set)).collect();
        let refused = || RefusedProfile::ArgumentIndex { place: format!("{place}/args/{at}"), index };
        conditions.push(alternatives.ok_or_else(refused)?);
    }
    let indices: BTreeSet<usize> = args.iter().map(LinuxSeccompArg::index).collect();
    let repeated = indices.len() < args.len();
    if repeated && !verdict.runs() {
        return Ok(conditions.concat());
    }
    let otherwise = if verdict.runs() { Vec::new() } else { vec![Region::ALL] };
    Ok(all_of(&conditions).unwrap_or(otherwise))
}

/// The calls that meet every condition.
fn all_of(conditions: &[Vec<Region>]) -> Result<Vec<Region>, TooManyPieces> {
    if conditions.len() > MAX_CONDITIONS {
        return Err(TooManyPieces);
    }
    let everything = vec![Region::ALL];
    conditions.iter().try_fold(everything, |met, condition| region::intersect(&met, condition))
}

/// Two conditions on each argument: more have no use.
const MAX_CONDITIONS: usize = ARGUMENTS * 2;

/// The argument values that meet one condition.
fn comparison(arg: &LinuxSeccompArg) -> Vec<ArgumentSet> {
    let value = arg.value();
    let exactly = ArgumentSet::masked(u64::MAX, value);
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpEq => vec![exactly],
        LinuxSeccompOperator::ScmpCmpNe => exactly.complement(),
        LinuxSeccompOperator::ScmpCmpLe => vec![ArgumentSet::Between { low: 0, high: value }],
        LinuxSeccompOperator::ScmpCmpGe => vec![ArgumentSet::Between { low: value, high: u64::MAX }],
        LinuxSeccompOperator::ScmpCmpLt => ArgumentSet::Between { low: value, high: u64::MAX }.complement(),
        LinuxSeccompOperator::ScmpCmpGt => ArgumentSet::Between { low: 0, high: value }.complement(),
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            vec![ArgumentSet::masked(value, arg.value_two().unwrap_or_default())]
        }
    }
}
