//! CPU, memory and pids: defaults, ceilings, and what an update may do, as the host's cgroups have them.

use libtest_mimic::{Failed, Trial};
use palisade::cgroup::{Cgroup, LimitHits, Pressure};
use palisade_integration::bundle_spec;
use palisade_integration::cgroup::{Files, Limits, by_systemd, is_unified};
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::{Run, unique};
use palisade_integration::poll;
use palisade_integration::tasks::{CreateOptions, Tasks};
use serde_json::{Value, json};

use crate::audit;
use crate::in_force;
use crate::support::{Check, World, trial_under};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
/// The restricted profile's ceilings: bytes of memory, tasks.
const MOST_MEMORY: u64 = 64 * GIB;
const MOST_PIDS: u64 = 4_096;
const DEFAULT_MEMORY: u64 = 4 * GIB;
const DEFAULT_PIDS: u64 = 2_048;

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    let mut trials = vec![trial_under(world, Runtime::Runc, "control: runc sets no limit of its own", runc_has_none)];
    trials.extend(under_palisade(world));
    trials
}

/// The tests that hold for every runtime that the policy can name.
pub(crate) fn under_palisade(world: &'static World) -> Vec<Trial> {
    let runtime = Runtime::Palisade;
    vec![
        trial_under(world, runtime, "limits: defaults where none is asked for", defaults),
        trial_under(world, runtime, "limits: what is asked for below the ceiling stays", asked),
        trial_under(world, runtime, "limits: lowered to the ceiling", lowered),
        trial_under(world, runtime, "limits: forks end at the pids limit", forks_end),
        trial_under(world, runtime, "limits: memory beyond the limit ends the process", memory_ends),
        trial_under(world, runtime, "limits: time that is waited for a processor is counted", throttled),
        trial_under(world, runtime, "update: lowers", update_lowers),
        trial_under(world, runtime, "update: cannot raise beyond the ceiling or remove", update_cannot_raise),
        trial_under(world, runtime, "update: cannot open devices or write other cgroup files", update_devices),
    ]
}

/// A started container that sleeps, with these `linux.resources` beside containerd's.
pub(crate) struct Sleeper<'a> {
    tasks: &'a Tasks,
    pub(crate) id: String,
    pub(crate) pid: u32,
}

impl<'a> Sleeper<'a> {
    pub(crate) fn start(world: &World, tasks: &'a Tasks, runtime: Runtime, resources: &Value) -> Result<Self, Failed> {
        let id = unique("limits");
        let mut spec = bundle_spec::spec(world.containerd.tag(), &id, &["/probe", "sleep"]);
        spec["linux"]["cgroupsPath"] = json!(in_force::cgroups_path(world, &id));
        if let (Some(all), Some(more)) = (spec["linux"]["resources"].as_object_mut(), resources.as_object()) {
            all.extend(more.clone());
        }
        let mounts = tasks.make_container(&id, &world.containerd.runtime_name(runtime), &spec)?;
        let pid = tasks.create(&id, mounts, CreateOptions::default())?;
        tasks.start(&id, "")?;
        Ok(Self { tasks, id, pid })
    }

    fn limits(&self) -> Result<Limits, Failed> {
        Ok(Limits::of(self.pid)?)
    }

    pub(crate) fn end(self) -> Check {
        self.tasks.kill(&self.id, "", 9)?;
        self.tasks.wait(&self.id, "")?;
        self.tasks.delete(&self.id)?;
        Ok(self.tasks.remove_container(&self.id)?)
    }
}

fn runc_has_none(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let sleeper = Sleeper::start(world, &tasks, runtime, &json!({}))?;
    let limits = sleeper.limits()?;
    expect_eq!((limits.memory, limits.pids, limits.cpu_per_second), (None, None, None), "limits");
    sleeper.end()
}

fn defaults(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let sleeper = Sleeper::start(world, &tasks, runtime, &json!({}))?;
    let limits = sleeper.limits()?;
    expect_eq!(limits.memory, Some(DEFAULT_MEMORY), "bytes of memory");
    expect_eq!(limits.pids, Some(DEFAULT_PIDS), "pids");
    expect!(
        limits.cpu_per_second.is_some_and(|microseconds| microseconds <= 8_000_000),
        "cpu {:?}",
        limits.cpu_per_second
    );
    expect_no_swap(limits)?;
    sleeper.end()
}

