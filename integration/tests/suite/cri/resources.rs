//! Limits of a container, their change, and what is reported of its usage.

use std::fs;

use k8s_cri::v1 as api;
use palisade_integration::cgroup::Limits;
use palisade_integration::{Failure, poll};

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
    scenario(
        "statistics of a container",
        "Container: listing container stats",
        statistics,
        &[
            ("memory", "at least 8 MiB"),
            ("processor time", "some"),
            ("listed by id", "1"),
            ("listed by pod", "1"),
            ("listed by label", "1"),
            ("listed", "yes"),
        ],
    ),
    scenario(
        "statistics of a pod",
        "",
        pod_statistics,
        &[
            ("memory", "at least 8 MiB"),
            ("processor time", "some"),
            ("network", "eth0"),
            ("containers", "1"),
            ("listed", "yes"),
        ],
    ),
    scenario(
        "metrics of pods",
        "PodSandbox: metrics descriptors, pod sandbox metrics",
        metrics,
        &[("descriptors", "Unimplemented"), ("metrics", "Unimplemented")],
    ),
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
    seen.note("memory", limits.memory.map_or("none".to_owned(), |bytes| format!("{} MiB", bytes >> 20)));
    seen.note("processors", limits.cpu_per_second.map_or("none".to_owned(), |time| format!("{time} µs per second")));
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
            seen.note("memory", limits.memory.map_or("none".to_owned(), |bytes| format!("{} MiB", bytes >> 20)));
            seen.note(
                "processors",
                limits.cpu_per_second.map_or("none".to_owned(), |time| format!("{time} µs per second")),
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
        Limits::of(pid)?.memory.map_or("none".to_owned(), |bytes| bytes.to_string()),
    );
    pod.remove()?;
    Ok(seen)
}

const WORD: (&str, &str) = ("stats-of", "one");

/// A container that holds 8 MiB and has a label.
fn holds(config: &mut api::ContainerConfig, mark: &str) {
    config.command = ["/probe", "hold", "8"].map(str::to_owned).to_vec();
    config.labels.insert(WORD.0.to_owned(), mark.to_owned());
}

fn statistics(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let mark = pod.id.clone();
    let container = stage.container(&pod, |config| holds(config, &mark.chars().take(20).collect::<String>()))?;
    let stats = poll::eventually("8 MiB in the statistics", 20, || {
        let stats = stage.cri.stats(&container.id).map_err(|failure| failure.to_string())?;
        if memory(stats.memory.as_ref()) >= 8 << 20 { Ok(stats) } else { Err(format!("{stats:?}")) }
    })?;
    let mut seen = Seen::new();
    usage(&mut seen, stats.memory.as_ref(), stats.cpu.as_ref());
    let attributes = stats.attributes.unwrap_or_default();
    seen.note("id", attributes.id);
    seen.note("name", attributes.metadata.unwrap_or_default().name);
    let label = std::collections::HashMap::from([(WORD.0.to_owned(), mark.chars().take(20).collect())]);
    let filters = [
        ("listed by id", api::ContainerStatsFilter { id: container.id.clone(), ..Default::default() }),
        ("listed by pod", api::ContainerStatsFilter { pod_sandbox_id: pod.id.clone(), ..Default::default() }),
        ("listed by label", api::ContainerStatsFilter { label_selector: label, ..Default::default() }),
    ];
    for (name, filter) in filters {
        seen.note(name, listed(stage, Some(filter))?.len());
    }
    let among_all = listed(stage, None)?.contains(&container.id);
    seen.note("listed", if among_all { "yes" } else { "no" });
    pod.remove()?;
    Ok(seen)
}

fn listed(stage: &Stage<'_>, filter: Option<api::ContainerStatsFilter>) -> Result<Vec<String>, Failure> {
    let request = api::ListContainerStatsRequest { filter };
    let answer =
        stage.cri.ask("ListContainerStats", |mut client| async move { client.list_container_stats(request).await })?;
    Ok(answer.stats.into_iter().filter_map(|stats| stats.attributes).map(|attributes| attributes.id).collect())
}

