//! CRI as kubelet drives it, for every behaviour that the public validation suite of CRI names.
//!
//! Each scenario acts through one runtime handler and returns what it observed. Under a profile that allows all, both ways to configure
//! palisade have to show what plain runc shows, name by name; under `restricted` the same scenario runs with what the policy left of
//! it, or is refused by the rule that is named. `docs/cri.md` is made from the table.

mod containers;
mod endings;
mod execution;
mod idempotence;
mod images;
mod kernel;
mod logs;
mod look;
mod namespaces;
mod network;
mod page;
mod paths;
mod plugins;
mod ports;
mod privileges;
mod propagation;
mod remapped;
mod resources;
mod sandboxes;
mod scenario;
mod seen;
mod stage;
mod statistics;
mod streams;
mod users;
mod volumes;

use libtest_mimic::{Failed, Trial};
use palisade_integration::containerd::Runtime;

use crate::support::{Check, World, trial};
use scenario::{Restricted, Scenario};
use seen::Seen;
use stage::{Fault, Stage};

/// The table, in the order of the page: the headings and what is under them.
const TABLE: &[(&str, &[Scenario])] = &[
    ("Pod sandboxes", sandboxes::SCENARIOS),
    ("Containers", containers::SCENARIOS),
    ("Ends of containers", endings::SCENARIOS),
    ("Idempotence", idempotence::SCENARIOS),
    ("Commands", execution::SCENARIOS),
    ("Streams", streams::SCENARIOS),
    ("Forwarded ports", ports::SCENARIOS),
    ("Logs", logs::SCENARIOS),
    ("Users and groups", users::SCENARIOS),
    ("Privileges", privileges::SCENARIOS),
    ("Namespaces", namespaces::SCENARIOS),
    ("User namespaces", remapped::SCENARIOS),
    ("Masked and read-only paths", paths::SCENARIOS),
    ("Sysctls, seccomp, AppArmor, SELinux", kernel::SCENARIOS),
    ("Volumes", volumes::SCENARIOS),
    ("Propagation", propagation::SCENARIOS),
    ("Image volumes", images::SCENARIOS),
    ("Resources", resources::SCENARIOS),
    ("Statistics", statistics::SCENARIOS),
    (PLUGINS, plugins::SCENARIOS),
    ("Network, several containers, runtime info", network::SCENARIOS),
];

/// For the phase whose profile allows all.
pub(crate) fn alike(world: &'static World) -> Vec<Trial> {
    trials(world, ALIKE, is_alike, but_plugins())
        .chain([
            trial(world, "cri: the page says what the table says", |_| page::is_up_to_date()),
            trial(world, "cri: each scenario has a name of its own", |_| names_differ()),
        ])
        .collect()
}

/// For a phase under the profile `restricted`.
pub(crate) fn restricted(world: &'static World) -> Vec<Trial> {
    trials(world, RESTRICTED, is_restricted, but_plugins()).collect()
}

/// What has a plugin registered while it runs, in a phase of its own where nothing else does: a registration while a pod is being run
/// can stop all of containerd 2.1's CRI for good, which takes a lock for reading twice (`BlockPluginSync`).
pub(crate) fn with_plugins_alike(world: &'static World) -> Vec<Trial> {
    trials(world, ALIKE, is_alike, plugins::SCENARIOS.iter()).collect()
}

/// The same under the profile `restricted`.
pub(crate) fn with_plugins_restricted(world: &'static World) -> Vec<Trial> {
    trials(world, RESTRICTED, is_restricted, plugins::SCENARIOS.iter()).collect()
}

/// What the kubelet asks for and reads of limits, under the profile `restricted` and by the handler by type, where the hierarchy or its driver
/// is another one than the machine's.
pub(crate) fn of_cgroups(world: &'static World) -> Vec<Trial> {
    const WANTED: [&str; 5] = [
        "limits of memory and processors, shares and OOM score",
        "limits are changed while it runs",
        "memory beyond the limit: OOMKilled",
        "statistics of a container",
        "statistics of a pod",
    ];
    let test: fn(&World, &Scenario) -> Check =
        |world, scenario| is_restricted_under(world, Runtime::Palisade, scenario);
    trials(world, RESTRICTED, test, scenarios().filter(|scenario| WANTED.contains(&scenario.what))).collect()
}

