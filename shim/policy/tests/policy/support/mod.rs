//! A host that answers from the path alone, and requests made of JSON.

use std::path::{Path, PathBuf};

use palisade_policy::{
    CreateRequest, Day, Decision, ExecRequest, Grant, HardenedProcess, HardenedResources, HardenedSpec, HookFact,
    HostFacts, Identity, ImageAnswer, NamespaceFact, NamespaceSharing, Outcome, ParsedSpec, Policy, Record,
    RootfsMount, RuntimeOptions, SourceFact, SourceKind, Taken, TaskFacts, UpdateRequest, judge_create, judge_exec,
    judge_update,
};
use serde_json::Value;

/// The day on which the tests judge.
pub(crate) fn today() -> Day {
    Day::from_iso("2026-11-24").unwrap()
}

/// What the tests call the container.
pub(crate) fn id_of(spec: &Value) -> String {
    let path = spec.pointer("/linux/cgroupsPath").and_then(Value::as_str).unwrap_or_default();
    path.rsplit(['/', ':']).next().unwrap_or_default().to_owned()
}

/// The facts that the shim would gather: `/proc/1/ns` is the host's, `/other` is another pod's, `/unresolved` cannot be looked at.
pub(crate) fn facts_of(spec: &ParsedSpec, policy: &Policy) -> HostFacts {
    let watched = policy.watched_host_paths();
    let sharing = |path: &Path| match path {
        path if path.starts_with("/proc/1/ns") => NamespaceSharing::Host,
        path if path.starts_with("/unresolved") => NamespaceSharing::Unresolved,
        path if path.starts_with("/other") => NamespaceSharing::Other,
        _ => NamespaceSharing::Pod,
    };
    let namespaces = spec.namespace_paths().into_iter();
    let sources = spec.bind_sources().into_iter();
    let hooks = spec.hook_paths().into_iter();
    HostFacts {
        namespaces: namespaces.map(|(kind, path)| NamespaceFact { kind, sharing: sharing(path) }).collect(),
        sources: sources.map(|(mount, path)| source(mount, path, &watched)).collect(),
        hooks: hooks
            .map(|(pointer, path)| HookFact { pointer, real_path: path.to_owned(), trusted: path.starts_with("/usr") })
            .collect(),
        cpu_ceiling_millis: None,
        swap_by_name: false,
        cgroup_v2: false,
        huge_page_sizes: Vec::new(),
        pod_cgroup: None,
        joined_users_are_remapped: true,
        users_of_others: None,
    }
}

fn source(mount: usize, path: &Path, watched: &[PathBuf]) -> SourceFact {
    let text = path.to_string_lossy();
    let kind = match text.as_ref() {
        "" => SourceKind::Missing,
        text if text.starts_with("/missing") => SourceKind::Missing,
        text if text.ends_with(".sock") => SourceKind::Socket,
        "/dev" | "/dev/shm" => SourceKind::Directory,
        text if text.starts_with("/dev/") => SourceKind::BlockDevice,
        _ => SourceKind::Directory,
    };
    // A link that leads somewhere: `/link/to/etc` is /etc under another name.
    let real = path.strip_prefix("/link/to").map_or_else(|_| path.to_owned(), |rest| Path::new("/").join(rest));
    let same_as = watched.iter().find(|known| **known == real).map(|known| known.display().to_string());
    SourceFact { mount, real_path: real, kind, same_as, locations: Vec::new(), below: Vec::new(), kubelet_volume: None }
}

/// The fields of a create request that a test may want to change.
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) stdin: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Where the bundle is, without the id.
    pub(crate) bundles: String,
    pub(crate) terminal: bool,
    pub(crate) checkpoint: String,
    pub(crate) rootfs: Vec<(String, String, Vec<String>)>,
    pub(crate) options: RuntimeOptions,
    /// The sandboxes of the shim; `None`: the container's own.
    pub(crate) sandboxes: Option<Vec<Identity>>,
    /// What containerd says of the image.
    pub(crate) image: ImageAnswer,
}

pub(crate) const BUNDLE: &str = "/run/containerd/io.containerd.runtime.v2.task/default";
const LAYERS: &str = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots";

