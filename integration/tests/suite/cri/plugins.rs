//! Plugins of NRI: what they are told, and what they make of a container, of which the shim has the last word.

use palisade_integration::cgroup::Limits;
use palisade_integration::nri::{Adjustment, Plugin};

use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Fault, Stage};

const EVENTS: &str = "RunPodSandbox CreateContainer PostCreateContainer StartContainer PostStartContainer StopContainer \
                      RemoveContainer StopPodSandbox RemovePodSandbox";

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "a plugin is told of pod and container in order",
        "NRI: pod sandbox lifecycle, container lifecycle",
        told,
        &[("events", EVENTS)],
    ),
    scenario("what a plugin adds is in force", "", adjusted, &[("variable", "blue"), ("memory", "48 MiB")]),
    scenario("a directory of the host that a plugin binds", "", bound, &[("content", "of the host")])
        .refused("mount.host-path"),
];

fn told(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let mut config = stage.cri.pod_config();
    let name = config.metadata.get_or_insert_default().name.clone();
    let plugin = Plugin::register(&stage.world.containerd, &name, Adjustment::default())?;
    let pod = stage.pod(|own| *own = config)?;
    let container = stage.container(&pod, |_| ())?;
    stage.cri.stop(&container.id, 10)?;
    stage.cri.remove(&container.id)?;
    pod.remove()?;
    let mut seen = Seen::new();
    seen.note("events", plugin.hears("RemovePodSandbox")?.join(" "));
    Ok(seen)
}

fn adjusted(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let adjustment = Adjustment { variable: Some(("COLOUR", "blue")), memory: Some(48 << 20), ..Adjustment::default() };
    with_plugin(stage, adjustment, |container, seen| {
        container.note(seen, "variable", "echo $COLOUR")?;
        let memory = Limits::of(container.pid()?)?.memory.unwrap_or_default();
        seen.note("memory", format!("{} MiB", memory >> 20));
        Ok(())
    })
}

fn bound(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let folder = stage.folder()?;
    std::fs::write(folder.join("word"), "of the host")?;
    let bind = Some((folder.display().to_string(), "/bound"));
    let seen = with_plugin(stage, Adjustment { bind, ..Adjustment::default() }, |container, seen| {
        container.note(seen, "content", "cat /bound/word")
    });
    std::fs::remove_dir_all(folder)?;
    seen
}

/// A pod whose containers a plugin adjusts.
fn with_plugin(
    stage: &Stage<'_>,
    adjustment: Adjustment,
    look: impl FnOnce(&super::stage::Container<'_>, &mut Seen) -> Result<(), Fault>,
) -> Result<Seen, Fault> {
    let mut config = stage.cri.pod_config();
    let name = config.metadata.get_or_insert_default().name.clone();
    let plugin = Plugin::register(&stage.world.containerd, &name, adjustment)?;
    let seen = stage.one_in(|own| *own = config, |_| (), look);
    drop(plugin);
    seen
}
