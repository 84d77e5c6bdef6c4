//! A specification that readers take differently, and files that it stands for (contract §6.9, §6.20, §6.22).

use std::fs;
use std::path::PathBuf;

use libtest_mimic::Failed;
use palisade_integration::bundle_spec;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::unique;
use palisade_integration::tasks::CreateOptions;
use serde_json::json;

use super::container::{Container, SLEEP};
use super::ways::Meeting;
use super::ways::Way::{Spec, Test};
use super::{Bypass, Met, powerless, refused, seen};
use crate::spec_edits::set;
use crate::support::World;

const TEXT: &str = "create, text of the specification";

pub(super) const ENTRIES: &[Bypass] = &[
    refused(
        "root-of-host",
        "§6.9",
        "a directory of the host as root filesystem, by root.path",
        Test("create, changed specification", root_of_host),
        "root.path",
    ),
    refused(
        "unknown-field",
        "§6.22",
        "a field that the policy does not know",
        Spec(|spec| set(spec, "/linux/newIsolation", json!(true))),
        "spec.strict",
    ),
    refused(
        "duplicate-key",
        "§6.22, CVE-2024-41110, CVE-2026-34040",
        "a key given twice, of which readers take different ones",
        Test(TEXT, duplicate_key),
        "spec.strict",
    ),
    refused(
        "key-in-other-case",
        "§6.22, CVE-2026-34040",
        "a key in another case, which Go takes and others do not",
        Test(TEXT, other_case),
        "spec.strict",
    ),
    powerless(
        "swapped-specification",
        "§6.20",
        "the bundle's config.json exchanged between create and start",
        Test("create, then another config.json, then start", swapped),
        "the runtime reads the hardened copy in a directory of its own",
    )
    .stops_too("runc starts what it was created with"),
];

/// Creates a container of a specification's text.
fn text(world: &World, runtime: Runtime, from: &str, to: &str) -> Meeting {
    let id = unique("bypass");
    let spec = bundle_spec::spec(world.containerd.tag(), &id, &["true"]).to_string();
    expect!(spec.contains(from), "no {from} in the specification");
    let container = Container::of(world, runtime, id, &spec.replacen(from, to, 1))?;
    Ok(container.start(CreateOptions::default()).map_or_else(Met::Refused, |_| Met::Through))
}

fn duplicate_key(world: &World, runtime: Runtime) -> Meeting {
    text(world, runtime, "\"process\":", "\"process\":{},\"process\":")
}

fn other_case(world: &World, runtime: Runtime) -> Meeting {
    text(world, runtime, "\"maskedPaths\":", "\"MaskedPaths\":")
}

fn swapped(world: &World, runtime: Runtime) -> Meeting {
    let container = Container::make(world, runtime, SLEEP, |spec| {
        set(spec, "/process/user", json!({ "uid": 1000, "gid": 1000 }));
    })?;
    let pid = container.tasks.create(&container.id, container.mounts.clone(), CreateOptions::default())?;
    let file = world.containerd.layout().bundles().join(world.containerd.tag()).join(&container.id).join("config.json");
    let root = bundle_spec::spec(world.containerd.tag(), &container.id, SLEEP);
    fs::write(&file, root.to_string())?;
    container.tasks.start(&container.id, "")?;
    crate::lifecycle::waits_for_signal(pid)?;
    let uid = seen::status(pid, "Uid");
    Ok(super::ways::seen(uid.starts_with("0\t"), format!("user {uid}")))
}

fn root_of_host(world: &World, runtime: Runtime) -> Meeting {
    let root = host_root(world)?;
    let place = root.display().to_string();
    let container = Container::make(world, runtime, &["/bin/true"], |spec| set(spec, "/root/path", json!(place)))?;
    Ok(container.start(CreateOptions::default()).map_or_else(Met::Refused, |_| Met::Through))
}

/// A directory outside of containerd's that would do as a root filesystem, so that nobody needs the machine's own.
pub(super) fn host_root(world: &World) -> Result<PathBuf, Failed> {
    let root = world.containerd.layout().base.join(unique("root"));
    for folder in ["bin", "dev", "proc", "run", "sys"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy(&world.containerd.assets().busybox, root.join("bin/true"))?;
    Ok(root)
}
