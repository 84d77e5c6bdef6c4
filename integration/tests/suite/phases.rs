//! Which tests run under which policy file.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use palisade_integration::Failure;
use palisade_integration::assets::{Form, Generation};
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use palisade_integration::policy::PolicyFile;
use palisade_probe::Verdict;

use crate::probes::ROWS;
use crate::support::{Check, World, trial};
use crate::{
    audit, audited, below, broken, budget, cancellation, cri, denials, doctored, exchange, exec, faults, given, images,
    in_force, installed, isolation, learning, lifecycle, limits, logger, modelled, monitored, mutations, per_rule,
    pods, profiles, refusals, restart, secrets, selection, synced, terminal,
};

/// Trials that share a policy file.
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) policy: PolicyFile,
    /// Whether its tests disturb each other.
    pub(crate) alone: bool,
    pub(crate) trials: Vec<Trial>,
}

/// The phases of this run, but for those that have nothing to do: all of them, or with `PALISADE_TEST_SUBSET=cgroups` what depends on the cgroup hierarchy and needs no network,
/// with `systemd` what depends on systemd's cgroup driver.
pub(crate) fn chosen(world: &'static World) -> Result<Vec<Phase>, Failure> {
    match std::env::var("PALISADE_TEST_SUBSET").as_deref() {
        Err(_) => Ok(all(world).into_iter().filter(|phase| !phase.trials.is_empty()).collect()),
        Ok("cgroups") => Ok(cgroups(world)),
        Ok("systemd") => Ok(systemd(world)),
        Ok(other) => Err(Failure::Missing {
            what: format!("the subset {other}"),
            mend: "PALISADE_TEST_SUBSET is unset, cgroups or systemd".to_owned(),
        }),
    }
}

fn cgroups(world: &'static World) -> Vec<Phase> {
    let phase = |name, policy: &str, runtimes: &[Runtime]| {
        let mut trials: Vec<Trial> = runtimes.iter().flat_map(|runtime| lifecycle::of(world, *runtime)).collect();
        trials.extend(limits::under_palisade(world));
        trials.extend(once(world, in_force::trials));
        // runc 1.1 can't.
        let users = if policy == runc_policy(world) { Vec::new() } else { once(world, cri::of_users) };
        trials.extend(users);
        // What the kubelet asks for is the same for every runtime.
        let kubelet = if policy.is_empty() { once(world, cri::of_cgroups) } else { Vec::new() };
        trials.extend(kubelet);
        Phase { name, policy: PolicyFile::of(policy), alone: false, trials }
    };
    let crun = &world.containerd.assets().crun;
    vec![
        phase("cgroups, embedded runtime", "", &[Runtime::Runc, Runtime::Palisade]),
        phase("cgroups, runc as the runtime", &runc_policy(world), &[Runtime::Palisade]),
        phase("cgroups, crun as the runtime", &policy_with(crun), &[Runtime::Palisade]),
        given_limits(world, "given limits, embedded runtime", ""),
        given_limits(world, "given limits, runc as the runtime", &runc_policy(world)),
        given_limits(world, "given limits, crun as the runtime", &policy_with(crun)),
        Phase {
            name: "secrets as files, crun as the runtime",
            policy: PolicyFile::of(&secrets::policy(&policy_with(crun))),
            alone: true,
            trials: once(world, secrets::by_each_runtime),
        },
        Phase {
            name: "without inotify",
            policy: PolicyFile::of(""),
            alone: true,
            trials: once(world, in_force::without_inotify),
        },
        Phase {
            name: "profiles, rule by rule, with crun",
            policy: PolicyFile::of(""),
            alone: true,
            trials: once(world, |world| per_rule::trials(world, &[("crun", Some(&world.containerd.assets().crun))])),
        },
    ]
}

/// Where systemd is process 1 and makes the cgroups.
fn systemd(world: &'static World) -> Vec<Phase> {
    let phase = |name, policy: &str| {
        let kubelet = if policy.is_empty() { cri::of_cgroups(world) } else { Vec::new() };
        let trials = in_force::trials(world).into_iter().chain(kubelet).collect();
        Phase { name, policy: PolicyFile::of(policy), alone: true, trials }
    };
    vec![
        phase("systemd, embedded runtime", ""),
        phase("systemd, runc as the runtime", &runc_policy(world)),
        phase("systemd, crun as the runtime", &policy_with(&world.containerd.assets().crun)),
        given_limits(world, "given limits by systemd, embedded runtime", ""),
        given_limits(world, "given limits by systemd, runc as the runtime", &runc_policy(world)),
        given_limits(
            world,
            "given limits by systemd, crun as the runtime",
            &policy_with(&world.containerd.assets().crun),
        ),
    ]
}

