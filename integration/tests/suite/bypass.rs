//! The bypass suite: every known way around an isolation policy, tried for real from where a pod's author, a node plugin or a caller of
//! containerd stands. Each is refused or comes to nothing under palisade, and plain runc beside it shows that the way is there.
//!
//! The table is the entries of the submodules; `docs/bypasses.md` and the count in the README are kept equal to it.

mod binds;
pub(crate) mod container;
mod devices;
mod document;
mod exec;
mod filters;
mod kernel;
mod mounts;
mod namespaces;
mod open;
mod page;
mod pods;
mod process;
mod race;
mod requests;
mod runtime;
mod seen;
mod settings;
mod streams;
mod untested;
mod updates;
mod ways;

use std::sync::atomic::{AtomicUsize, Ordering};

use libtest_mimic::{Failed, Trial};
use palisade_integration::Failure;
use palisade_integration::containerd::Runtime;

use crate::support::{Check, World, trial};
pub(crate) use ways::Way;

/// One way around the policy.
pub(crate) struct Bypass {
    id: &'static str,
    /// The entry of the contract's catalogue (§6), the CVE or the control that it comes from.
    source: &'static str,
    what: &'static str,
    way: Way,
    stop: Stop,
    control: Control,
}

/// What stops it under palisade.
#[derive(Clone, Copy)]
pub(crate) enum Stop {
    /// The request is refused by this rule.
    Rule(&'static str),
    /// The request is carried out, or fails, without what was asked for, thanks to this.
    Means(&'static str),
}

/// The negative control: plain runc, asked for the same.
#[derive(Clone, Copy)]
pub(crate) enum Control {
    /// It gives what is asked for.
    Through,
    /// It stops it as well, for this reason: the entry guards against a regression only.
    StopsToo(&'static str),
    /// It is not asked, for this reason.
    Untried(&'static str),
}

/// What one way met under one runtime.
pub(crate) enum Met {
    Refused(Failure),
    /// Carried out without the power; in words what there was instead.
    Powerless(String),
    Through,
    /// This kernel was built without it, so that nobody can be shown to reach it here. Of controls only.
    NoFeature,
}

pub(crate) const fn refused(
    id: &'static str,
    source: &'static str,
    what: &'static str,
    way: Way,
    rule: &'static str,
) -> Bypass {
    Bypass { id, source, what, way, stop: Stop::Rule(rule), control: Control::Through }
}

pub(crate) const fn powerless(
    id: &'static str,
    source: &'static str,
    what: &'static str,
    way: Way,
    means: &'static str,
) -> Bypass {
    Bypass { id, source, what, way, stop: Stop::Means(means), control: Control::Through }
}

impl Bypass {
    /// runc is not asked for it.
    const fn untried(self, why: &'static str) -> Self {
        Self { control: Control::Untried(why), ..self }
    }

    /// runc stops it as well.
    const fn stops_too(self, why: &'static str) -> Self {
        Self { control: Control::StopsToo(why), ..self }
    }
}

/// The table, in the order of the page.
const TABLES: &[&[Bypass]] = &[
    kernel::ENTRIES,
    process::ENTRIES,
    exec::ENTRIES,
    namespaces::ENTRIES,
    devices::ENTRIES,
    runtime::ENTRIES,
    filters::ENTRIES,
    settings::ENTRIES,
    binds::ENTRIES,
    mounts::ENTRIES,
    document::ENTRIES,
    updates::ENTRIES,
    requests::ENTRIES,
    streams::ENTRIES,
    pods::ENTRIES,
];

fn entries() -> impl Iterator<Item = &'static Bypass> {
    TABLES.iter().copied().flatten()
}

static TRIED: AtomicUsize = AtomicUsize::new(0);
static STOPPED: AtomicUsize = AtomicUsize::new(0);
static THROUGH_PLAIN: AtomicUsize = AtomicUsize::new(0);
static THROUGH_PRIVILEGED: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    let each = entries().map(|entry| Trial::test(format!("bypass: {}", entry.id), move || is_stopped(world, entry)));
    // Not silently: the page lists them with the reason.
    let gaps = open::ENTRIES.iter().map(|(entry, _)| {
        Trial::test(format!("bypass: known gap: {}", entry.id), move || is_stopped(world, entry))
            .with_ignored_flag(true)
    });
    each.chain(gaps)
        .chain([
            trial(world, "bypass: the page and the README say what the table says", |_| page::is_up_to_date()),
            trial(world, "bypass: each entry has an id of its own", |_| ids_differ()),
        ])
        .collect()
}

/// The closing line, where entries were tried.
pub(crate) fn summary() -> Option<String> {
    let counts = [&TRIED, &STOPPED, &THROUGH_PLAIN, &THROUGH_PRIVILEGED];
    let [tried, stopped, plain, privileged] = counts.map(|count| count.load(Ordering::Relaxed));
    let control = format!("plain runc lets {plain} through, and {privileged} more in a privileged container");
    (tried > 0).then(|| format!("bypasses: {tried} tried, {stopped} stopped; {control}"))
}

fn is_stopped(world: &World, entry: &Bypass) -> Check {
    TRIED.fetch_add(1, Ordering::Relaxed);
    as_expected(world, entry, entry.way.meet(world, Runtime::Palisade)?)?;
    STOPPED.fetch_add(1, Ordering::Relaxed);
    let wanted = match entry.control {
        Control::Untried(_) => return Ok(()),
        Control::Through => true,
        Control::StopsToo(_) => false,
    };
    let through = match entry.way.meet_control(world)? {
        Met::Through => true,
        Met::NoFeature => return Ok(()),
        Met::Refused(failure) if wanted => return Err(format!("control: runc refuses it too: {failure}").into()),
        Met::Powerless(seen) if wanted => return Err(format!("control: nothing of it under runc: {seen}").into()),
        Met::Refused(_) | Met::Powerless(_) => false,
    };
    expect_eq!(through, wanted, "control: whether runc lets it through");
    let count = if entry.way.needs_privilege() { &THROUGH_PRIVILEGED } else { &THROUGH_PLAIN };
    count.fetch_add(usize::from(through), Ordering::Relaxed);
    Ok(())
}

fn as_expected(world: &World, entry: &Bypass, met: Met) -> Check {
    match (entry.stop, met) {
        (_, Met::Through) => Err("it gets through".into()),
        (_, Met::NoFeature) => Err("only controls may lack a feature".into()),
        (Stop::Rule(rule), Met::Refused(failure)) => world.expect_refusal(&failure, rule),
        (Stop::Rule(rule), Met::Powerless(seen)) => Err(Failed::from(format!("not refused by {rule}: {seen}"))),
        (Stop::Means(_), Met::Refused(failure)) => Err(Failed::from(format!("refused, not without power: {failure}"))),
        (Stop::Means(_), Met::Powerless(_)) => Ok(()),
    }
}

fn ids_differ() -> Check {
    let mut ids: Vec<_> = entries().chain(open::ENTRIES.iter().map(|(entry, _)| entry)).map(|entry| entry.id).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    expect_eq!(ids.len(), all, "number of different ids");
    Ok(())
}
