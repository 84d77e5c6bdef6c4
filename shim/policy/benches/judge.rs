//! What the gate costs: `cargo bench -p palisade-policy`. The specification is one of containerd's CRI plugin.

#![allow(clippy::expect_used, reason = "a benchmark that cannot read its input has nothing to measure")]

use std::hint::black_box;
use std::path::Path;

use criterion::Criterion;
use palisade_policy::{
    CreateRequest, Day, HostFacts, Identity, NamespaceFact, NamespaceSharing, Outcome, ParsedSpec, Policy,
    RuntimeOptions, SourceFact, SourceKind, TaskFacts, judge_create,
};

/// Every namespace the pod's, every source a directory of the name that it has.
fn facts(spec: &ParsedSpec) -> HostFacts {
    let sharing = NamespaceSharing::Other;
    let namespaces = spec.namespace_paths().into_iter().map(|(kind, _)| NamespaceFact { kind, sharing });
    let sources = spec.bind_sources().into_iter().map(|(mount, path)| SourceFact {
        mount,
        real_path: path.to_owned(),
        kind: SourceKind::Directory,
        same_as: None,
        locations: Vec::new(),
    });
    HostFacts {
        namespaces: namespaces.collect(),
        sources: sources.collect(),
        hooks: Vec::new(),
        cpu_ceiling_millis: None,
        joined_users_are_remapped: true,
    }
}

fn request<'a>(spec: ParsedSpec, host: HostFacts, id: &'a str, sandboxes: &'a [Identity]) -> CreateRequest<'a> {
    let task = TaskFacts {
        id,
        namespace: "k8s.io",
        bundle: Path::new("/run/containerd/io.containerd.runtime.v2.task/k8s.io/c"),
        stdin: "",
        stdout: "",
        stderr: "",
        terminal: false,
        checkpoint: "",
        parent_checkpoint: "",
        rootfs_mounts: &[],
        options: RuntimeOptions::default(),
        sandboxes,
    };
    CreateRequest { spec, host, task, today: Day::of_unix_seconds(1_800_000_000) }
}

fn benches(criterion: &mut Criterion) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/cri-app/config.json");
    let bytes = std::fs::read(path).expect("the golden specification is there");
    let policy = Policy::builtin();
    let spec = ParsedSpec::parse(&bytes).expect("it is a specification");
    let cgroup = spec.cgroups_path().to_string_lossy().into_owned();
    let id = cgroup.rsplit([':', '/']).next().unwrap_or_default();
    let host = facts(&spec);
    let pod = [spec.identity()];
    let admitted = judge_create(request(spec.clone(), host.clone(), id, &pod), &policy).outcome;
    assert!(matches!(admitted, Outcome::Admit(_)), "a refusal would be another measurement");
    criterion.bench_function("parse", |bench| bench.iter(|| ParsedSpec::parse(black_box(&bytes))));
    criterion.bench_function("judge and harden", |bench| {
        bench.iter_batched(
            || (spec.clone(), host.clone()),
            |(spec, host)| judge_create(request(spec, host, id, &pod), &policy),
            criterion::BatchSize::SmallInput,
        );
    });
    let own: oci_spec::runtime::Spec = serde_json::from_slice(&bytes).expect("it is a specification");
    let own = own.linux().as_ref().and_then(|linux| linux.seccomp().clone()).expect("it has a system call profile");
    let bounding = oci_spec::runtime::Capabilities::new();
    let ours = palisade_seccomp::profile_for(palisade_seccomp::BuiltinProfile::Restricted, &bounding);
    let ours = ours.expect("the profile is built in");
    criterion.bench_function("of these: the system call profile", |bench| {
        bench.iter(|| palisade_seccomp::profile_for(palisade_seccomp::BuiltinProfile::Restricted, &bounding));
    });
    criterion.bench_function("of these: the stricter of two profiles", |bench| {
        bench.iter(|| palisade_seccomp::tighten(black_box(&ours), black_box(&own)));
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    benches(&mut criterion);
    criterion.final_summary();
}
