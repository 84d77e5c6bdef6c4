//! A profile of what a workload was seen to call lets that workload run, and stops what it did not call. These tests run alone.

use std::fs;
use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};
use oci_spec::runtime::LinuxSeccomp;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use palisade_integration::policy::PolicyFile;
use palisade_seccomp::Seen;
use serde_json::Value;

use crate::audit;
use crate::profiles::Beside;
use crate::support::{Check, Test, World, trial};

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    let tests: [(&str, Test); 4] = [
        ("a learned profile runs its workload and stops what is outside", learned),
        ("a learned profile that the policy names is in force", learned_in_policy),
        ("an exec of a container that learns is recorded", exec_learned),
        ("a workload that learns gets what it gets otherwise", same_outcomes),
    ];
    tests.into_iter().map(|(name, test)| trial(world, &format!("learning: {name}"), test)).collect()
}

/// Opens an IPv4 socket, asks for addresses by ioctl, starts programs, uses pipes.
const WORKLOAD: &str = "ls / | wc -l; busybox ifconfig lo | grep -c LOOPBACK; id -u";
/// Opens a netlink socket, where the workload opened an IPv4 one; and what it never called.
const OUTSIDE: [&str; 2] = ["busybox ip link", "mkdir /dev/shm/outside"];

fn directory(world: &World) -> PathBuf {
    world.containerd.layout().base.join("calls")
}

pub(crate) fn policy(world: &World) -> String {
    let directory = directory(world).display().to_string();
    format!(
        "profile = \"learner\"\n[seccomp]\nrecords = \"{directory}\"\n[profiles.learner]\nextends = \"restricted@1\"\nlearn = true\n"
    )
}

/// The record of a container, which is complete once it was removed.
fn record(world: &World, container: &str) -> Result<(Seen, LinuxSeccomp, Value), Failed> {
    let path = directory(world).join(format!("{}:{container}.json", world.containerd.tag()));
    let record: Value =
        serde_json::from_slice(&fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?)?;
    let seen = serde_json::from_value(record["seen"].clone())?;
    Ok((seen, serde_json::from_value(record["seccomp"].clone())?, record))
}

/// Runs a command line under the policy's own profile and this one.
fn run_with(
    world: &World,
    profile: Option<&str>,
    line: &str,
) -> Result<palisade_integration::invocation::Invocation, Failed> {
    let flags = profile.map(|path| ["--seccomp", "--seccomp-profile", path]);
    let run =
        Run::new(Runtime::Palisade, &["sh", "-c", line]).flags(flags.as_ref().map_or(&[], |flags| flags.as_slice()));
    Ok(world.containerd.run(&run)?)
}

/// The profile of a container that has run the workload.
fn learn(world: &World) -> Result<String, Failed> {
    let container = world.containerd.detach(&Run::new(Runtime::Palisade, &["sh", "-c", WORKLOAD]))?;
    expect_eq!(world.tasks()?.wait(container.id(), "")?, 0, "status of the workload");
    let (id, _) = (container.id().to_owned(), container.remove()?);
    let (seen, in_force, record) = record(world, &id)?;
    expect_eq!(record["profile"], "learner", "profile");
    Ok(seen.profile("the workload of a test", &[in_force])?)
}

fn learned(world: &World) -> Check {
    let text = learn(world)?;
    let path = directory(world).join("learned.profile");
    fs::write(&path, &text)?;
    let path = path.display().to_string();

    PolicyFile::defaults().write(world.containerd.layout())?;
    let checked = (|| -> Check {
        let expected = run_with(world, None, WORKLOAD)?.success()?;
        expect_eq!(run_with(world, Some(&path), WORKLOAD)?.success()?, expected, "output under {text}");
        for line in OUTSIDE {
            run_with(world, None, line)?.success()?;
            let stopped = run_with(world, Some(&path), line)?;
            expect!(!stopped.status.success(), "{line} runs under {text}");
        }
        Ok(())
    })();
    PolicyFile::of(&policy(world)).write(world.containerd.layout())?;
    fs::remove_file(&path)?;
    checked
}

/// Who has what was learned: what is in this namespace.
const LEARNED: &str = r#"
[[select]]
namespace = "learned"
profile = "learned"
[profiles.learned]
extends = "restricted@1"
[profiles.learned.rules."linux.seccomp"]
profile = "workload"
"#;

fn learned_in_policy(world: &World) -> Check {
    let text = learn(world)?;
    let _profile = Beside::write(world, "seccomp.d", "workload.json", &text)?;
    let _selects = Beside::write(world, "policy.d", "10-learned.toml", LEARNED)?;
    let run = |namespace: &str, line: &str| {
        world.containerd.run(&Run::new(Runtime::Palisade, &["sh", "-c", line]).sandbox_in(namespace))
    };
    let expected = run("other", WORKLOAD)?.success()?;
    expect_eq!(run("learned", WORKLOAD)?.success()?, expected, "output under {text}");
    for line in OUTSIDE {
        run("other", line)?.success()?;
        expect!(!run("learned", line)?.status.success(), "{line} runs under {text}");
    }
    let container =
        world.containerd.detach(&Run::new(Runtime::Palisade, &["sh", "-c", "sleep 1000"]).sandbox_in("learned"))?;
    let create = audit::records(world, container.id())?.into_iter().next().ok_or("nothing is on record")?;
    expect_eq!(create["record"]["profile"], "learned", "on record");
    expect_eq!(container.exec(&[], &["sh", "-c", WORKLOAD])?.success()?, expected, "a process that is added");
    for line in OUTSIDE {
        expect!(!container.exec(&[], &["sh", "-c", line])?.status.success(), "{line} runs in an exec");
    }
    Ok(container.remove()?)
}

fn exec_learned(world: &World) -> Check {
    let container = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]))?;
    container.exec(&[], &["busybox", "ip", "link"])?.success()?;
    let (id, _) = (container.id().to_owned(), container.remove()?);
    let (seen, ..) = record(world, &id)?;
    let socket = seen.calls().find(|(name, _)| *name == "socket").ok_or_else(|| format!("no socket in {seen:?}"))?;
    let families: Vec<u32> = socket.1.listed().into_iter().flatten().copied().collect();
    expect_eq!(families, [2, 16], "AF_INET and AF_NETLINK");
    expect!(seen.calls().all(|(name, _)| name != "keyctl"), "what is refused is no need: {seen:?}");
    Ok(())
}

fn same_outcomes(world: &World) -> Check {
    let learning = world.attempts(Runtime::Palisade, &[])?;
    PolicyFile::defaults().write(world.containerd.layout())?;
    let otherwise = world.attempts(Runtime::Palisade, &[]);
    PolicyFile::of(&policy(world)).write(world.containerd.layout())?;
    expect_eq!(learning, otherwise?, "outcomes");
    Ok(())
}