/// On v1 the limit of memory and swap together is that of memory, on v2 that of swap is none at all, where the kernel accounts swap.
fn expect_no_swap(limits: Limits) -> Check {
    let wanted = if palisade_integration::cgroup::is_unified() { Some(0) } else { limits.memory };
    expect!(limits.swap.is_none() || limits.swap == wanted, "swap {:?} with memory {:?}", limits.swap, limits.memory);
    Ok(())
}

fn asked(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let resources = json!({ "memory": { "limit": 96 * MIB }, "cpu": { "quota": 25_000, "period": 50_000 }, "pids": { "limit": 50 } });
    let sleeper = Sleeper::start(world, &tasks, runtime, &resources)?;
    let limits = sleeper.limits()?;
    expect_eq!(
        (limits.memory, limits.pids, limits.cpu_per_second),
        (Some(96 * MIB), Some(50), Some(500_000)),
        "limits"
    );
    expect_no_swap(limits)?;
    sleeper.end()
}

fn lowered(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let resources = json!({ "memory": { "limit": 1_u64 << 40, "swap": 2_u64 << 40 }, "cpu": { "quota": 100_000_000, "period": 100_000 }, "pids": { "limit": 1_000_000 } });
    let sleeper = Sleeper::start(world, &tasks, runtime, &resources)?;
    let limits = sleeper.limits()?;
    expect_eq!((limits.memory, limits.pids), (Some(MOST_MEMORY), Some(MOST_PIDS)), "limits");
    expect!(
        limits.cpu_per_second.is_some_and(|microseconds| microseconds <= 8_000_000),
        "cpu {:?}",
        limits.cpu_per_second
    );
    expect_no_swap(limits)?;
    sleeper.end()
}

fn forks_end(world: &World, runtime: Runtime) -> Check {
    // How many were started, and how often the kernel refused one.
    let started = |pids: u64| -> Result<(u64, u64), Failed> {
        let tasks = world.tasks()?;
        let sleeper = Sleeper::start(world, &tasks, runtime, &json!({ "pids": { "limit": pids } }))?;
        let stdout = world.containerd.exec(&sleeper.id, &["/probe", "forks", "100"])?.success()?;
        let refused = Files::of(sleeper.pid)?.counter("pids", ["pids.events"; 2], "max");
        if is_unified() && refused.is_some_and(|refused| refused > 0) {
            met_while_it_runs(world, &sleeper.id)?;
        }
        // What was refused is over, and the container goes on.
        let again = world.containerd.exec(&sleeper.id, &["/probe", "forks", "5"])?.success()?;
        expect_eq!(started_of(&again)?, 5, "forks afterwards");
        let id = sleeper.id.clone();
        sleeper.end()?;
        let refused = refused.ok_or("no pids.events")?;
        let told = told_hits(world, &id)?.map_or(0, |hits| hits["pids_refused"].as_u64().unwrap_or(0));
        // systemd takes the cgroup away with its last process.
        expect!(by_systemd() || told == refused, "{told} refusals on record of {refused}");
        Ok((started_of(&stdout)?, refused))
    };
    expect_eq!(started(500)?, (100, 0), "control: forks under a high limit, and refusals");
    let (few, refused) = started(40)?;
    expect!((30..40).contains(&few) && refused > 0, "{few} forks under a limit of 40, {refused} refused");
    Ok(())
}

/// That tasks were refused is on record before the container ends. With v1 the kernel gives no notice of it.
fn met_while_it_runs(world: &World, id: &str) -> Check {
    let told = poll::eventually("the limit that was met on record", 10, || {
        let told = audit::events(world, id, "limits").map_err(|error| format!("{error:?}"))?;
        told.into_iter().next().ok_or_else(|| "none".to_owned())
    })?;
    let refused = told["pids_refused"].as_u64().unwrap_or_default();
    expect!(told["running"] == true && refused > 0, "{told}");
    Ok(())
}

/// What is on record of a container's limits once it has ended.
pub(crate) fn told_hits(world: &World, id: &str) -> Result<Option<Value>, Failed> {
    let mut told = audit::events(world, id, "limits")?;
    told.retain(|line| line["running"].is_null());
    expect!(told.len() <= 1, "{told:?}");
    Ok(told.pop())
}

fn started_of(report: &str) -> Result<u64, Failed> {
    let forks: Value = serde_json::from_str(report)?;
    forks["started"].as_u64().ok_or_else(|| Failed::from(report.to_owned()))
}

