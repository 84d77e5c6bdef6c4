//! Images as volumes.

use k8s_cri::v1 as api;
use palisade_integration::image;

use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Fault, Stage};

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "an image as a volume, read-only",
        "Image Volume: mount image and enforce read-only",
        mounted,
        &[
            ("content", "user:x:1000:1000::/home:/bin/sh"),
            ("write", "touch: /image/new: Read-only file system (1)"),
            ("again", "the same"),
        ],
    )
    .since_two("1.7 mounts no images"),
    scenario(
        "an image as a writable volume is refused by containerd",
        "Image Volume: reject Readonly set to false",
        writable,
        &[("create", "refused")],
    )
    .since_two("1.7 mounts no images"),
];

fn volume(readonly: bool) -> api::Mount {
    api::Mount {
        container_path: "/image".to_owned(),
        image: Some(api::ImageSpec { image: image::USER.to_owned(), ..Default::default() }),
        readonly,
        ..Default::default()
    }
}

fn mounted(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let container = stage.container(&pod, |config| config.mounts.push(volume(true)))?;
    let mut seen = Seen::new();
    container.note(&mut seen, "content", "grep ^user /image/etc/passwd")?;
    container.note(&mut seen, "write", "touch /image/new")?;
    // containerd mounts it once a pod.
    let again = stage.container(&pod, |config| config.mounts.push(volume(true)))?;
    let content = again.exec(&["grep", "^user", "/image/etc/passwd"])?.stdout;
    seen.note("again", if Some(content.trim()) == seen.get("content") { "the same" } else { &content });
    pod.remove()?;
    Ok(seen)
}

fn writable(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let mut seen = Seen::new();
    match stage.created(&pod, |config| config.mounts.push(volume(false))) {
        Ok(_) => seen.note("create", "done"),
        Err(Fault::Refused(_)) => seen.note("create", "refused"),
        Err(broken) => return Err(broken),
    }
    pod.remove()?;
    Ok(seen)
}
