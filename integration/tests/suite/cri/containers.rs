//! The life of a container: its states, its end and what is kept of it.

use k8s_cri::v1 as api;
use palisade_integration::poll;

use super::look;
use super::sandboxes::pairs;
use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Container, Fault, Stage};
use crate::lifecycle::waits_for_signal;

/// Under `restricted` every process has these.
const CONFINED: &[(&str, &str)] = &[
    ("Uid", "65532 65532 65532 65532"),
    ("Gid", "65532 65532 65532 65532"),
    ("CapPrm", "0000000000000000"),
    ("CapBnd", "0000000000000400"),
    ("NoNewPrivs", "1"),
    ("Seccomp", "2"),
    ("pids.max", "2048"),
];

/// Where palisade is not as runc is, whatever the policy.
pub(super) const LOOKED_AT: &[(&str, &str)] = &[
    (
        "devices.list",
        "runc lets every container open `/dev/net/tun` unasked, palisade only where it is asked for (cgroup v1)",
    ),
    (
        "mount /sys/fs/cgroup",
        "read-only, as containerd asks; runc leaves the directory above the v1 hierarchies writable",
    ),
];

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "a container is created, runs, is stopped, is removed",
        "Container: creating, starting, stopping, removing a stopped one",
        life,
        &[
            ("created", "ContainerCreated"),
            ("started", "ContainerRunning"),
            ("stopped", "ContainerExited 0 Completed"),
            ("listed", "false"),
        ],
    ),
    scenario(
        "a container that asks for nothing: all that the kernel enforces on it",
        "",
        nothing,
        &[
            ("Uid", "0 0 0 0"),
            ("CapEff", "00000000a80425fb"),
            ("Seccomp", "0"),
            ("NoNewPrivs", "0"),
            ("namespace pid", "its own"),
        ],
    )
    .differs(LOOKED_AT)
    .restricted(CONFINED),
    scenario(
        "labels, annotations and name of a container are kept",
        "Container: preserving attributes",
        attributes,
        &[("labels", "tier=back"), ("annotations", "note=kept"), ("attempt", "2")],
    ),
    scenario(
        "a container that was never started is removed",
        "Container: removing a created container",
        created,
        &[("remove", "done"), ("listed", "false")],
    ),
    scenario(
        "a running container is removed",
        "Container: removing a running container",
        running,
        &[("remove", "done"), ("listed", "false")],
    ),
    scenario(
        "command, arguments, environment and working directory",
        "",
        command,
        &[("arguments", "word"), ("variable", "blue"), ("directory", "/tmp")],
    ),
    scenario("events of a container", "", events, &[("events", "created started stopped deleted")]),
];

fn life(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let container = stage.created(&pod, |_| ())?;
    let mut seen = Seen::new();
    seen.note("created", state(&container)?);
    stage.cri.begin(&container.id)?;
    seen.note("started", state(&container)?);
    seen.answer("start again", &stage.cri.begin(&container.id));
    waits_for_signal(container.pid()?)?;
    stage.cri.stop(&container.id, 10)?;
    seen.note("stopped", end(&container)?);
    stage.cri.remove(&container.id)?;
    seen.note("listed", is_listed(&container)?);
    pod.remove()?;
    Ok(seen)
}

fn nothing(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(|_| (), |container, seen| look::all(container.pid()?, seen))
}

fn attributes(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let change = |config: &mut api::ContainerConfig| {
        config.labels.insert("tier".to_owned(), "back".to_owned());
        config.annotations.insert("note".to_owned(), "kept".to_owned());
        config.metadata.get_or_insert_default().attempt = 2;
    };
    stage.one(change, |container, seen| {
        let status = container.status()?;
        seen.note("labels", pairs(&status.labels));
        seen.note("annotations", pairs(&status.annotations));
        let metadata = status.metadata.unwrap_or_default();
        seen.note("attempt", metadata.attempt);
        seen.note("name", metadata.name);
        seen.note("image", status.image.unwrap_or_default().image);
        seen.note("log", status.log_path);
        let times = status.created_at > 0 && status.started_at >= status.created_at && status.finished_at == 0;
        seen.note("times are in order", times);
        Ok(())
    })
}

