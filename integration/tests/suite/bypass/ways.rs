//! The ways that entries are tried, each the same under palisade and under runc.

use std::fs;

use k8s_cri::v1 as api;
use libtest_mimic::Failed;
use palisade_integration::cgroup::Limits;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::{Run, unique};
use palisade_integration::tasks::CreateOptions;
use palisade_integration::{Failure, bundle_spec, cri};
use serde_json::{Value, json};

use super::container::{Container, SLEEP, output};
use super::seen::status;
use super::{Met, kernel};
use crate::lifecycle::waits_for_signal;
use crate::pods;
use crate::spec_edits::set;
use crate::support::World;

/// What a test of an entry's own returns.
pub(crate) type Meeting = Result<Met, Failed>;

/// How an entry is tried.
pub(crate) enum Way {
    /// An attempt of the probe, as init and as exec; the control is the one in the table of attempts.
    Attempt(&'static str),
    /// A create request with a changed specification.
    Spec(fn(&mut Value)),
    /// A changed specification, whose init process the host looks at.
    Init { make: fn(&mut Value), shown: fn(u32) -> bool },
    /// A changed specification, whose program tells what it sees.
    Inside { make: fn(&mut Value), args: &'static [&'static str], shown: fn(&str) -> bool },
    /// A hook of the specification, which touches a file of the host.
    Hook(&'static str),
    /// An annotation, looked for in what the OCI runtime reads.
    Annotation(&'static str, &'static str),
    /// A create request with other fields than the specification.
    Create(fn(&World) -> Result<CreateOptions, Failed>),
    /// An exec request with a changed process, which the host looks at.
    Exec { make: fn(&mut Value), shown: fn(u32) -> bool },
    /// An update request; the kernel's limits afterwards.
    Update { asks: fn() -> Value, grown: fn(Limits) -> bool },
    /// A pod and its container through CRI; by their name in the table of refused pods.
    Pod(&'static str),
    /// A pod's container, and what `probe try` of these attempts says in it.
    PodTries { make: fn(&mut api::ContainerConfig), attempts: &'static [&'static str] },
    /// A test of its own.
    Test(&'static str, fn(&World, Runtime) -> Meeting),
}

impl Way {
    /// In a few words, for the page.
    pub(crate) fn how(&self) -> &'static str {
        match self {
            Self::Attempt(_) => "tried inside, by init and by exec",
            Self::Spec(_) | Self::Hook(_) | Self::Annotation(..) => "create, changed specification",
            Self::Init { .. } => "create, changed specification; the process as the host sees it",
            Self::Inside { .. } => "create, changed specification; tried inside",
            Self::Create(_) => "create, other fields of the request",
            Self::Exec { .. } => "exec; the process as the host sees it",
            Self::Update { .. } => "update; the kernel's limits",
            Self::Pod(_) => "pod through CRI",
            Self::PodTries { .. } => "pod through CRI; tried inside",
            Self::Test(how, _) => how,
        }
    }

    /// Tries it.
    pub(crate) fn meet(&self, world: &World, runtime: Runtime) -> Meeting {
        match self {
            Self::Attempt(name) => kernel::meet(world, name),
            Self::Spec(make) => create(world, runtime, make, CreateOptions::default()),
            Self::Init { make, shown } => init(world, runtime, make, *shown),
            Self::Inside { make, args, shown } => inside(world, runtime, make, args, *shown),
            Self::Hook(stage) => hook(world, runtime, stage),
            Self::Annotation(name, value) => annotation(world, runtime, name, value),
            Self::Create(options) => create(world, runtime, |_| (), options(world)?),
            Self::Exec { make, shown } => exec(world, runtime, *make, *shown),
            Self::Update { asks, grown } => update(world, runtime, &asks(), *grown),
            Self::Pod(name) => pod(world, runtime, name),
            Self::PodTries { make, attempts } => pod_tries(world, runtime, make, attempts),
            Self::Test(_, test) => test(world, runtime),
        }
    }

    /// Whether the control is a privileged container, as plain runc stops it in an ordinary one.
    pub(crate) fn needs_privilege(&self) -> bool {
        matches!(self, Self::Attempt(name) if kernel::needs_privilege(name))
    }

    /// Tries it under plain runc.
    pub(crate) fn meet_control(&self, world: &World) -> Meeting {
        match self {
            Self::Attempt(name) => kernel::meet_control(world, name),
            _ => self.meet(world, Runtime::Runc),
        }
    }
}

fn met(answer: Result<(), Failure>) -> Met {
    answer.map_or_else(Met::Refused, |()| Met::Through)
}

/// Through where `power` is there.
pub(crate) fn seen(power: bool, instead: impl Into<String>) -> Met {
    if power { Met::Through } else { Met::Powerless(instead.into()) }
}

fn create(world: &World, runtime: Runtime, change: impl FnOnce(&mut Value), options: CreateOptions) -> Meeting {
    let container = Container::make(world, runtime, &["true"], change)?;
    Ok(met(container.start(options).map(drop)))
}

fn init(world: &World, runtime: Runtime, change: impl FnOnce(&mut Value), shown: fn(u32) -> bool) -> Meeting {
    let container = Container::make(world, runtime, SLEEP, change)?;
    match container.start(CreateOptions::default()) {
        Err(failure) => Ok(Met::Refused(failure)),
        Ok(pid) => {
            waits_for_signal(pid)?;
            expect_eq!(status(pid, "Pid"), pid.to_string(), "what the host sees");
            Ok(seen(shown(pid), "the process has nothing of it"))
        }
    }
}

fn inside(
    world: &World,
    runtime: Runtime,
    change: impl FnOnce(&mut Value),
    args: &[&str],
    shown: fn(&str) -> bool,
) -> Meeting {
    match output(world, runtime, change, args)? {
        Err(failure) => Ok(Met::Refused(failure)),
        Ok(output) => {
            expect!(!output.trim().is_empty(), "the program said nothing");
            Ok(seen(shown(&output), output))
        }
    }
}

/// The program of a `startContainer` hook is the container's, that of the others the host's.
fn hook(world: &World, runtime: Runtime, stage: &str) -> Meeting {
    let canary = world.containerd.layout().base.join(unique("canary"));
    let inside = stage == "startContainer";
    let path = if inside { "/bin/touch" } else { "/usr/bin/touch" };
    let place = if inside { "/tmp/canary".to_owned() } else { canary.display().to_string() };
    let change = |spec: &mut Value| {
        let mut hooks = json!({});
        hooks[stage] = json!([{ "path": path, "args": ["touch", place] }]);
        set(spec, "/hooks", hooks);
    };
    let container = Container::make(world, runtime, SLEEP, change)?;
    let upper = container.upper()?;
    if let Err(failure) = container.start(CreateOptions::default()) {
        expect!(!canary.exists(), "refused, and the hook has run");
        return Ok(Met::Refused(failure));
    }
    drop(container.tasks.kill(&container.id, "", 9));
    container.tasks.wait(&container.id, "")?;
    let in_layer = inside && upper.join("tmp/canary").exists();
    container.tasks.delete(&container.id)?;
    Ok(seen(canary.exists() || in_layer, "the hook did not run"))
}

/// The specification that the OCI runtime reads is the bundle's under runc, and the one in the bundle's private directory under palisade.
fn annotation(world: &World, runtime: Runtime, name: &str, value: &str) -> Meeting {
    let change = |spec: &mut Value| {
        let mut annotations = json!({});
        annotations[name] = json!(value);
        set(spec, "/annotations", annotations);
    };
    let container = Container::make(world, runtime, SLEEP, change)?;
    if let Err(failure) = container.start(CreateOptions::default()) {
        return Ok(Met::Refused(failure));
    }
    let bundle = world.containerd.layout().bundles().join(world.containerd.tag()).join(&container.id);
    let read = match runtime {
        Runtime::Runc | Runtime::NewRunc => bundle.join("config.json"),
        Runtime::Palisade | Runtime::PalisadeByPath => bundle.join("palisade/config.json"),
    };
    let text = fs::read_to_string(&read).map_err(|error| format!("{}: {error}", read.display()))?;
    let spec: Value = serde_json::from_str(&text)?;
    Ok(seen(spec["annotations"][name] == value, "the runtime's specification has no such annotation"))
}

fn exec(world: &World, runtime: Runtime, make: fn(&mut Value), shown: fn(u32) -> bool) -> Meeting {
    let tasks = world.tasks()?;
    let container = world.containerd.detach(&Run::new(runtime, SLEEP))?;
    let mut process = bundle_spec::process(SLEEP);
    make(&mut process);
    let started = tasks.exec(container.id(), "e1", &process).and_then(|()| tasks.start(container.id(), "e1"));
    let met = match started {
        Err(failure) => Met::Refused(failure),
        Ok(pid) => {
            waits_for_signal(pid)?;
            let met = seen(shown(pid), "the process has nothing of it");
            tasks.kill(container.id(), "e1", 9)?;
            tasks.wait(container.id(), "e1")?;
            tasks.delete_exec(container.id(), "e1")?;
            met
        }
    };
    container.remove()?;
    Ok(met)
}

/// From limits far below the policy's maxima.
fn update(world: &World, runtime: Runtime, asks: &Value, grown: fn(Limits) -> bool) -> Meeting {
    let change = |spec: &mut Value| {
        set(spec, "/linux/resources/memory", json!({ "limit": 128 << 20 }));
        set(spec, "/linux/resources/pids", json!({ "limit": 100 }));
        set(spec, "/linux/resources/cpu", json!({ "quota": 50_000, "period": 100_000 }));
    };
    let container = Container::make(world, runtime, SLEEP, change)?;
    let pid = container.start(CreateOptions::default())?;
    // Refused or lowered, both are right; what counts is what the kernel has afterwards.
    let answer = container.tasks.update(&container.id, asks);
    let limits = Limits::of(pid)?;
    Ok(seen(grown(limits), format!("{limits:?}, answered {answer:?}")))
}

fn pod(world: &World, runtime: Runtime, name: &str) -> Meeting {
    let cri = world.cri()?;
    let refusal = pods::REFUSALS.iter().find(|refusal| refusal.name == name).ok_or("no such pod")?;
    match pods::start_refusable(&cri, runtime, refusal) {
        Err(failure) => Ok(Met::Refused(failure)),
        Ok(pod) => {
            pod.remove()?;
            Ok(Met::Through)
        }
    }
}

fn pod_tries(world: &World, runtime: Runtime, make: &fn(&mut api::ContainerConfig), attempts: &[&str]) -> Meeting {
    let cri = world.cri()?;
    let pod = cri.run_pod(runtime, cri.pod_config())?;
    let mut config = cri::sleeper();
    make(&mut config);
    let met = match cri.start(&pod, config) {
        Err(failure) => Met::Refused(failure),
        Ok(container) => {
            let words = [&["/probe", "try"], attempts].concat();
            let outcomes = palisade_probe::Outcome::parse_lines(&cri.exec(&container, &words)?.stdout)?;
            expect_eq!(outcomes.len(), attempts.len(), "number of attempts");
            let reached = outcomes.values().any(|outcome| outcome.result == palisade_probe::Verdict::Reached);
            seen(reached, format!("{outcomes:?}"))
        }
    };
    pod.remove()?;
    Ok(met)
}
