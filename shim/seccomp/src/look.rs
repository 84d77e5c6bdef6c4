//! Profiles as an admin looks at them: what each call gets, in what two profiles differ, and which entry decides.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use oci_spec::runtime::Capabilities;

use crate::argument::ArgumentSet;
use crate::filter::Pieces;
use crate::profile::{Indexed, ProfileError, ReadEntry, SeccompProfile};
use crate::region::Region;
use crate::verdict::Verdict;

/// What one system call gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallView {
    /// Its name.
    pub syscall: String,
    /// The verdicts, each with the arguments that it is for; empty for all that are left.
    pub parts: Vec<(String, Verdict)>,
}

/// A system call of which two profiles say different things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallDifference {
    /// Its name; `None` for all calls that neither profile names.
    pub syscall: Option<String>,
    /// Arguments, and what each profile says of them.
    pub parts: Vec<(String, Verdict, Verdict)>,
}

/// What one call gets, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallDecision {
    /// The verdict.
    pub verdict: Verdict,
    /// The file and the comment of the entry that decides; `None` where no entry matches.
    pub by: Option<(String, String)>,
}

impl SeccompProfile {
    /// What happens to calls that the profile does not name.
    ///
    /// # Errors
    ///
    /// A broken profile file.
    pub fn default_verdict(&self) -> Result<Verdict, ProfileError> {
        Ok(Indexed::of(self)?.default())
    }

    /// What each call gets that the profile names, in a container with these capabilities.
    ///
    /// # Errors
    ///
    /// A broken profile file.
    pub fn calls(&self, bounding: &Capabilities) -> Result<Vec<CallView>, ProfileError> {
        let indexed = Indexed::of(self)?;
        let names: BTreeSet<&str> = indexed.names().collect();
        let default = indexed.default();
        let view =
            |name: &str| CallView { syscall: name.to_owned(), parts: parts(&indexed.pieces(name, bounding), default) };
        Ok(names.into_iter().map(view).collect())
    }

    /// In what this profile differs from `other`, in a container with these capabilities.
    ///
    /// # Errors
    ///
    /// A broken profile file.
    pub fn differences(&self, other: &Self, bounding: &Capabilities) -> Result<Vec<CallDifference>, ProfileError> {
        let (ours, theirs) = (Indexed::of(self)?, Indexed::of(other)?);
        let names: BTreeSet<&str> = ours.names().chain(theirs.names()).collect();
        let mut found = Vec::new();
        if ours.default() != theirs.default() {
            found
                .push(CallDifference { syscall: None, parts: vec![(String::new(), ours.default(), theirs.default())] });
        }
        for name in names {
            let parts = differing(&ours.pieces(name, bounding), &theirs.pieces(name, bounding));
            if !parts.is_empty() {
                found.push(CallDifference { syscall: Some(name.to_owned()), parts });
            }
        }
        Ok(found)
    }

    /// What one call gets in a container with these capabilities, and which entry decides.
    ///
    /// # Errors
    ///
    /// A broken profile file.
    pub fn decide(
        &self,
        bounding: &Capabilities,
        syscall: &str,
        arguments: [u64; 6],
    ) -> Result<CallDecision, ProfileError> {
        let indexed = Indexed::of(self)?;
        let verdict = indexed.pieces(syscall, bounding).verdict(arguments, indexed.default());
        let matches = |entry: &&ReadEntry| {
            entry.verdict == verdict
                && entry.counts(bounding)
                && entry.regions.iter().any(|region| region.holds(arguments))
        };
        let by = indexed.entries(syscall).find(matches).map(|entry| (entry.file().to_owned(), entry.comment.clone()));
        Ok(CallDecision { verdict, by })
    }
}

/// The verdicts on a call; where most arguments get the default, that comes last and without its arguments.
fn parts(pieces: &Pieces, default: Verdict) -> Vec<(String, Verdict)> {
    let mut found: Vec<(String, Verdict)> = Vec::new();
    found.extend(
        pieces.each().filter(|piece| piece.verdict != default).map(|piece| (text(&piece.region), piece.verdict)),
    );
    found.sort();
    if pieces.each().any(|piece| piece.verdict == default) {
        found.push((String::new(), default));
    }
    found
}

fn differing(ours: &Pieces, theirs: &Pieces) -> Vec<(String, Verdict, Verdict)> {
    let mut found = Vec::new();
    for (one, another) in ours.each().flat_map(|one| theirs.each().map(move |another| (one, another))) {
        if one.verdict == another.verdict {
            continue;
        }
        // Too many pieces to name: then the one of ours.
        let met = one.region.intersect(&another.region).unwrap_or_else(|_| vec![one.region]);
        found.extend(met.iter().map(|region| (text(region), one.verdict, another.verdict)));
    }
    found.sort();
    found.dedup();
    found
}

/// Arguments in words: `a0 = 0x10, a2 & 0xffffffff <= 5`. Empty for all.
fn text(region: &Region) -> String {
    let mut text = String::new();
    for (index, set) in region.arguments().iter().enumerate().filter(|(_, set)| **set != ArgumentSet::ALL) {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a String does not fail.
        let _written = write!(text, "{separator}{}", Condition { index, set: *set });
    }
    text
}

/// What is said of one argument.
struct Condition {
    index: usize,
    set: ArgumentSet,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, set } = self;
        match *set {
            ArgumentSet::Between { low, high } => write!(f, "a{index}{}", Range(low, high, u64::MAX)),
            ArgumentSet::Halves { upper: (0, u32::MAX), lower: (low, high) } => {
                write!(f, "low32(a{index}){}", Range(low.into(), high.into(), u32::MAX.into()))
            }
            ArgumentSet::Halves { upper, lower } => {
                let (upper, lower) = (half(upper), half(lower));
                write!(f, "high32(a{index}){upper}, low32(a{index}){lower}")
            }
            ArgumentSet::Masked { mask, value } => write!(f, "a{index} & {mask:#x} = {value:#x}"),
        }
    }
}

fn half((low, high): (u32, u32)) -> Range {
    Range(low.into(), high.into(), u32::MAX.into())
}

/// From, to, and the largest value that there is.
struct Range(u64, u64, u64);

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(low, high, _) if low == high => write!(f, " = {low:#x}"),
            Self(0, high, _) => write!(f, " <= {high:#x}"),
            Self(low, high, most) if high == most => write!(f, " >= {low:#x}"),
            Self(low, high, _) => write!(f, " in {low:#x}..={high:#x}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Log => f.write_str("allow, log"),
            Self::Errno(1) => f.write_str("EPERM"),
            Self::Errno(38) => f.write_str("ENOSYS"),
            Self::Errno(errno) => write!(f, "errno {errno}"),
            Self::Trap => f.write_str("SIGSYS"),
            Self::KillThread => f.write_str("kill the thread"),
            Self::KillProcess => f.write_str("kill the process"),
        }
    }
}
