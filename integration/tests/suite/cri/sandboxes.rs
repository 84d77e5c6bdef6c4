//! The life of a pod sandbox, and what is in it before there is a container.

use std::collections::HashMap;
use std::fs;

use k8s_cri::v1 as api;
use palisade_integration::{Failure, poll};

use super::look;
use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Fault, Stage};

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "a sandbox is ready, is stopped, is removed",
        "PodSandbox: running, stopping, removing",
        life,
        &[("run", "SandboxReady"), ("stopped", "SandboxNotready"), ("listed as ready", "true"), ("listed", "false")],
    ),
    scenario(
        "labels, annotations and names of a sandbox are kept",
        "PodSandbox: preserving attributes",
        attributes,
        &[
            ("labels", "tier=back"),
            ("annotations", "note=kept"),
            ("name", "POD-NAME tests 3"),
            ("address", "in the pod network"),
        ],
    )
    .differs(&[(
        "pause devices.list",
        "runc lets every container open `/dev/net/tun` unasked, palisade only where it is asked for (cgroup v1)",
    )]),
];

fn life(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let mut seen = Seen::new();
    seen.note("run", format!("{:?}", status(stage, &pod.id)?.state()));
    seen.note("listed as ready", list(stage, Some(api::PodSandboxState::SandboxReady))?.contains(&pod.id));
    stop(stage, &pod.id)?;
    seen.note("stopped", format!("{:?}", status(stage, &pod.id)?.state()));
    seen.note("listed as ready when stopped", list(stage, Some(api::PodSandboxState::SandboxReady))?.contains(&pod.id));
    let id = pod.id.clone();
    pod.remove()?;
    seen.note("listed", list(stage, None)?.contains(&id));
    seen.answer("status", &status(stage, &id));
    Ok(seen)
}

fn attributes(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|config| {
        config.labels.insert("tier".to_owned(), "back".to_owned());
        config.annotations.insert("note".to_owned(), "kept".to_owned());
        if let Some(metadata) = config.metadata.as_mut() {
            metadata.attempt = 3;
        }
    })?;
    let status = status(stage, &pod.id)?;
    let mut seen = Seen::new();
    seen.note("labels", pairs(&status.labels));
    seen.note("annotations", pairs(&status.annotations));
    let metadata = status.metadata.unwrap_or_default();
    seen.note("name", format!("{} {} {}", metadata.name, metadata.namespace, metadata.attempt));
    let address = status.network.map(|network| network.ip).unwrap_or_default();
    seen.note("address", if address.starts_with("10.213.77.") { "in the pod network" } else { &address });
    let mut pause = Seen::new();
    let pid = pause_pid(stage, &pod.id)?;
    waits(pid)?;
    look::all(pid, &mut pause)?;
    seen.include("pause", pause);
    pod.remove()?;
    Ok(seen)
}

/// Waits until the pause program has taken the process over, which sets up signal handlers first.
fn waits(pid: u32) -> Result<(), Fault> {
    poll::eventually("the pause program", 20, || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|error| error.to_string())?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default().trim();
        let handles = !caught.trim_start_matches('0').is_empty();
        if handles && status.starts_with("Name:\tpause\n") { Ok(()) } else { Err(status) }
    })?;
    Ok(())
}

/// Labels or annotations as one text.
pub(super) fn pairs(map: &HashMap<String, String>) -> String {
    let mut pairs: Vec<_> = map.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.sort_unstable();
    pairs.join(" ")
}

/// A sandbox's status.
pub(super) fn status(stage: &Stage<'_>, id: &str) -> Result<api::PodSandboxStatus, Failure> {
    let request = api::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
    let answer =
        stage.cri.ask("PodSandboxStatus", |mut client| async move { client.pod_sandbox_status(request).await })?;
    Ok(answer.status.unwrap_or_default())
}

/// The process id of the pause container's init on the host.
pub(super) fn pause_pid(stage: &Stage<'_>, id: &str) -> Result<u32, Fault> {
    let request = api::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: true };
    let mut answer =
        stage.cri.ask("PodSandboxStatus", |mut client| async move { client.pod_sandbox_status(request).await })?;
    let info: serde_json::Value = serde_json::from_str(&answer.info.remove("info").unwrap_or_default())?;
    let pid = info["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
    Ok(pid.ok_or_else(|| libtest_mimic::Failed::from("the status names no process"))?)
}

/// Stops a sandbox and what runs in it.
pub(super) fn stop(stage: &Stage<'_>, id: &str) -> Result<(), Failure> {
    let request = api::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
    stage.cri.ask("StopPodSandbox", |mut client| async move { client.stop_pod_sandbox(request).await }).map(drop)
}

fn list(stage: &Stage<'_>, state: Option<api::PodSandboxState>) -> Result<Vec<String>, Failure> {
    let state = state.map(|state| api::PodSandboxStateValue { state: state.into() });
    let filter = api::PodSandboxFilter { state, ..Default::default() };
    let request = api::ListPodSandboxRequest { filter: Some(filter) };
    let answer = stage.cri.ask("ListPodSandbox", |mut client| async move { client.list_pod_sandbox(request).await })?;
    Ok(answer.items.into_iter().map(|pod| pod.id).collect())
}
