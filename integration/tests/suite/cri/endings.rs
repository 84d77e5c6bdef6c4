//! How a container ends, and what is told of it.

use k8s_cri::v1 as api;
use palisade_integration::containerd::Runtime;
use palisade_integration::{Failure, poll};

use super::containers::{awaited_end, code_and_reason, end, shell, state};
use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Fault, Stage};
use crate::lifecycle::waits_for_signal;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "exit codes and reasons, also of a signal",
        "",
        ends,
        &[("exit 0", "0 Completed"), ("exit 3", "3 Error"), ("kill", "137 Error")],
    ),
    scenario(
        "a program that is not there",
        "",
        missing,
        &[("start", "Unknown, names the program"), ("end", "ContainerExited 128 StartError")],
    ),
    scenario(
        "SIGTERM, then SIGKILL when the timeout is over",
        "Container: stopping",
        timeout,
        &[
            ("handles it", "0 Completed, at once"),
            ("ignores it", "137 Error, after the timeout"),
            ("no timeout", "137 Error, at once"),
        ],
    ),
    scenario(
        "a container of the same name takes the place of one that ended",
        "",
        again,
        &[("first", "ContainerExited 7 Error"), ("second", "ContainerRunning")],
    ),
    scenario("memory beyond the limit: OOMKilled", "Container OOM", out_of_memory, &[("end", "137 OOMKilled")]),
];

fn ends(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let mut seen = Seen::new();
    for (name, script) in [("exit 0", "exit 0"), ("exit 3", "exit 3"), ("kill", "sh -c 'kill -9 $$'; exit $?")] {
        let container = stage.container(&pod, |config| shell(config, script))?;
        seen.note(name, code_and_reason(&container)?);
    }
    pod.remove()?;
    Ok(seen)
}

fn missing(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let container = stage.created(&pod, |config| config.command = vec!["/no/such/program".to_owned()])?;
    let mut seen = Seen::new();
    match stage.cri.begin(&container.id).as_ref().map_err(|failure| failure.refusal()) {
        Ok(()) => seen.note("start", "done"),
        Err(None) => seen.note("start", "no answer"),
        Err(Some((code, message))) => {
            let names = message.contains("/no/such/program");
            seen.note("start", format!("{code:?}, {}", if names { "names the program" } else { message }));
        }
    }
    seen.note("end", end(&container)?);
    pod.remove()?;
    Ok(seen)
}

fn timeout(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let mut seen = Seen::new();
    let deaf = "trap '' TERM; echo > /tmp/deaf; while :; do sleep 0.1; done";
    for (name, script, seconds) in
        [("handles it", "exec /probe sleep", 20), ("ignores it", deaf, 2), ("no timeout", deaf, 0)]
    {
        let container = stage.container(&pod, |config| shell(config, script))?;
        if script == deaf {
            poll::eventually("a trap", 20, || match container.exec(&["stat", "/tmp/deaf"]) {
                Ok(executed) if executed.code == 0 => Ok(()),
                other => Err(format!("{other:?}")),
            })?;
        } else {
            waits_for_signal(container.pid()?)?;
        }
        let start = std::time::Instant::now();
        stage.cri.stop(&container.id, seconds)?;
        let waited = start.elapsed().as_secs_f32() >= 2.0 && seconds == 2;
        let when = if waited { "after the timeout" } else { "at once" };
        seen.note(name, format!("{}, {when}", code_and_reason(&container)?));
    }
    pod.remove()?;
    Ok(seen)
}

fn again(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let name = |config: &mut api::ContainerConfig, attempt| {
        config.metadata = Some(api::ContainerMetadata { name: "again".to_owned(), attempt });
    };
    let first = stage.container(&pod, |config| {
        name(config, 0);
        shell(config, "exit 7");
    })?;
    let mut seen = Seen::new();
    awaited_end(&first)?;
    seen.note("first", end(&first)?);
    seen.answer(
        "the same attempt",
        &stage.created(&pod, |config| name(config, 0)).map(drop).map_err(|fault| match fault {
            Fault::Refused(failure) => failure,
            Fault::Broken(failed) => Failure::LeftBehind(failed.message().unwrap_or_default().to_owned()),
        }),
    );
    let second = stage.container(&pod, |config| name(config, 1))?;
    seen.note("second", state(&second)?);
    pod.remove()?;
    Ok(seen)
}

/// runc's shim tells of the OOM kill and of the exit by two threads, so that CRI sees the exit first at times. It gets some tries;
/// palisade, whose events have an order, gets one.
fn out_of_memory(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let mut tries = if stage.runtime == Runtime::Runc { 5 } else { 1 };
    loop {
        let end = end_of_hog(stage)?;
        tries -= 1;
        if tries == 0 || end.ends_with("OOMKilled") {
            let mut seen = Seen::new();
            seen.note("end", end);
            return Ok(seen);
        }
    }
}

fn end_of_hog(stage: &Stage<'_>) -> Result<String, Fault> {
    let pod = stage.pod(|_| ())?;
    let container = stage.container(&pod, |config| {
        config.command = ["/probe", "hold", "64"].map(str::to_owned).to_vec();
        config.linux.get_or_insert_default().resources.get_or_insert_default().memory_limit_in_bytes = 20 << 20;
    })?;
    let end = code_and_reason(&container)?;
    pod.remove()?;
    Ok(end)
}
