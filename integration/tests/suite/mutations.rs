//! What is not refused but taken away: a spec asks for it, the container runs, and the probe finds nothing of it.

use std::collections::BTreeMap;

use libtest_mimic::{Failed, Trial};
use palisade_integration::bundle_spec;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::unique;
use palisade_integration::streams::Streams;
use palisade_integration::tasks::CreateOptions;
use palisade_probe::{Outcome, Verdict};
use serde_json::{Value, json};

use crate::spec_edits::{mount_options, push, set};
use crate::support::{Check, World};

/// A change to a spec and the attempts that it lets through under runc and not under palisade.
struct Mutation {
    name: &'static str,
    make: fn(&mut Value),
    attempts: &'static [&'static str],
}

const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "no masked paths",
        make: |spec| set(spec, "/linux/maskedPaths", json!([])),
        attempts: &["read-keys", "list-firmware"],
    },
    Mutation {
        name: "no read-only paths",
        make: |spec| set(spec, "/linux/readonlyPaths", json!([])),
        attempts: &["write-core-pattern", "write-irq-affinity"],
    },
    Mutation {
        name: "a writable sysfs",
        make: |spec| mount_options(spec, "/sys", json!(["nosuid", "noexec", "nodev", "rw"])),
        attempts: &["write-sysfs"],
    },
    Mutation {
        name: "writable cgroups",
        make: |spec| {
            push(
                spec,
                "/mounts",
                json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "rw"] }),
            )
        },
        attempts: &["write-cgroup"],
    },
    Mutation {
        name: "a seccomp profile that allows all",
        make: |spec| set(spec, "/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [] })),
        attempts: &["keyctl", "personality", "user-namespace"],
    },
    Mutation {
        name: "a seccomp profile with one rule",
        make: |spec| {
            set(
                spec,
                "/linux/seccomp",
                json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["acct"], "action": "SCMP_ACT_ERRNO" }] }),
            )
        },
        attempts: &["keyctl", "personality", "user-namespace"],
    },
];

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    let takes = MUTATIONS.iter().map(|mutation| {
        Trial::test(format!("spec: takes away {}", mutation.name), move || takes_away(world, mutation))
    });
    takes
        .chain([Trial::test("spec: a container's own seccomp profile can only tighten", move || tightens(world))])
        .collect()
}

fn takes_away(world: &World, mutation: &Mutation) -> Check {
    let tried = |runtime| attempts(world, runtime, mutation);
    let unreached = |outcomes: &BTreeMap<String, Outcome>| {
        outcomes.values().filter(|outcome| outcome.result != Verdict::Reached).cloned().collect::<Vec<_>>()
    };
    let control = unreached(&tried(Runtime::Runc)?);
    expect!(control.is_empty(), "control: not reached under runc: {control:?}");
    let outcomes = tried(Runtime::Palisade)?;
    expect_eq!(unreached(&outcomes).len(), mutation.attempts.len(), "refused attempts of {outcomes:?}");
    Ok(())
}

fn attempts(world: &World, runtime: Runtime, mutation: &Mutation) -> Result<BTreeMap<String, Outcome>, Failed> {
    let words = [&["/probe", "try"], mutation.attempts].concat();
    Ok(Outcome::parse_lines(&output(world, runtime, &words, mutation.make)?)?)
}

/// Runs a container of a changed spec to its end; its standard output.
fn output(world: &World, runtime: Runtime, args: &[&str], change: impl FnOnce(&mut Value)) -> Result<String, Failed> {
    let tasks = world.tasks()?;
    let id = unique("changed");
    let mut streams = Streams::make(&id)?;
    let mut spec = bundle_spec::spec(world.containerd.tag(), &id, args);
    change(&mut spec);
    let mounts = tasks.make_container(&id, &world.containerd.runtime_name(runtime), &spec)?;
    tasks.create(&id, mounts, CreateOptions { stdio: streams.uris(), ..Default::default() })?;
    tasks.start(&id, "")?;
    tasks.wait(&id, "")?;
    tasks.delete(&id)?;
    let output = streams.rest()?;
    tasks.remove_container(&id)?;
    streams.remove()?;
    Ok(output)
}

fn tightens(world: &World) -> Check {
    let script = ["sh", "-c", "mkdir /tmp/made && echo made; echo end"];
    let profile = |spec: &mut Value| {
        set(
            spec,
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }] }),
        );
    };
    expect_eq!(output(world, Runtime::Palisade, &script, |_| ())?, "made\nend\n", "control: without the profile");
    expect_eq!(output(world, Runtime::Palisade, &script, profile)?, "end\n", "with the profile");
    Ok(())
}