fn created(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let container = stage.created(&pod, |_| ())?;
    let mut seen = Seen::new();
    seen.answer("exec", &container.exec(&["true"]));
    seen.answer("remove", &stage.cri.remove(&container.id));
    seen.note("listed", is_listed(&container)?);
    pod.remove()?;
    Ok(seen)
}

fn running(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let container = stage.container(&pod, |_| ())?;
    let mut seen = Seen::new();
    seen.answer("remove", &stage.cri.remove(&container.id));
    seen.note("listed", is_listed(&container)?);
    pod.remove()?;
    Ok(seen)
}

fn command(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let change = |config: &mut api::ContainerConfig| {
        config.command = vec!["sh".to_owned(), "-c".to_owned()];
        config.args = vec!["echo $0 > /tmp/zero; exec /probe sleep".to_owned(), "word".to_owned()];
        config.working_dir = "/tmp".to_owned();
        config.envs.push(api::KeyValue { key: "COLOUR".to_owned(), value: "blue".to_owned() });
    };
    stage.one(change, |container, seen| {
        waits_for_signal(container.pid()?)?;
        container.note(seen, "arguments", "cat /tmp/zero")?;
        container.note(seen, "variable", "echo $COLOUR")?;
        container.note(seen, "directory", "pwd")?;
        container.note(seen, "host name", "hostname")
    })
}

fn events(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let mut stream = stage.cri.ask("GetContainerEvents", |mut client| async move {
        client.get_container_events(api::GetEventsRequest {}).await
    })?;
    let pod = stage.pod(|_| ())?;
    let container = stage.container(&pod, |config| shell(config, "exit 0"))?;
    awaited_end(&container)?;
    stage.cri.remove(&container.id)?;
    let mut kinds = Vec::new();
    // Other tests' containers are in the stream as well.
    while let Some(event) = stage.cri.next("GetContainerEvents", &mut stream)? {
        if event.container_id == container.id {
            let kind = event.container_event_type();
            kinds.push(kind.as_str_name().trim_start_matches("CONTAINER_").trim_end_matches("_EVENT").to_lowercase());
            if kind == api::ContainerEventType::ContainerDeletedEvent {
                break;
            }
        }
    }
    let mut seen = Seen::new();
    seen.note("events", kinds.join(" "));
    pod.remove()?;
    Ok(seen)
}

/// Makes a container run a line of shell.
pub(super) fn shell(config: &mut api::ContainerConfig, script: &str) {
    config.command = ["sh", "-c", script].map(str::to_owned).to_vec();
}

pub(super) fn state(container: &Container<'_>) -> Result<String, Fault> {
    Ok(format!("{:?}", container.status()?.state()))
}

/// State, exit code and reason, with the times that belong to an end.
pub(super) fn end(container: &Container<'_>) -> Result<String, Fault> {
    let status = container.status()?;
    let timely = if status.finished_at > 0 { "" } else { " without a time" };
    Ok(format!("{:?} {} {}{timely}", status.state(), status.exit_code, status.reason))
}

/// Waits for the end of a container.
pub(super) fn awaited_end(container: &Container<'_>) -> Result<api::ContainerStatus, Fault> {
    let status = poll::eventually("the end of a container", 30, || match container.stage.cri.status(&container.id) {
        Ok((status, _)) if status.state() == api::ContainerState::ContainerExited => Ok(status),
        other => Err(format!("{other:?}")),
    })?;
    Ok(status)
}

/// Waits for the end of a container and says how it was.
pub(super) fn code_and_reason(container: &Container<'_>) -> Result<String, Fault> {
    let status = awaited_end(container)?;
    Ok(format!("{} {}", status.exit_code, status.reason))
}

fn is_listed(container: &Container<'_>) -> Result<bool, Fault> {
    let filter = api::ContainerFilter { id: container.id.clone(), ..Default::default() };
    let request = api::ListContainersRequest { filter: Some(filter) };
    let answer =
        container.stage.cri.ask("ListContainers", |mut client| async move { client.list_containers(request).await })?;
    Ok(!answer.containers.is_empty())
}
