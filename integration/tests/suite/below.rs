//! What the host has mounted below a host path that the policy lists comes along with it, and has flags of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;

use crate::support::{Check, World, expect_denial, trial};

/// Lists a folder, to be mounted read-only.
pub(crate) fn policy(world: &World) -> String {
    let listed = folder(world).display().to_string();
    format!("version = 1\n[profiles.restricted.rules.\"mount.host-path\"]\nallow = [\"{listed}:ro\"]\n")
}

/// The same, with runc as the runtime.
pub(crate) fn policy_with_runc(world: &World) -> String {
    let runc = world.containerd.assets().runc.display().to_string();
    policy(world).replacen('\n', &format!("\n[runtime]\nbinary = \"{runc}\"\n"), 1)
}

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    vec![
        trial(world, "a mount below a listed path is as read-only and harmless as the path", flags),
        trial(world, "a mount below a listed path is not what no container may have", refused),
    ]
}

fn folder(world: &World) -> PathBuf {
    world.containerd.layout().base.join("listed")
}

/// A mount of the host's below the listed folder, gone when dropped.
struct Below(PathBuf);

impl Below {
    fn new(world: &World, kind: Option<&str>, source: &str, flags: MsFlags) -> Result<Self, Failed> {
        let place = folder(world).join("below");
        fs::create_dir_all(&place)?;
        mount(Some(source), &place, kind, flags, None::<&str>)?;
        Ok(Self(place))
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        // A mount that stays is counted at the end of the run.
        umount2(&self.0, MntFlags::MNT_DETACH).ok();
    }
}

fn read_only(world: &World, options: &str) -> String {
    format!("type=bind,src={},dst=/shown,options={options}", folder(world).display())
}

fn flags(world: &World) -> Check {
    let below = Below::new(world, Some("tmpfs"), "tmpfs", MsFlags::empty())?;
    fs::set_permissions(&below.0, fs::Permissions::from_mode(0o1777))?;
    let script = "touch /shown/below/made && echo written; grep ' /shown/below ' /proc/self/mountinfo";
    let mount = read_only(world, "rbind:ro");
    let seen = |runtime| {
        world.containerd.run(&Run::new(runtime, &["sh", "-c", script]).flags(&["--mount", &mount]))?.success()
    };
    let control = seen(Runtime::Runc)?;
    fs::remove_file(below.0.join("made"))?;
    expect!(control.contains("written"), "control: runc's container can't write either: {control}");
    let ours = seen(Runtime::Palisade)?;
    expect!(!ours.contains("written") && !below.0.join("made").exists(), "written: {ours}");
    // The sixth field has the flags of the mount itself. Source: proc_pid_mountinfo(5).
    let set: Vec<&str> = ours.split_whitespace().nth(5).unwrap_or_default().split(',').collect();
    expect!(["ro", "nosuid", "nodev"].iter().all(|flag| set.contains(flag)), "flags below: {ours}");
    Ok(())
}

fn refused(world: &World) -> Check {
    let _below = Below::new(world, None, "/etc", MsFlags::MS_BIND)?;
    let run = |runtime, options| {
        let mount = read_only(world, options);
        world.containerd.run(&Run::new(runtime, &["ls", "/shown/below"]).flags(&["--mount", &mount]))
    };
    let control = run(Runtime::Runc, "rbind:ro")?.success()?;
    expect!(control.contains("passwd"), "control: runc's container does not see it: {control}");
    expect_denial(&run(Runtime::Palisade, "rbind:ro")?.refusal()?, "mount.deny-always")?;
    let alone = run(Runtime::Palisade, "bind:ro")?.success()?;
    expect!(alone.is_empty(), "without what is below: {alone}");
    Ok(())
}
