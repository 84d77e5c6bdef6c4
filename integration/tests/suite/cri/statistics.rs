//! What is reported of the usage of containers and pods.

use std::collections::HashMap;

use k8s_cri::v1 as api;
use palisade_integration::{Failure, poll};

use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Fault, Stage};

pub(super) const SCENARIOS: &[Scenario] = &[
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
    let label = HashMap::from([(WORD.0.to_owned(), mark.chars().take(20).collect())]);
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
    let enough = (8 << 20..1 << 30).contains(&bytes);
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
