//! What somebody on the host does to a container after it was made: before its start it does not start, afterwards it is drift.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use libtest_mimic::{Failed, Trial};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use palisade::attest::{Finding, verify};

use super::fault;
use super::victim::{SLEEP, Victim};
use crate::support::{Check, World};

pub(super) fn trials(world: &'static World) -> Vec<Trial> {
    vec![
        fault(world, "a limit is raised between create and start", raised_before_start),
        fault(world, "something is mounted between create and start", mounted_before_start),
        fault(world, "drift of a container that runs is found", drift),
    ]
}

/// Mounts a tmpfs over a directory of a container.
fn mount_in(pid: u32) -> Check {
    let namespace = fs::File::open(format!("/proc/{pid}/ns/mnt"))?;
    let within = move || -> nix::Result<()> {
        unshare(CloneFlags::CLONE_FS)?;
        setns(namespace, CloneFlags::CLONE_NEWNS)?;
        mount(Some("tmpfs"), "/dev/mqueue", Some("tmpfs"), MsFlags::empty(), None::<&str>)
    };
    thread::spawn(within).join().map_err(|_| "the thread in the namespace panicked")??;
    Ok(())
}

/// The file with the limit on processes of a container's cgroup.
fn pids_limit(pid: u32) -> Result<PathBuf, Failed> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let of = |prefix: &str| text.lines().find_map(|line| line.split_once(prefix).map(|(_, path)| path.to_owned()));
    let (mount, path) = match of(":pids:/") {
        Some(path) => ("/sys/fs/cgroup/pids", path),
        None => ("/sys/fs/cgroup", of("0::/").ok_or("no cgroup")?),
    };
    Ok(Path::new(mount).join(path).join("pids.max"))
}

fn expect_start_refused(victim: &Victim<'_>, check: &str) -> Check {
    let Err(failure) = victim.tasks.start(&victim.id, "") else { return Err("it was started".into()) };
    let said = failure.to_string();
    expect!(said.contains(&format!("palisade: attestation failed: {check}: ")), "{said}");
    let status = victim.tasks.wait(&victim.id, "")?;
    expect_eq!(status, 137, "it was killed");
    Ok(())
}

fn raised_before_start(world: &World) -> Check {
    let victim = Victim::make(world, SLEEP)?;
    fs::write(pids_limit(victim.create()?)?, "4000")?;
    expect_start_refused(&victim, "limits")?;
    victim.remove()
}

fn mounted_before_start(world: &World) -> Check {
    let victim = Victim::make(world, SLEEP)?;
    mount_in(victim.create()?)?;
    expect_start_refused(&victim, "mounts")?;
    victim.remove()
}

/// The checks that tell of drift.
fn drifted(victim: &Victim<'_>) -> Result<Vec<&'static str>, Failed> {
    match verify(&victim.bundle())?.finding {
        Finding::Verified => Ok(Vec::new()),
        Finding::Drift(found) => Ok(found.iter().map(|one| one.check).collect()),
        other => Err(format!("{other:?}").into()),
    }
}

fn drift(world: &World) -> Check {
    let victim = Victim::make(world, SLEEP)?;
    let pid = victim.create()?;
    expect_eq!(drifted(&victim)?, [""; 0], "created");
    victim.tasks.start(&victim.id, "")?;
    expect_eq!(drifted(&victim)?, [""; 0], "as it was started");
    // What containerd asks for, and the policy admits, is no drift.
    victim.tasks.update(&victim.id, &serde_json::json!({ "pids": { "limit": 50 } }))?;
    expect_eq!(drifted(&victim)?, [""; 0], "updated");
    fs::write(pids_limit(pid)?, "4000")?;
    expect_eq!(drifted(&victim)?, ["limits"], "a limit that was raised");
    mount_in(pid)?;
    expect_eq!(drifted(&victim)?, ["mounts", "limits"], "something mounted");
    victim.remove()
}
