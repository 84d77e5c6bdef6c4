//! The body of the fuzz target for the spec, shared with the smoke test that needs no fuzzer.

use std::path::Path;

use palisade_policy::{
    CreateRequest, HostFacts, Identity, Outcome, ParsedSpec, Policy, RuntimeOptions, SourceFact, SourceKind, TaskFacts,
    judge_create,
};

/// Whatever the bytes are, they are refused or hardened; what was hardened parses and judges clean.
///
/// # Panics
///
/// When they do not: that is the finding.
pub(crate) fn judge_twice(bytes: &[u8]) {
    let policy = Policy::builtin();
    let Some(once) = harden(bytes, &policy) else { return };
    let Some(spec) = ParsedSpec::parse(&once).ok() else { panic!("a hardened spec does not parse") };
    let pod = [spec.identity()];
    let again = judge_create(request(spec, &pod), &policy);
    assert!(!again.record.has_mutations(), "hardening is not idempotent: {:?}", again.record);
    match again.outcome {
        Outcome::Admit(twice) => assert_eq!(twice.as_bytes(), once, "a clean spec was changed"),
        Outcome::Deny(denial) => panic!("a hardened spec is refused: {denial}"),
    }
}

/// What a container is given for a specification that is admitted.
///
/// # Panics
///
/// When it is refused.
#[allow(dead_code, reason = "of use to some of the targets")]
pub(crate) fn grant_of(bytes: &[u8]) -> palisade_policy::Grant {
    let mut document: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    document["root"]["path"] = "rootfs".into();
    document["linux"]["cgroupsPath"] = "/kubepods/c1".into();
    let spec = ParsedSpec::parse(document.to_string().as_bytes()).unwrap();
    let paths: Vec<_> = spec.namespace_paths().into_iter().map(|(kind, _)| kind).collect();
    let pod = [spec.identity()];
    let mut request = request(spec, &pod);
    let sharing = palisade_policy::NamespaceSharing::Other;
    request.host.namespaces = paths.into_iter().map(|kind| palisade_policy::NamespaceFact { kind, sharing }).collect();
    match judge_create(request, &Policy::builtin()).outcome {
        Outcome::Admit(hardened) => hardened.grant().clone(),
        Outcome::Deny(denial) => panic!("{denial}"),
    }
}

fn harden(bytes: &[u8], policy: &Policy) -> Option<Vec<u8>> {
    let spec = ParsedSpec::parse(bytes).ok()?;
    let pod = [spec.identity()];
    match judge_create(request(spec, &pod), policy).outcome {
        Outcome::Admit(hardened) => Some(hardened.as_bytes().to_vec()),
        Outcome::Deny(_) => None,
    }
}

/// Sources resolve to themselves and nothing is shared with the host, so that the rules have something to admit.
fn request(spec: ParsedSpec, sandboxes: &[Identity]) -> CreateRequest<'_> {
    let source = |(mount, path): (usize, &Path)| SourceFact {
        mount,
        real_path: path.into(),
        kind: SourceKind::Directory,
        same_as: None,
        locations: Vec::new(),
    };
    let host = HostFacts { sources: spec.bind_sources().into_iter().map(source).collect(), ..HostFacts::default() };
    let task = TaskFacts {
        id: "c1",
        namespace: "default",
        bundle: Path::new("/run/containerd/io.containerd.runtime.v2.task/default/c1"),
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
    CreateRequest { spec, host, task, today: palisade_policy::Day::of_unix_seconds(1_800_000_000) }
}