/// Limits that only an admin gives.
fn given_limits(world: &'static World, name: &'static str, runtime: &str) -> Phase {
    let policy = PolicyFile::of(&format!("{runtime}{}", given::policy()));
    Phase { name, policy, alone: false, trials: once(world, given::trials) }
}

fn runc_policy(world: &World) -> String {
    policy_with(&world.containerd.assets().runc)
}

fn policy_with(runtime: &Path) -> String {
    format!("version = 1\n[runtime]\nbinary = \"{}\"\n", runtime.display())
}

fn all(world: &'static World) -> Vec<Phase> {
    let phase = |name, policy: &str, trials| Phase { name, policy: PolicyFile::of(policy), alone: false, trials };
    vec![
        phase("restricted, embedded runtime", "", everything(world)),
        Phase { alone: true, ..phase("restarts and deaths", "", restart::trials(world)) },
        Phase { alone: true, ..phase("faults", "", once(world, faults::trials)) },
        Phase { alone: true, ..phase("refused calls", "", refusals::trials(world)) },
        Phase { alone: true, ..phase("images", "", once(world, images::trials)) },
        Phase { alone: true, ..phase("monitor", "", once(world, monitored::trials)) },
        phase("doctor", "", once(world, doctored::trials)),
        Phase { alone: true, ..phase("installer", "", once(world, installed::trials)) },
        phase("modelled", "", on_the_newer(world, modelled::trials)),
        Phase { alone: true, ..phase("policy from a cluster", "", on_the_newer(world, synced::trials)) },
        Phase { alone: true, ..phase("budget", "", on_the_newer(world, budget::trials)) },
        Phase { alone: true, ..phase("audit, load", "", once(world, audited::load)) },
        Phase {
            policy: audited::policy(world),
            alone: true,
            ..phase("audit, every option", "", once(world, audited::trials))
        },
        Phase {
            alone: true,
            ..phase(
                "profiles, rule by rule",
                "",
                on_the_newer(world, |world| {
                    let runc = &world.containerd.assets().runc;
                    per_rule::trials(world, &[("embedded runtime", None), ("runc", Some(runc))])
                }),
            )
        },
        Phase { alone: true, ..phase("learning", &learning::policy(world), learning::trials(world)) },
        Phase { alone: true, ..phase("system call profiles", profiles::POLICY, profiles::trials(world)) },
        Phase {
            alone: true,
            ..phase(
                "system call profiles, runc as the runtime",
                &format!("{}{}", profiles::POLICY, runc_policy(world)),
                profiles::trials(world),
            )
        },
        phase("restricted, runc as the runtime", &runc_policy(world), with_another_runtime(world)),
        given_limits(world, "given limits, embedded runtime", ""),
        given_limits(world, "given limits, runc as the runtime", &runc_policy(world)),
        phase("cri, all allowed", "profile = \"privileged\"\n", once(world, cri::alike)),
        Phase {
            alone: true,
            ..phase("cri, plugins, all allowed", "profile = \"privileged\"\n", once(world, cri::with_plugins_alike))
        },
        Phase { alone: true, ..phase("cri, plugins", "", once(world, cri::with_plugins_restricted)) },
        phase(
            "user namespaces, a new runc as the runtime",
            &policy_with(&world.containerd.assets().new_runc),
            once(world, cri::of_users),
        ),
        phase("user namespaces", &exchange::policy_of_mount(world), exchange::in_user_namespace(world)),
        Phase { alone: true, ..phase("broken runtimes", &broken::policy(world), broken::trials(world)) },
        phase("a runtime that exchanges a source", &exchange::policy(world), exchange::trials(world)),
        Phase { alone: true, ..phase("a listed path", &below::policy(world), below::trials(world)) },
        Phase {
            alone: true,
            ..phase("a listed path, runc as the runtime", &below::policy_with_runc(world), below::trials(world))
        },
        Phase {
            alone: true,
            ..phase("secrets as files", &secrets::policy("version = 1\n"), once(world, secrets::trials))
        },
        Phase {
            alone: true,
            ..phase(
                "secrets as files, runc as the runtime",
                &secrets::policy(&runc_policy(world)),
                once(world, secrets::by_each_runtime),
            )
        },
        phase("secrets refused", &secrets::refusing(), once(world, secrets::refusals)),
        phase("a logging program", &logger::policy(), logger::trials(world)),
        phase(
            "baseline",
            "profile = \"baseline\"\n",
            vec![trial(world, "baseline keeps root and refuses the rest", baseline)],
        ),
        phase(
            "privileged",
            "profile = \"privileged\"\n",
            vec![
                trial(world, "the privileged profile runs all and records it", privileged),
                trial(world, "a volume over the root makes the runtime write nothing on the host", exchange::over_root),
            ],
        ),
        Phase { alone: true, ..phase("several profiles", selection::POLICY, selection::trials(world)) },
        phase(
            "a file that is wrong",
            "profil = \"restricted\"\n",
            vec![trial(world, "nothing is created under a wrong file", wrong_file)],
        ),
    ]
}

