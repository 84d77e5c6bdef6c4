//! A container's log, as kubelet reads and rotates it.

use std::fs;

use k8s_cri::v1 as api;
use palisade_integration::poll;

use super::containers::{awaited_end, shell};
use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Fault, Stage};

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "the log has both streams, line by line",
        "Container: log",
        lines,
        &[("stdout", "F one + F two + P unfinished"), ("stderr", "F wrong")],
    ),
    scenario("a line of 40000 bytes is logged in parts", "", long_line, &[("parts", "P 16384 + P 16384 + F 7232")]),
    scenario("the log of a terminal has one stream", "", terminal, &[("stdout", "F out + F err")]),
    scenario(
        "a log that was moved away is opened anew",
        "Container: reopening the log",
        reopened,
        &[("reopen", "done"), ("old log", "before"), ("new log", "after")],
    ),
];

fn lines(stage: &Stage<'_>) -> Result<Seen, Fault> {
    ended(stage, |config| shell(config, "echo one; echo wrong >&2; echo two; printf unfinished"))
}

fn terminal(stage: &Stage<'_>) -> Result<Seen, Fault> {
    ended(stage, |config| {
        config.tty = true;
        shell(config, "echo out; echo err >&2");
    })
}

/// The log of a container that ran to its end.
fn ended(stage: &Stage<'_>, change: impl FnOnce(&mut api::ContainerConfig)) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let container = stage.container(&pod, change)?;
    awaited_end(&container)?;
    let mut seen = Seen::new();
    for line in fs::read_to_string(&container.log)?.lines() {
        // Time, stream, tag, text.
        let mut fields = line.splitn(3, ' ').skip(1);
        seen.add(fields.next().unwrap_or_default(), fields.next().unwrap_or_default().trim_end());
    }
    pod.remove()?;
    Ok(seen)
}

fn long_line(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let container =
        stage.container(&pod, |config| shell(config, "dd if=/dev/zero bs=40000 count=1 2>/dev/null; echo"))?;
    awaited_end(&container)?;
    let mut seen = Seen::new();
    for line in String::from_utf8_lossy(&fs::read(&container.log)?).lines() {
        let mut fields = line.splitn(4, ' ').skip(2);
        let (tag, text) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        seen.add("parts", &format!("{tag} {}", text.len()));
    }
    pod.remove()?;
    Ok(seen)
}

fn reopened(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let script =
        "echo before; while ! stat /tmp/go >/dev/null 2>&1; do sleep 0.05; done; echo after; exec /probe sleep";
    stage.one(
        |config| shell(config, script),
        |container, seen| {
            has(&container.log, "before")?;
            let old = format!("{}.old", container.log);
            fs::rename(&container.log, &old)?;
            let request = api::ReopenContainerLogRequest { container_id: container.id.clone() };
            let answer = stage
                .cri
                .ask("ReopenContainerLog", |mut client| async move { client.reopen_container_log(request).await });
            seen.answer("reopen", &answer);
            container.exec(&["touch", "/tmp/go"])?;
            has(&container.log, "after")?;
            seen.note("old log", words(&old)?);
            seen.note("new log", words(&container.log)?);
            Ok(())
        },
    )
}

/// Waits for a word in a log.
pub(super) fn has(log: &str, word: &str) -> Result<(), Fault> {
    poll::eventually("a line in the log", 20, || {
        let text = fs::read_to_string(log).map_err(|error| error.to_string())?;
        if text.contains(word) { Ok(()) } else { Err(text) }
    })?;
    Ok(())
}

/// What was logged, without times and streams.
fn words(log: &str) -> Result<String, Fault> {
    let text = fs::read_to_string(log)?;
    Ok(text.lines().filter_map(|line| line.split(' ').nth(3)).collect::<Vec<_>>().join(" "))
}
