//! Limits of a container, their change, and what is reported of its usage.

use std::fs;

use k8s_cri::v1 as api;
use palisade_integration::cgroup::Limits;

use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Container, Fault, Stage};

const MIB: i64 = 1 << 20;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "limits of memory and processors, shares and OOM score",
        "",
        limits,
        &[
            ("memory", "100 MiB"),
            ("processors", "500000 µs per second"),
            ("oom_score_adj", "700"),
            ("status", "100 MiB 50000/100000 512"),
        ],
    ),
    scenario(
        "processors and memory nodes to run on",
        "",
        sets,
        &[("Cpus_allowed_list", "0"), ("Mems_allowed_list", "0")],
    ),
    scenario(
        "limits are changed while it runs",
        "",
        update,
        &[("memory", "80 MiB"), ("processors", "250000 µs per second"), ("status", "80 MiB 25000/100000 256")],
    ),
    scenario("a memory limit below the usage", "", update_below, &[("still runs", "yes")]),
    scenario("limits are taken off", "", update_off, &[("memory", "none"), ("processors", "none")])
        .restricted(&[("memory", "65536 MiB"), ("processors", "8000000 µs per second")]),
    scenario("limits of a pod", "", overhead, &[("run", "SandboxReady")]),
];

fn resources(config: &mut api::ContainerConfig) -> &mut api::LinuxContainerResources {
    config.linux.get_or_insert_default().resources.get_or_insert_default()
}

fn limits(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |config| {
            *resources(config) = api::LinuxContainerResources {
                memory_limit_in_bytes: 100 * MIB,
                cpu_quota: 50_000,
                cpu_period: 100_000,
                cpu_shares: 512,
                oom_score_adj: 700,
                ..Default::default()
            };
        },
        in_force,
    )
}

fn in_force(container: &Container<'_>, seen: &mut Seen) -> Result<(), Fault> {
    let pid = container.pid()?;
    let limits = Limits::of(pid)?;
    seen.note("memory", limits.memory.map_or_else(|| "none".to_owned(), |bytes| format!("{} MiB", bytes >> 20)));
    seen.note(
        "processors",
        limits.cpu_per_second.map_or_else(|| "none".to_owned(), |time| format!("{time} µs per second")),
    );
    seen.note("oom_score_adj", fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))?);
    if let Some(linux) = container.status()?.resources.and_then(|resources| resources.linux) {
        let memory = linux.memory_limit_in_bytes / MIB;
        seen.note("status", format!("{memory} MiB {}/{} {}", linux.cpu_quota, linux.cpu_period, linux.cpu_shares));
    }
    Ok(())
}

fn sets(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |config| {
            *resources(config) = api::LinuxContainerResources {
                cpuset_cpus: "0".to_owned(),
                cpuset_mems: "0".to_owned(),
                ..Default::default()
            };
        },
        |container, seen| {
            let fields = ["Cpus_allowed_list", "Mems_allowed_list"];
            super::look::status(&format!("/proc/{}", container.pid()?), &fields, seen)
        },
    )
}

fn update(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |config| {
            *resources(config) = api::LinuxContainerResources { memory_limit_in_bytes: 100 * MIB, ..Default::default() }
        },
        |container, seen| {
            let wanted = api::LinuxContainerResources {
                memory_limit_in_bytes: 80 * MIB,
                cpu_quota: 25_000,
                cpu_period: 100_000,
                cpu_shares: 256,
                ..Default::default()
            };
            container.stage.cri.update(&container.id, wanted)?;
            in_force(container, seen)
        },
    )
}

fn update_below(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let container = stage.container(&pod, |config| {
        config.command = ["/probe", "hold", "32"].map(str::to_owned).to_vec();
        resources(config).memory_limit_in_bytes = 100 * MIB;
    })?;
    super::logs::has(&container.log, "holding")?;
    let wanted = api::LinuxContainerResources { memory_limit_in_bytes: 8 * MIB, ..Default::default() };
    let answer = stage.cri.update(&container.id, wanted);
    let mut seen = Seen::new();
    seen.note("update", if answer.is_ok() { "done" } else { "refused by the kernel" });
    container.note(&mut seen, "still runs", "echo yes")?;
    seen.note("memory", Limits::of(container.pid()?)?.memory.map_or(0, |bytes| bytes >> 20));
    pod.remove()?;
    Ok(seen)
}

fn update_off(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |config| {
            *resources(config) = api::LinuxContainerResources {
                memory_limit_in_bytes: 100 * MIB,
                cpu_quota: 50_000,
                cpu_period: 100_000,
                ..Default::default()
            };
        },
        |container, seen| {
            let wanted = api::LinuxContainerResources {
                memory_limit_in_bytes: -1,
                memory_swap_limit_in_bytes: -1,
                cpu_quota: -1,
                ..Default::default()
            };
            container.stage.cri.update(&container.id, wanted)?;
            let limits = Limits::of(container.pid()?)?;
            seen.note(
                "memory",
                limits.memory.map_or_else(|| "none".to_owned(), |bytes| format!("{} MiB", bytes >> 20)),
            );
            seen.note(
                "processors",
                limits.cpu_per_second.map_or_else(|| "none".to_owned(), |time| format!("{time} µs per second")),
            );
            Ok(())
        },
    )
}

/// The kubelet names overhead and resources of a pod for whoever wants to know them.
fn overhead(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|config| {
        let linux = config.linux.get_or_insert_default();
        linux.overhead = Some(api::LinuxContainerResources {
            memory_limit_in_bytes: 16 * MIB,
            cpu_shares: 100,
            ..Default::default()
        });
        linux.resources = Some(api::LinuxContainerResources {
            memory_limit_in_bytes: 200 * MIB,
            cpu_shares: 300,
            ..Default::default()
        });
    })?;
    let mut seen = Seen::new();
    seen.note("run", format!("{:?}", super::sandboxes::status(stage, &pod.id)?.state()));
    let pid = super::sandboxes::pause_pid(stage, &pod.id)?;
    seen.note(
        "memory of the pause container",
        Limits::of(pid)?.memory.map_or_else(|| "none".to_owned(), |bytes| bytes.to_string()),
    );
    pod.remove()?;
    Ok(seen)
}
