//! What the gate costs: `cargo bench -p palisade-policy`. The specification is one of containerd's CRI plugin.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion};
use oci_spec::runtime as oci;
use palisade_policy::{
    CreateRequest, Day, HostFacts, ImageAnswer, Outcome, ParsedSpec, Patch, Policy, TaskFacts, judge_create,
};
use palisade_seccomp::{BuiltinProfile, profile_for, tighten};

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/cri-app/config.json"))?;
    gate(&mut criterion, &bytes)?;
    seccomp(&mut criterion, &bytes)?;
    secrets(&mut criterion, &bytes)?;
    criterion.final_summary();
    Ok(())
}

fn gate(criterion: &mut Criterion, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let policy = Policy::builtin();
    let spec = ParsedSpec::parse(bytes)?;
    let cgroup = spec.cgroups_path().to_string_lossy().into_owned();
    let id = cgroup.rsplit([':', '/']).next().unwrap_or_default();
    let (host, pod) = (HostFacts::by_name(&spec, &policy), [spec.identity()]);
    let judge = |(spec, host): (ParsedSpec, HostFacts)| {
        let task = TaskFacts::plain(id, Path::new("/run/containerd/io.containerd.runtime.v2.task/k8s.io/c"), &pod);
        judge_create(
            CreateRequest { spec, host, task, today: Day::of_unix_seconds(1_800_000_000), image: ImageAnswer::Offline },
            &policy,
        )
    };
    let hardened = match judge((spec.clone(), host.clone())).outcome {
        Outcome::Admit(hardened) => hardened,
        Outcome::Deny(denial) => return Err(format!("a refusal would be another measurement: {denial}").into()),
    };
    criterion.bench_function("parse", |bench| bench.iter(|| ParsedSpec::parse(black_box(bytes))));
    criterion.bench_function("judge and harden", |bench| {
        bench.iter_batched(|| (spec.clone(), host.clone()), judge, BatchSize::SmallInput);
    });
    criterion.bench_function("the patch, for the record", |bench| {
        bench.iter(|| Patch::between(black_box(bytes), black_box(hardened.as_bytes())));
    });
    Ok(())
}

fn seccomp(criterion: &mut Criterion, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let spec: oci::Spec = serde_json::from_slice(bytes)?;
    let own = spec.linux().as_ref().and_then(|linux| linux.seccomp().clone()).ok_or("no system call profile")?;
    let bounding = oci::Capabilities::new();
    let ours = profile_for(BuiltinProfile::Strict, &bounding)?;
    criterion.bench_function("of these: the system call profile", |bench| {
        bench.iter(|| profile_for(BuiltinProfile::Strict, &bounding));
    });
    criterion.bench_function("of these: the stricter of two profiles", |bench| {
        bench.iter(|| tighten(black_box(&ours), black_box(&own)));
    });
    Ok(())
}

/// A typical environment with one password, under each action of the rules of secrets.
fn secrets(criterion: &mut Criterion, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let text = include_str!("../src/secrets/corpus/benign.env");
    let typical = text.split("## ").find(|part| part.starts_with("spring-boot")).ok_or("no such environment")?;
    let mut document: serde_json::Value = serde_json::from_slice(bytes)?;
    let env = document.pointer_mut("/process/env").and_then(|env| env.as_array_mut()).ok_or("no environment")?;
    env.extend(typical.lines().filter(|line| line.contains('=') && !line.starts_with('$')).map(Into::into));
    env.push(["DB_PASSWORD=", "kX7vQ2mZpL9w"].concat().into());
    let many = env.len();
    let document = document.to_string();
    for action in ["off", "audit", "mutate"] {
        let args = if action == "mutate" { "audit" } else { action };
        let policy = Policy::from_toml(&format!(
            "[profiles.restricted.rules.\"secret.env\"]\naction = \"{action}\"\n[profiles.restricted.rules.\"secret.args\"]\naction = \"{args}\"\n"
        ))?;
        let spec = ParsedSpec::parse(document.as_bytes())?;
        let cgroup = spec.cgroups_path().to_string_lossy().into_owned();
        let id = cgroup.rsplit([':', '/']).next().unwrap_or_default();
        let (host, pod) = (HostFacts::by_name(&spec, &policy), [spec.identity()]);
        let judge = |(spec, host): (ParsedSpec, HostFacts)| {
            let task = TaskFacts::plain(id, Path::new("/run/containerd/io.containerd.runtime.v2.task/k8s.io/c"), &pod);
            let (today, image) = (Day::of_unix_seconds(1_800_000_000), ImageAnswer::NotAsked);
            judge_create(CreateRequest { spec, host, task, today, image }, &policy)
        };
        criterion.bench_function(&format!("{many} variables, secrets {action}"), |bench| {
            bench.iter_batched(|| (spec.clone(), host.clone()), judge, BatchSize::SmallInput);
        });
    }
    Ok(())
}
