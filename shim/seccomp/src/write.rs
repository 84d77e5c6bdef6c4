//! From regions to OCI entries with one meaning for every runtime.

use std::collections::BTreeMap;

use oci_spec::OciSpecError;
use oci_spec::runtime::{LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator, LinuxSyscall};

use crate::argument::ArgumentSet;
use crate::filter::{Piece, Pieces};
use crate::region::{ARGUMENTS, Region};
use crate::verdict::{EPERM, Verdict};

/// How many entries one system call may be written as.
pub(crate) const MAX_RULES: usize = 96;

/// A comparison of one argument, in the order that entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Comparison {
    index: usize,
    operator: Operator,
    /// The mask, if the operator is [`Operator::MaskedEqual`].
    value: u64,
}

/// The operators that are enough to write any set, in the order that entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operator {
    Equal,
    AtMost,
    AtLeast,
    MaskedEqual(u64),
}

/// What makes two system calls share an entry: a verdict, and the conditions under which it is given.
pub(crate) type Rule = (Verdict, Vec<Comparison>);

/// The entries that say what the pieces say, system calls with equal rules together.
pub(crate) fn entries(default: Verdict, syscalls: &[(&str, Pieces)]) -> Result<Vec<LinuxSyscall>, OciSpecError> {
    let mut names_by_rule: BTreeMap<Rule, Vec<String>> = BTreeMap::new();
    for (name, pieces) in syscalls {
        for rule in rules(pieces, default) {
            names_by_rule.entry(rule).or_default().push((*name).to_owned());
        }
    }
    names_by_rule.into_iter().map(|(rule, names)| entry(rule, names)).collect()
}

/// The rules of one system call, narrowed to [`MAX_RULES`]: first the rules that let calls run whose argument does not
/// fit 32 bits are left out, then all calls are stopped.
pub(crate) fn rules(pieces: &Pieces, default: Verdict) -> Vec<Rule> {
    let always = |verdict| if verdict == default { Vec::new() } else { vec![(verdict, Vec::new())] };
    if let Pieces::Whole(verdict) = pieces {
        return always(*verdict);
    }
    let exact = spell(pieces.each(), default);
    if let Some(rules) = exact {
        return rules;
    }
    if !default.runs() {
        let narrowed = pieces.each().filter(|piece| !piece.verdict.runs() || fits_32_bits(&piece.region));
        if let Some(rules) = spell(narrowed, default) {
            return rules;
        }
    }
    let strictest = pieces.each().map(|piece| piece.verdict).filter(|verdict| !verdict.runs()).max();
    always(strictest.unwrap_or(Verdict::Errno(EPERM)))
}

/// The calls that a rule decides about, as they are read.
pub(crate) fn region((_, conditions): &Rule) -> Region {
    conditions.iter().fold(Region::ALL, |region, comparison| {
        let value = comparison.value;
        let set = match comparison.operator {
            Operator::Equal => ArgumentSet::masked(u64::MAX, value),
            Operator::AtMost => ArgumentSet::Between { low: 0, high: value },
            Operator::AtLeast => ArgumentSet::Between { low: value, high: u64::MAX },
            Operator::MaskedEqual(wanted) => ArgumentSet::masked(value, wanted),
        };
        region.with(comparison.index, set)
    })
}

fn fits_32_bits(region: &Region) -> bool {
    region.arguments().iter().all(|set| set.bounds().0 <= u64::from(u32::MAX))
}

fn spell(pieces: impl Iterator<Item = Piece>, default: Verdict) -> Option<Vec<Rule>> {
    let mut rules = Vec::new();
    for piece in pieces.filter(|piece| piece.verdict != default) {
        rules.extend(conjunctions(&piece.region)?.into_iter().map(|conditions| (piece.verdict, conditions)));
        if rules.len() > MAX_RULES {
            return None;
        }
    }
    Some(rules)
}

/// The region as alternatives of conjunctions, each with at most one comparison an argument.
fn conjunctions(region: &Region) -> Option<Vec<Vec<Comparison>>> {
    let mut found: Vec<Vec<Comparison>> = vec![Vec::new()];
    for (index, set) in region.arguments().iter().enumerate().take(ARGUMENTS) {
        let alternatives = comparisons(index, *set);
        if alternatives.is_empty() {
            continue;
        }
        if found.len().saturating_mul(alternatives.len()) > MAX_RULES {
            return None;
        }
        found = found.iter().flat_map(|so_far| alternatives.iter().map(|next| with(so_far, *next))).collect();
    }
    Some(found)
}

fn with(conditions: &[Comparison], next: Comparison) -> Vec<Comparison> {
    conditions.iter().copied().chain([next]).collect()
}

/// Alternatives whose union is the set; none for the set of all values.
fn comparisons(index: usize, set: ArgumentSet) -> Vec<Comparison> {
    let one = |operator, value| vec![Comparison { index, operator, value }];
    match set {
        ArgumentSet::ALL => Vec::new(),
        ArgumentSet::Between { low, high } if low == high => one(Operator::Equal, low),
        ArgumentSet::Between { low: 0, high } => one(Operator::AtMost, high),
        ArgumentSet::Between { low, high: u64::MAX } => one(Operator::AtLeast, low),
        _ => set.bits().into_iter().map(|(mask, value)| masked(index, mask, value)).collect(),
    }
}

fn masked(index: usize, mask: u64, value: u64) -> Comparison {
    Comparison { index, operator: Operator::MaskedEqual(value), value: mask }
}

fn entry((verdict, conditions): Rule, names: Vec<String>) -> Result<LinuxSyscall, OciSpecError> {
    let (action, errno) = verdict.write();
    let mut written = LinuxSyscall::default();
    written.set_names(names);
    written.set_action(action);
    written.set_errno_ret(errno);
    if !conditions.is_empty() {
        written.set_args(Some(conditions.into_iter().map(argument).collect::<Result<_, _>>()?));
    }
    Ok(written)
}

fn argument(comparison: Comparison) -> Result<LinuxSeccompArg, OciSpecError> {
    let argument = LinuxSeccompArgBuilder::default().index(comparison.index).value(comparison.value);
    let argument = match comparison.operator {
        Operator::Equal => argument.op(LinuxSeccompOperator::ScmpCmpEq),
        Operator::AtMost => argument.op(LinuxSeccompOperator::ScmpCmpLe),
        Operator::AtLeast => argument.op(LinuxSeccompOperator::ScmpCmpGe),
        Operator::MaskedEqual(value) => argument.op(LinuxSeccompOperator::ScmpCmpMaskedEq).value_two(value),
    };
    argument.build()
}