/// A pod with a user namespace, under the profile `restricted` and by the handler by type, where the runtime is another one than the embedded.
pub(crate) fn of_users(world: &'static World) -> Vec<Trial> {
    let test: fn(&World, &Scenario) -> Check =
        |world, scenario| is_restricted_under(world, Runtime::Palisade, scenario);
    trials(world, RESTRICTED, test, remapped::SCENARIOS.iter().take(1)).collect()
}

const PLUGINS: &str = "Plugins of NRI";
const ALIKE: &str = "cri, as runc does";
const RESTRICTED: &str = "cri, restricted";

fn but_plugins() -> impl Iterator<Item = &'static Scenario> {
    let tables = TABLE.iter().filter(|(heading, _)| *heading != PLUGINS);
    tables.flat_map(|(_, scenarios)| scenarios.iter())
}

fn trials(
    world: &'static World,
    phase: &'static str,
    test: fn(&World, &Scenario) -> Check,
    scenarios: impl Iterator<Item = &'static Scenario>,
) -> impl Iterator<Item = Trial> {
    scenarios.map(move |scenario| match scenario.needs.lacking(world) {
        None => Trial::test(format!("{phase}: {}", scenario.what), move || test(world, scenario)),
        Some(why) => {
            let name = format!("{phase}: {} (not with containerd 1.7: {why})", scenario.what);
            Trial::test(name, move || test(world, scenario)).with_ignored_flag(true)
        }
    })
}

fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    TABLE.iter().flat_map(|(_, scenarios)| scenarios.iter())
}

/// Fails unless plain runc shows what the table says, and palisade the same and all else that runc shows.
fn is_alike(world: &World, scenario: &Scenario) -> Check {
    let runc = observe(world, scenario.control, scenario)?;
    shows(&runc, scenario.shows).map_err(|failed| under(scenario.control, &failed))?;
    for &runtime in scenario.handlers() {
        let palisade = observe(world, runtime, scenario)?;
        scenario.compare(&runc, &palisade).map_err(|failed| under(runtime, &failed))?;
    }
    Ok(())
}

fn is_restricted(world: &World, scenario: &Scenario) -> Check {
    for &runtime in scenario.handlers() {
        is_restricted_under(world, runtime, scenario).map_err(|failed| under(runtime, &failed))?;
    }
    Ok(())
}

fn is_restricted_under(world: &World, runtime: Runtime, scenario: &Scenario) -> Check {
    match (&scenario.restricted, Stage::set(world, runtime)?.play(scenario.act)) {
        (_, Err(Fault::Broken(failed))) => Err(failed),
        (Restricted::Refused(rule), Err(Fault::Refused(failure))) => world.expect_refusal(&failure, rule),
        (Restricted::Refused(rule), Ok(seen)) => Err(format!("not refused by {rule}: {seen}").into()),
        (_, Err(Fault::Refused(failure))) => Err(format!("refused: {failure}").into()),
        (Restricted::Same, Ok(seen)) => shows(&seen, scenario.shows),
        (Restricted::Shows(wanted), Ok(seen)) => shows(&seen, wanted),
    }
}

fn observe(world: &World, runtime: Runtime, scenario: &Scenario) -> Result<Seen, Failed> {
    Stage::set(world, runtime)?.play(scenario.act).map_err(|fault| under(runtime, &fault.into()))
}

/// Fails unless all that is wanted was observed; what else was is not looked at.
fn shows(seen: &Seen, wanted: &[(&str, &str)]) -> Check {
    expect!(!wanted.is_empty(), "nothing is wanted");
    let missed: Vec<_> = wanted.iter().filter(|(name, value)| seen.get(name) != Some(value)).collect();
    expect!(missed.is_empty(), "not seen: {missed:?}, but {seen}");
    Ok(())
}

fn under(runtime: Runtime, failed: &Failed) -> Failed {
    format!("under {}: {}", runtime.handler(), failed.message().unwrap_or_default()).into()
}

fn names_differ() -> Check {
    let mut names: Vec<_> = scenarios().map(|scenario| scenario.what).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    expect_eq!(names.len(), all, "number of different names");
    Ok(())
}