fn throttled(world: &World, runtime: Runtime) -> Check {
    let counted = |quota: u64| -> Result<(LimitHits, Pressure), Failed> {
        let tasks = world.tasks()?;
        let limits = json!({ "cpu": { "quota": quota, "period": 100_000 } });
        let sleeper = Sleeper::start(world, &tasks, runtime, &limits)?;
        world.containerd.exec(&sleeper.id, &["/probe", "burn", "1"])?.success()?;
        let cgroup = Cgroup::of_process(sleeper.pid)?;
        let counted = (cgroup.limit_hits()?, cgroup.pressure()?);
        sleeper.end()?;
        Ok(counted)
    };
    let (slow, waited) = counted(10_000)?;
    expect!(slow.cpu_throttled_us > 300_000, "{slow:?} of one that may run a tenth of the time");
    // Cgroup v1, or a kernel without pressure stall information, counts no such thing.
    let has_waited =
        if is_unified() { waited.cpu_us.is_none_or(|micros| micros > 100_000) } else { waited == Pressure::default() };
    expect!(has_waited, "{waited:?} of one that waits for most of the time");
    let (free, _) = counted(800_000)?;
    expect_eq!(free.cpu_throttled_periods, 0, "control: periods of one that may run all the time");
    Ok(())
}

fn memory_ends(world: &World, runtime: Runtime) -> Check {
    let hold = Run::new(runtime, &["sh", "-c", "/probe hold 200 & wait $!; echo ended $?"]);
    let output = world.containerd.run(&hold.flags(&["--memory-limit", "33554432"]))?.success()?;
    expect_eq!(output, "ended 137\n", "200 MiB under a limit of 32");
    Ok(())
}

fn update_lowers(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let sleeper =
        Sleeper::start(world, &tasks, runtime, &json!({ "memory": { "limit": 128 * MIB }, "pids": { "limit": 100 } }))?;
    tasks.update(&sleeper.id, &json!({ "memory": { "limit": 64 * MIB }, "cpu": { "quota": 20_000, "period": 100_000 }, "pids": { "limit": 30 } }))?;
    let limits = sleeper.limits()?;
    expect_eq!(
        (limits.memory, limits.pids, limits.cpu_per_second),
        (Some(64 * MIB), Some(30), Some(200_000)),
        "limits"
    );
    expect_no_swap(limits)?;
    sleeper.end()
}

fn update_cannot_raise(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let sleeper =
        Sleeper::start(world, &tasks, runtime, &json!({ "memory": { "limit": 128 * MIB }, "pids": { "limit": 100 } }))?;
    let mut requests = vec![
        json!({ "memory": { "limit": 1_u64 << 40, "swap": 2_u64 << 40 } }),
        json!({ "memory": { "limit": -1, "swap": -1 } }),
        json!({ "pids": { "limit": 1_000_000 } }),
        json!({ "pids": { "limit": -1 } }),
        json!({ "cpu": { "quota": -1, "period": 100_000 } }),
        json!({ "cpu": { "quota": 100_000_000, "period": 100_000 } }),
    ];
    if is_unified() {
        let files = [
            ("memory.max", "max"),
            ("memory.swap.max", "max"),
            ("pids.max", "max"),
            ("cpu.max", "max"),
            ("cgroup.procs", "1"),
        ];
        requests.extend(files.map(|(file, value)| json!({ "unified": { file: value } })));
    }
    for request in requests {
        // Refused or lowered, both are right; what counts is what the kernel has afterwards.
        let answer = tasks.update(&sleeper.id, &request);
        let limits = sleeper.limits()?;
        let bounded = |limit: Option<u64>, most: u64| limit.is_some_and(|limit| limit <= most);
        let within = bounded(limits.memory, MOST_MEMORY)
            && bounded(limits.pids, MOST_PIDS)
            && bounded(limits.cpu_per_second, 8_000_000);
        expect!(within, "{limits:?} after {request}, answered {answer:?}");
        expect_no_swap(limits)?;
    }
    sleeper.end()
}

fn update_devices(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let sleeper = Sleeper::start(world, &tasks, runtime, &json!({}))?;
    for request in [
        json!({ "devices": [{ "allow": true, "access": "rwm" }] }),
        json!({ "unified": { "cgroup.subtree_control": "-memory" } }),
    ] {
        // Refused or ignored, both are right: CRI sends a container's own device rules along with every update.
        let answer = tasks.update(&sleeper.id, &request);
        let tried = world.containerd.exec(&sleeper.id, &["/probe", "try", "open-kmsg-node"])?.success()?;
        expect!(tried.contains("\"refused\""), "{tried} after {request}, answered {answer:?}");
        expect_eq!(sleeper.limits()?.memory, Some(DEFAULT_MEMORY), "memory after {request}");
    }
    sleeper.end()
}