fn everything(world: &'static World) -> Vec<Trial> {
    let parts = [
        lifecycle::trials,
        terminal::trials,
        isolation::trials,
        denials::trials,
        mutations::trials,
        cancellation::trials,
        exec::trials,
        limits::trials,
        |world| once(world, in_force::trials),
        pods::trials,
        audit::trials,
        crate::bypass::trials,
        |world| once(world, cri::restricted),
    ];
    parts.into_iter().flat_map(|part| part(world)).collect()
}

/// What goes through both handlers by itself, or has nothing to do with them, is not run again for the other form.
fn once(world: &'static World, trials: fn(&'static World) -> Vec<Trial>) -> Vec<Trial> {
    if world.containerd.assets().form == Form::Type { trials(world) } else { Vec::new() }
}

/// What containerd has no part in beside starting the shim, and takes long, is run with its newer generation alone.
fn on_the_newer(world: &'static World, trials: fn(&'static World) -> Vec<Trial>) -> Vec<Trial> {
    if world.containerd.assets().generation == Generation::Two { once(world, trials) } else { Vec::new() }
}

fn with_another_runtime(world: &'static World) -> Vec<Trial> {
    let mut trials = lifecycle::of(world, Runtime::Palisade);
    trials.extend(isolation::under_palisade(world));
    trials.extend(limits::under_palisade(world));
    trials.extend(once(world, in_force::trials));
    trials
}

fn baseline(world: &World) -> Check {
    let report = world.report(Runtime::Palisade, &[])?;
    expect_eq!(report.numbers("Uid"), [0; 4], "user ids");
    expect_eq!(report.text("Seccomp"), "2", "seccomp mode");
    let outcomes = world.attempts(Runtime::Palisade, &[])?;
    isolation::expect_refused(&outcomes, |row| !row.in_baseline)?;
    let missed: Vec<_> = ROWS
        .iter()
        .filter(|row| row.in_baseline && !outcomes.get(row.attempt).is_some_and(|outcome| row.is_reached_by(outcome)))
        .map(|row| row.attempt)
        .collect();
    expect!(missed.is_empty(), "baseline takes what it should leave: {missed:?}");
    let said = world.containerd.run(&Run::new(Runtime::Palisade, &["true"]).flags(&["--privileged"]))?.refusal()?;
    crate::support::expect_denial(&said, "priv.heuristic")
}

fn privileged(world: &World) -> Check {
    let container = world
        .containerd
        .detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]).flags(&["--privileged", "--net-host"]))?;
    let output = container.exec(&[], &["/probe", "try", "mount-tmpfs", "sethostname"])?.success()?;
    let outcomes = palisade_probe::Outcome::parse_lines(&output)?;
    expect!(outcomes.values().all(|outcome| outcome.result == Verdict::Reached), "{outcomes:?}");
    let records = audit::records(world, container.id())?;
    let recorded =
        records.iter().any(|record| record.pointer("/record/profile").is_some_and(|profile| profile == "privileged"));
    expect!(recorded, "the profile is not in the records {records:?}");
    Ok(container.remove()?)
}

fn wrong_file(world: &World) -> Check {
    let said = world.containerd.run(&Run::new(Runtime::Palisade, &["true"]))?.refusal()?;
    let policy = world.containerd.layout().policy();
    expect!(fs::exists(&policy)?, "no policy file");
    for part in ["palisade", &policy.display().to_string(), "profil", "line 1"] {
        expect!(said.contains(part), "no {part:?} in {said:?}");
    }
    Ok(())
}
