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