impl Task {
    pub(crate) fn of(id: &str) -> Self {
        let options = vec![
            format!("lowerdir={LAYERS}/2/fs:{LAYERS}/1/fs"),
            format!("upperdir={LAYERS}/3/fs"),
            format!("workdir={LAYERS}/3/work"),
        ];
        Self {
            id: id.to_owned(),
            stdin: String::new(),
            stdout: format!("/run/containerd/fifo/12/{id}-stdout"),
            stderr: String::new(),
            bundles: BUNDLE.to_owned(),
            terminal: false,
            checkpoint: String::new(),
            rootfs: vec![("overlay".to_owned(), "overlay".to_owned(), options)],
            options: RuntimeOptions::default(),
            sandboxes: None,
            image: ImageAnswer::Offline,
        }
    }
}

/// Judges a specification with everything else in order.
pub(crate) fn create(spec: &Value, policy: &Policy) -> Decision<HardenedSpec> {
    create_task(spec, &Task::of(&id_of(spec)), policy)
}

pub(crate) fn create_task(spec: &Value, task: &Task, policy: &Policy) -> Decision<HardenedSpec> {
    create_with(spec, task, policy, |_| {})
}

pub(crate) fn create_with(
    spec: &Value,
    task: &Task,
    policy: &Policy,
    change: impl FnOnce(&mut HostFacts),
) -> Decision<HardenedSpec> {
    let parsed = ParsedSpec::parse(spec.to_string().as_bytes()).unwrap();
    let mut host = facts_of(&parsed, policy);
    change(&mut host);
    let bundle = Path::new(&task.bundles).join(&task.id);
    let rootfs: Vec<RootfsMount<'_>> =
        task.rootfs.iter().map(|(kind, source, options)| RootfsMount { kind, source, options }).collect();
    let sandboxes = task.sandboxes.clone().unwrap_or_else(|| vec![parsed.identity()]);
    let image = task.image.clone();
    let task = TaskFacts {
        id: &task.id,
        namespace: "default",
        bundle: &bundle,
        stdin: &task.stdin,
        stdout: &task.stdout,
        stderr: &task.stderr,
        terminal: task.terminal,
        checkpoint: &task.checkpoint,
        parent_checkpoint: "",
        rootfs_mounts: &rootfs,
        options: task.options.clone(),
        sandboxes: &sandboxes,
    };
    judge_create(CreateRequest { spec: parsed, host, task, today: today(), image }, policy)
}

pub(crate) fn exec(process: &Value, grant: &Grant, policy: &Policy) -> Decision<HardenedProcess> {
    exec_with(process, grant, policy, false)
}

pub(crate) fn exec_with(process: &Value, grant: &Grant, policy: &Policy, terminal: bool) -> Decision<HardenedProcess> {
    let process = process.to_string();
    let request = ExecRequest {
        process: process.as_bytes(),
        stdin: "",
        stdout: "/run/containerd/fifo/13/exec-stdout",
        stderr: "",
        terminal,
        today: today(),
    };
    judge_exec(request, grant, policy)
}

pub(crate) fn update(resources: &Value, grant: &Grant, policy: &Policy) -> Decision<HardenedResources> {
    let resources = resources.to_string();
    let annotations = std::collections::BTreeMap::new();
    let request =
        UpdateRequest { resources: resources.as_bytes(), annotations: &annotations, in_force: None, today: today() };
    judge_update(request, grant, policy)
}

/// The admitted value, or the denial as a panic.
pub(crate) fn admitted<T>(decision: Decision<T>) -> (T, Record) {
    match decision.outcome {
        Outcome::Admit(admitted) => (admitted, decision.record),
        Outcome::Deny(denial) => panic!("{denial}"),
    }
}

pub(crate) fn is_denied<T>(decision: &Decision<T>) -> bool {
    matches!(decision.outcome, Outcome::Deny(_))
}

pub(crate) fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// What one rule did, whatever the others did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Clean,
    Audited,
    Exempted,
    Mutated,
    Denied,
}

pub(crate) fn verdict_of(rule: &str, record: &Record) -> Verdict {
    let of_rule = record.findings.iter().filter(|finding| finding.rule.as_str() == rule);
    of_rule.fold(Verdict::Clean, |worst, finding| match (worst, finding.action) {
        (_, Taken::Denied) | (Verdict::Denied, _) => Verdict::Denied,
        (_, Taken::Mutated) | (Verdict::Mutated, _) => Verdict::Mutated,
        (_, Taken::Exempted) | (Verdict::Exempted, _) => Verdict::Exempted,
        (_, Taken::Audited) => Verdict::Audited,
    })
}

/// A specification of `tests/golden`.
pub(crate) fn golden(name: &str) -> Value {
    let path = golden_root().join(name).join("config.json");
    json(&std::fs::read(path).unwrap())
}

pub(crate) fn golden_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}
