//! A mount's source that is exchanged after it was judged (CWE-367): the runtime is one that does it right before its own
//! work, so the race is won each time.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use libtest_mimic::Trial;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use palisade_integration::tasks::CreateOptions;
use serde_json::json;

use crate::bypass::container::Container;
use crate::spec_edits::push;
use crate::support::{Check, World, trial};

/// Allows the folder that is to be mounted; the runtime is the embedded one.
pub(crate) fn policy_of_mount(world: &World) -> String {
    let folder = folder(world);
    format!(
        "version = 1\n[profiles.restricted.rules.\"mount.host-path\"]\nallow = [\"{}\"]\n",
        folder.join("pod").display()
    )
}

pub(crate) fn in_user_namespace(world: &'static World) -> Vec<Trial> {
    // `ctr` of 1.7 asks for user namespaces with options of containerd 1.0's shim, which runc's shim ignores.
    if world.containerd.is_one_seven() {
        return Vec::new();
    }
    vec![trial(world, "a container in a user namespace sees its mounts", remapped)]
}

fn remapped(world: &World) -> Check {
    let volume = folder(world).join("pod/volume");
    fs::create_dir_all(&volume)?;
    fs::write(volume.join("word"), "remapped")?;
    let mount = format!("type=bind,src={},dst=/shown,options=rbind:ro:nosuid:nodev", volume.display());
    let flags = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536", "--mount", &mount];
    let mut seen = Vec::new();
    for runtime in [Runtime::Runc, Runtime::Palisade] {
        let run = Run::new(runtime, &["cat", "/shown/word"]).flags(&flags);
        seen.push(format!("{:?}", world.containerd.run(&run)?.success()));
    }
    fs::remove_dir_all(folder(world))?;
    expect!(seen.iter().all(|text| text.contains("remapped")), "{seen:?}");
    Ok(())
}

/// Names the exchanging program as the runtime, and allows the folder that is to be mounted.
pub(crate) fn policy(world: &World) -> String {
    let folder = folder(world);
    format!(
        "version = 1\n[runtime]\nbinary = \"{}\"\n[profiles.restricted.rules.\"mount.host-path\"]\nallow = [\"{}\"]\n",
        folder.join("runtime").display(),
        folder.join("pod").display()
    )
}

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    vec![trial(world, "a source exchanged before the mount is not mounted", exchanged_source)]
}

/// What a volume can do that gets over the root after `root.links` has looked, shown where that rule is off: the links that the
/// embedded runtime makes in `/dev` then go where the volume says, and must not be made on the host.
pub(crate) fn over_root(world: &World) -> Check {
    let (volume, host) = (folder(world).join("volume"), folder(world).join("host"));
    fs::create_dir_all(&volume)?;
    fs::create_dir_all(&host)?;
    symlink(&host, volume.join("dev"))?;
    let container = Container::make(world, Runtime::Palisade, &["true"], |spec| {
        let options = json!(["rbind", "rprivate", "nosuid", "nodev"]);
        push(spec, "/mounts", json!({ "destination": "/data", "type": "bind", "source": volume, "options": options }));
    })?;
    symlink("/", container.upper()?.join("data"))?;
    let answer = container.start(CreateOptions::default());
    let made: Vec<_> =
        fs::read_dir(&host)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
    drop(container);
    fs::remove_dir_all(folder(world))?;
    expect!(made.is_empty(), "the runtime made {made:?} on the host");
    let said = format!("{answer:?}");
    expect!(said.contains("failed to symlink"), "it got no further than to {said}");
    Ok(())
}

fn folder(world: &World) -> PathBuf {
    world.containerd.layout().base.join("exchange")
}

fn exchanged_source(world: &World) -> Check {
    let folder = folder(world);
    let runtime = folder.join("runtime");
    let binary = runtime.display().to_string();
    let control = shown(world, Runtime::Runc, &["--runc-binary", &binary])?;
    let palisade = shown(world, Runtime::Palisade, &[])?;
    fs::remove_dir_all(folder)?;
    expect!(control == "not judged", "control: runc mounted {control:?}");
    expect!(palisade == "judged", "palisade mounted {palisade:?}");
    Ok(())
}

/// What the container reads at the place where `pod/volume` is mounted, after the runtime has put a link there.
fn shown(world: &World, runtime: Runtime, flags: &[&str]) -> Result<String, libtest_mimic::Failed> {
    let folder = folder(world);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let (volume, host) = (folder.join("pod/volume"), folder.join("host"));
    for (place, word) in [(&volume, "judged"), (&host, "not judged")] {
        fs::create_dir_all(place)?;
        fs::write(place.join("word"), word)?;
    }
    symlink(&host, folder.join("pod/link"))?;
    let program = folder.join("runtime");
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in\n*' create '*) cd {0} && mv volume old && mv link volume ;;\nesac\nexec {1} \"$@\"\n",
        folder.join("pod").display(),
        world.containerd.assets().runc.display()
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let mount = format!("type=bind,src={},dst=/shown,options=rbind:ro:nosuid:nodev", volume.display());
    let run = Run::new(runtime, &["cat", "/shown/word"]).flags(&["--mount", &mount]).flags(flags);
    let text = world.containerd.run(&run)?.success()?;
    expect!(folder.join("pod/old").exists(), "the runtime exchanged nothing");
    Ok(text.trim().to_owned())
}
