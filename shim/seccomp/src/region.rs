//! Regions of the six-dimensional space of a call's arguments.

use crate::argument::ArgumentSet;

/// How many arguments a system call has.
pub(crate) const ARGUMENTS: usize = 6;

/// One set for each argument; a call is inside if every argument is in its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Region([ArgumentSet; ARGUMENTS]);

/// Working out a profile's regions would take more pieces than this crate is ready to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyPieces;

/// How many pieces an intermediate result may have. The shipped profiles stay below 64.
const MAX_PIECES: usize = 128;

impl Region {
    /// Every call.
    pub(crate) const ALL: Self = Self([ArgumentSet::ALL; ARGUMENTS]);

    /// The calls whose argument `index` is in `set`, or `None` for an index above 5.
    pub(crate) fn of_argument(index: usize, set: ArgumentSet) -> Option<Self> {
        let mut sets = [ArgumentSet::ALL; ARGUMENTS];
        *sets.get_mut(index)? = set;
        Some(Self(sets))
    }

    /// The set of each argument.
    pub(crate) fn arguments(&self) -> &[ArgumentSet; ARGUMENTS] {
        &self.0
    }

    /// Whether an argument of this index or a later one is not free.
    pub(crate) fn restricts_from(&self, index: usize) -> bool {
        self.0.iter().skip(index).any(|set| *set != ArgumentSet::ALL)
    }

    /// Whether a call with these arguments is inside.
    pub(crate) fn holds(&self, arguments: [u64; ARGUMENTS]) -> bool {
        self.0.iter().zip(arguments).all(|(set, argument)| set.holds(argument))
    }

    /// Regions whose union is exactly what is in both.
    pub(crate) fn intersect(&self, other: &Self) -> Result<Vec<Self>, TooManyPieces> {
        match (*self, *other) {
            (Self::ALL, region) | (region, Self::ALL) => return Ok(vec![region]),
            _ => {}
        }
        let mut found = vec![Self::ALL];
        for (index, (ours, theirs)) in self.0.iter().zip(other.0).enumerate() {
            // Most arguments are free on one side.
            if let (ArgumentSet::ALL, set) | (set, ArgumentSet::ALL) = (*ours, theirs) {
                found.iter_mut().for_each(|region| *region = region.with(index, set));
                continue;
            }
            let sets = ours.intersect(theirs);
            found = bounded(found.iter().flat_map(|region| sets.iter().map(|set| region.with(index, *set))))?;
        }
        Ok(found)
    }

    /// Regions whose union is exactly what is in this one and not in `other`.
    fn without(&self, other: &Self) -> Vec<Self> {
        if *other == Self::ALL {
            return Vec::new();
        }
        // An argument that is free in `other` takes nothing away.
        let bound = || self.0.iter().zip(other.0).enumerate().filter(|(_, (_, theirs))| *theirs != ArgumentSet::ALL);
        if bound().any(|(_, (ours, theirs))| *ours != ArgumentSet::ALL && ours.intersect(theirs).is_empty()) {
            return vec![*self];
        }
        let mut found = Vec::new();
        for (index, (ours, theirs)) in bound() {
            let left = theirs.complement().into_iter().flat_map(|outside| ours.intersect(outside));
            found.extend(left.map(|set| self.with(index, set)));
        }
        found
    }

    /// The same with another set for one argument.
    pub(crate) fn with(&self, index: usize, set: ArgumentSet) -> Self {
        let mut sets = self.0;
        if let Some(place) = sets.get_mut(index) {
            *place = set;
        }
        Self(sets)
    }

    /// How the two can be told in fewer regions. One pass: this is asked of every pair of a profile's pieces.
    fn relation(&self, other: &Self) -> Relation {
        let (mut covers, mut covered, mut differing) = (true, true, Differing::Nowhere);
        for (index, (ours, theirs)) in self.0.iter().zip(other.0).enumerate().filter(|(_, (a, b))| **a != *b) {
            differing = match differing {
                Differing::Nowhere => Differing::In(index),
                _ => Differing::InMany,
            };
            covers = covers && ours.covers(theirs);
            covered = covered && theirs.covers(*ours);
            if differing == Differing::InMany && !covers && !covered {
                return Relation::None;
            }
        }
        match differing {
            _ if covers => Relation::Covers,
            _ if covered => Relation::Covered,
            Differing::In(index) => self.joined(other, index).map_or(Relation::None, Relation::Union),
            _ => Relation::None,
        }
    }

    /// The union of two regions that differ in this argument alone, if it is one region.
    fn joined(&self, other: &Self, index: usize) -> Option<Self> {
        let union = self.0.get(index)?.join(*other.0.get(index)?)?;
        Some(self.with(index, union))
    }
}

/// How two regions can be told in fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// The first holds all of the second.
    Covers,
    /// The second holds all of the first, and more.
    Covered,
    /// Together they are this region: all arguments but one are equal.
    Union(Region),
    /// Not.
    None,
}

/// The arguments in which two regions are not the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Differing {
    Nowhere,
    In(usize),
    InMany,
}

/// What is in one of `regions` and in none of `taken`.
pub(crate) fn subtract(regions: Vec<Region>, taken: &[Region]) -> Result<Vec<Region>, TooManyPieces> {
    let mut left = regions;
    for region in taken {
        left = simplify(bounded(left.iter().flat_map(|piece| piece.without(region)))?);
    }
    Ok(left)
}

/// What is in one of `a` and in one of `b`.
pub(crate) fn intersect(a: &[Region], b: &[Region]) -> Result<Vec<Region>, TooManyPieces> {
    let mut found = Vec::new();
    for (ours, theirs) in a.iter().flat_map(|ours| b.iter().map(move |theirs| (ours, theirs))) {
        found.extend(ours.intersect(theirs)?);
        if found.len() > MAX_PIECES {
            found = bounded(simplify(found).into_iter())?;
        }
    }
    Ok(simplify(found))
}

/// The same union in fewer regions, in a fixed order.
pub(crate) fn simplify(mut regions: Vec<Region>) -> Vec<Region> {
    if regions.len() < 2 {
        return regions;
    }
    regions.sort_unstable();
    regions.dedup();
    let mut kept: Vec<Region> = Vec::with_capacity(regions.len());
    for region in regions {
        absorb(&mut kept, region);
    }
    kept.sort_unstable();
    kept
}

fn absorb(kept: &mut Vec<Region>, region: Region) {
    let mut union = None;
    let mut at: usize = 0;
    while let Some(other) = kept.get(at) {
        match other.relation(&region) {
            Relation::Covers => return,
            Relation::Covered => {
                kept.remove(at);
                continue;
            }
            Relation::Union(joined) if union.is_none() => union = Some((at, joined)),
            Relation::Union(_) | Relation::None => {}
        }
        at = at.saturating_add(1);
    }
    match union {
        Some((at, joined)) => {
            kept.swap_remove(at);
            absorb(kept, joined);
        }
        None => kept.push(region),
    }
}

fn bounded(regions: impl Iterator<Item = Region>) -> Result<Vec<Region>, TooManyPieces> {
    let found: Vec<Region> = regions.take(MAX_PIECES.saturating_add(1)).collect();
    if found.len() > MAX_PIECES { Err(TooManyPieces) } else { Ok(found) }
}
