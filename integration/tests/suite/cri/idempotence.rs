//! Requests that may come twice, or for what is not there.

use k8s_cri::v1 as api;

use super::sandboxes::stop;
use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Fault, Stage};

const NOT_THERE: &str = "0123456789";

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "what is not there is stopped and removed without an error",
        "Idempotence: not found",
        not_there,
        &[
            ("stop a sandbox", "done"),
            ("remove a sandbox", "done"),
            ("stop a container", "done"),
            ("remove a container", "done"),
        ],
    ),
    scenario(
        "what was stopped or removed is stopped and removed again",
        "Idempotence: already stopped",
        twice,
        &[
            ("stop the container", "done"),
            ("stop the sandbox", "done"),
            ("remove the container", "done"),
            ("remove the sandbox", "done"),
        ],
    ),
];

fn not_there(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let mut seen = Seen::new();
    seen.answer("stop a sandbox", &stop(stage, NOT_THERE));
    let request = api::RemovePodSandboxRequest { pod_sandbox_id: NOT_THERE.to_owned() };
    seen.answer(
        "remove a sandbox",
        &stage.cri.ask("RemovePodSandbox", |mut client| async move { client.remove_pod_sandbox(request).await }),
    );
    seen.answer("stop a container", &stage.cri.stop(NOT_THERE, 0));
    seen.answer("remove a container", &stage.cri.remove(NOT_THERE));
    Ok(seen)
}

fn twice(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let container = stage.container(&pod, |_| ())?;
    let mut seen = Seen::new();
    stage.cri.stop(&container.id, 0)?;
    seen.answer("stop the container", &stage.cri.stop(&container.id, 0));
    stage.cri.remove(&container.id)?;
    seen.answer("remove the container", &stage.cri.remove(&container.id));
    stop(stage, &pod.id)?;
    seen.answer("stop the sandbox", &stop(stage, &pod.id));
    let again = pod.under(&stage.cri);
    pod.remove()?;
    seen.answer("remove the sandbox", &again.remove());
    Ok(seen)
}