fn pod_statistics(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    stage.container(&pod, |config| holds(config, "pod"))?;
    let stats = poll::eventually("8 MiB in the pod's statistics", 20, || {
        let request = api::PodSandboxStatsRequest { pod_sandbox_id: pod.id.clone() };
        let answer =
            stage.cri.ask("PodSandboxStats", |mut client| async move { client.pod_sandbox_stats(request).await });
        let stats =
            answer.map_err(|failure| failure.to_string())?.stats.and_then(|stats| stats.linux).unwrap_or_default();
        if memory(stats.memory.as_ref()) >= 8 << 20 { Ok(stats) } else { Err(format!("{stats:?}")) }
    })?;
    let mut seen = Seen::new();
    usage(&mut seen, stats.memory.as_ref(), stats.cpu.as_ref());
    seen.note("network", stats.network.and_then(|network| network.default_interface).unwrap_or_default().name);
    seen.note("processes", stats.process.and_then(|process| process.process_count).map_or(0, |count| count.value));
    seen.note("containers", stats.containers.len());
    let request = api::ListPodSandboxStatsRequest { filter: None };
    let answer = stage
        .cri
        .ask("ListPodSandboxStats", |mut client| async move { client.list_pod_sandbox_stats(request).await })?;
    let among_all =
        answer.stats.iter().filter_map(|stats| stats.attributes.as_ref()).any(|attributes| attributes.id == pod.id);
    seen.note("listed", if among_all { "yes" } else { "no" });
    pod.remove()?;
    Ok(seen)
}

fn memory(memory: Option<&api::MemoryUsage>) -> u64 {
    memory.and_then(|memory| memory.working_set_bytes).map_or(0, |bytes| bytes.value)
}

/// How much of each is not for comparing; that it is there, is.
fn usage(seen: &mut Seen, memory: Option<&api::MemoryUsage>, cpu: Option<&api::CpuUsage>) {
    let bytes = self::memory(memory);
    let enough = bytes >= 8 << 20 && bytes < 1 << 30;
    seen.note("memory", if enough { "at least 8 MiB".to_owned() } else { format!("{bytes} bytes") });
    let time = cpu.and_then(|cpu| cpu.usage_core_nano_seconds).map_or(0, |time| time.value);
    seen.note("processor time", if time > 0 { "some" } else { "none" });
    if let Some(memory) = memory {
        let fields = [
            ("available", memory.available_bytes),
            ("usage", memory.usage_bytes),
            ("resident set", memory.rss_bytes),
            ("page faults", memory.page_faults),
            ("major page faults", memory.major_page_faults),
        ];
        for (name, field) in fields {
            seen.note(name, if field.is_some() { "given" } else { "not given" });
        }
    }
}

fn metrics(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let mut seen = Seen::new();
    let answer = stage.cri.ask("ListMetricDescriptors", |mut client| async move {
        client.list_metric_descriptors(api::ListMetricDescriptorsRequest {}).await
    });
    seen.note("descriptors", outcome(answer.map(|answer| answer.descriptors.len())));
    let answer = stage.cri.ask("ListPodSandboxMetrics", |mut client| async move {
        client.list_pod_sandbox_metrics(api::ListPodSandboxMetricsRequest {}).await
    });
    seen.note("metrics", outcome(answer.map(|answer| answer.pod_metrics.len())));
    Ok(seen)
}

/// A count, or the code of a refusal.
fn outcome(answer: Result<usize, Failure>) -> String {
    match answer.as_ref().map_err(|failure| failure.refusal()) {
        Ok(count) => count.to_string(),
        Err(Some((code, _))) => format!("{code:?}"),
        Err(None) => "no answer".to_owned(),
    }
}
