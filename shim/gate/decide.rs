//! Judging a request, recording the decision, handing on what was admitted.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use oci_spec::runtime::LinuxResources;
use palisade_policy::{
    AuditSettings, CreateRequest, Day, Decision, Denial, ExecRequest, Grant, HardenedProcess, HardenedResources,
    HardenedSpec, HostFacts, Identity, ImageAnswer, ImageSettings, Mode, Outcome, ParsedSpec, Patch, Record, SpecError,
    TaskFacts, UpdateRequest, judge_create, judge_exec, judge_rootfs, judge_unreadable, judge_update, redact_text,
};
use thiserror::Error;

use super::asked::asked_of;
use super::host::{self, PodFacts};
use super::loads::Loads;
use super::pins::Pins;
use super::rootfs;
use super::source::{LoadedPolicy, PolicyFileError, PolicySource};
use super::users::UserIds;
use crate::attest::{NotAttested, Stage};
use crate::audit::{self, AttestationTold, AuditError, ContainerSubject, InForce, Subject};
use crate::bundle::{BundleError, OciBundle, secret_files};
use crate::cgroup::{CgroupError, LimitHits};

/// Why a request doesn't go on.
#[derive(Debug, Error)]
pub enum GateError {
    /// The policy forbids it.
    #[error("{0}")]
    Denied(Denial),
    /// There is no policy to judge by.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// The decision can't be recorded.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The files of the container's secrets can't be made.
    #[error("make the files of the container's secrets")]
    Secrets(#[source] io::Error),
    /// The bundle can't be read.
    #[error("read the bundle")]
    Bundle(#[from] BundleError),
    /// Whether another pod has the ids of the container's user namespace can't be told.
    #[error("take the ids of the user namespace for this pod")]
    Users(#[source] io::Error),
    /// Which version of cgroups has the limits can't be told.
    #[error("look at the host's cgroups")]
    Host(#[from] CgroupError),
}

/// A create request, beside the bundle's spec.
#[derive(Debug)]
pub struct CreateTask<'a> {
    /// The facts of the request.
    pub task: TaskFacts<'a>,
    /// containerd's bundle.
    pub bundle: &'a OciBundle,
    /// The pod that this shim holds.
    pub pod: &'a PodFacts,
    /// What containerd says of the image.
    pub image: ImageAnswer,
}

/// A create request as far as it was read: the policy that is to judge it, and the specification.
#[derive(Debug)]
pub struct Reading {
    policy: LoadedPolicy,
    bytes: Vec<u8>,
    spec: Result<ParsedSpec, SpecError>,
    took: Duration,
}

impl Reading {
    /// The policy's settings for a lookup of the image, where it asks for one.
    #[must_use]
    pub fn asks_for_image(&self, id: &str) -> Option<&ImageSettings> {
        let policy = self.policy.policy();
        let asks = self.spec.as_ref().is_ok_and(|spec| policy.asks_for_image(spec, id));
        asks.then(|| policy.images())
    }
}

/// An exec request.
#[derive(Debug)]
pub struct ExecTask<'a> {
    /// containerd's namespace.
    pub namespace: &'a str,
    /// The container.
    pub id: &'a str,
    /// The exec id.
    pub exec_id: &'a str,
    /// The request as the policy judges it.
    pub request: ExecRequest<'a>,
    /// What the container was given.
    pub grant: &'a Grant,
}

/// An update request.
#[derive(Debug)]
pub struct UpdateTask<'a> {
    /// containerd's namespace.
    pub namespace: &'a str,
    /// The container.
    pub id: &'a str,
    /// `LinuxResources` as JSON.
    pub resources: &'a [u8],
    /// Annotations of the request.
    pub annotations: &'a BTreeMap<String, String>,
    /// What the container was given.
    pub grant: &'a Grant,
    /// The limits that it is held to now.
    pub in_force: &'a LinuxResources,
}

/// A look at a process.
#[derive(Debug)]
pub struct Attestation<'a> {
    /// containerd's namespace.
    pub namespace: &'a str,
    /// The container.
    pub id: &'a str,
    /// The exec id, empty for init.
    pub exec_id: &'a str,
    /// What the container was given.
    pub grant: &'a Grant,
    /// When it was looked at.
    pub stage: Stage,
}

/// The gate of one shim.
#[derive(Debug)]
pub struct Gate {
    source: PolicySource,
    loads: Loads,
    users: UserIds,
}

impl Gate {
    /// A gate that judges by the admin's policy.
    #[must_use]
    pub fn new(source: PolicySource) -> Self {
        Self { source, loads: Loads::default(), users: UserIds::default() }
    }

    /// The policy as it is now. That it is another one is put on record.
    fn load(&self) -> Result<LoadedPolicy, PolicyFileError> {
        let loaded = self.source.load();
        self.loads.note(&loaded);
        loaded
    }

    /// No container of the pod is left: others may have the ids of its user namespace.
    pub fn release(&self) {
        self.users.release();
    }

    /// Reads the policy and what it names before anybody waits for a judgement. What is wrong with them a judgement says.
    pub fn prepare(&self) {
        if let Ok(policy) = self.load() {
            policy.policy().prepare();
        }
    }

    /// Reads the specification of a create request.
    ///
    /// # Errors
    ///
    /// [`GateError`]; a specification that is not understood is one that [`Self::create`] refuses.
    pub fn read(&self, bundle: &OciBundle) -> Result<Reading, GateError> {
        let policy = self.load()?;
        let bytes = bundle.read_config()?;
        let begun = Instant::now();
        let spec = ParsedSpec::parse(&bytes);
        Ok(Reading { policy, bytes, spec, took: begun.elapsed() })
    }

    /// Judges a container before it exists. The policy is handed back with what was admitted, so that the
    /// runtime is the one that this very policy names, and with the files that were judged.
    ///
    /// # Errors
    ///
    /// [`GateError`].
    pub fn create(
        &self,
        create: CreateTask<'_>,
        reading: Reading,
    ) -> Result<(HardenedSpec, LoadedPolicy, Pins), GateError> {
        let Reading { policy, mut bytes, spec, took } = reading;
        let (namespace, id) = (create.task.namespace, create.task.id);
        let begun = Instant::now();
        let (identity, pins, ids, decision) = match spec {
            Ok(spec) => {
                let (host, pins) = host::look_at(&spec, policy.policy(), Some(create.pod))?;
                let (ids, users_of_others) = self.users.take(&spec, &pins).map_err(GateError::Users)?;
                let host = HostFacts { users_of_others, ..host };
                let image_digest = create.image.digest_of(create.task.rootfs_mounts);
                let identity = Identity { image_digest, ..spec.identity() };
                let request = CreateRequest { spec, host, task: create.task, today: today(), image: create.image };
                (identity, pins, Some(ids), judge_create(request, policy.policy()))
            }
            // On record as every refusal is; whose container it is can't be told.
            Err(error) => (Identity::default(), Pins::default(), None, judge_unreadable(&error, policy.policy())),
        };
        let duration = took + begun.elapsed();
        let patch = patch_of(&bytes, &decision)?;
        let subject = Subject {
            namespace,
            id,
            exec_id: "",
            identity: &identity,
            policy: policy.sha256(),
            asked: None,
            patch: patch.as_ref(),
            duration,
        };
        let hardened = conclude(decision, &policy, &subject)?;
        let secrets = hardened.secrets().map(|(mount, files)| {
            // What was read holds them as well.
            bytes.fill(0);
            let grant = hardened.grant();
            secret_files(files, grant.host_uid(), grant.host_gid()).map(|made| (mount, made))
        });
        let pins = Pins { secrets: secrets.transpose().map_err(GateError::Secrets)?, ..pins };
        if let Some(ids) = ids {
            ids.keep();
        }
        Ok((hardened, policy, pins))
    }

    /// Judges the root filesystem of an admitted container, mounted and not yet in use, by the policy that admitted it.
    /// Only what is found is put on record: the container itself is already.
    ///
    /// # Errors
    ///
    /// [`GateError`].
    pub fn rootfs(
        &self,
        namespace: &str,
        id: &str,
        spec: &HardenedSpec,
        pins: &Pins,
        policy: &LoadedPolicy,
    ) -> Result<(), GateError> {
        let begun = Instant::now();
        let places = rootfs::facts_of(spec.root(), spec.places(), pins);
        let decision = judge_rootfs(&places, spec, policy.policy(), today());
        if decision.record.findings.is_empty() && decision.outcome.denial().is_none() {
            return Ok(());
        }
        let subject = Subject {
            namespace,
            id,
            exec_id: "",
            identity: spec.grant().identity(),
            policy: policy.sha256(),
            asked: None,
            patch: None,
            duration: begun.elapsed(),
        };
        conclude(decision, policy, &subject)
    }

    /// Judges a process that is to be added to a container.
    ///
    /// # Errors
    ///
    /// [`GateError`].
    pub fn exec(&self, exec: ExecTask<'_>) -> Result<HardenedProcess, GateError> {
        let policy = self.load()?;
        let begun = Instant::now();
        let asked = asked_of(&exec.request);
        let decision = judge_exec(exec.request, exec.grant, policy.policy());
        let subject = Subject {
            namespace: exec.namespace,
            id: exec.id,
            exec_id: exec.exec_id,
            identity: exec.grant.identity(),
            policy: policy.sha256(),
            asked: Some(&asked),
            patch: None,
            duration: begun.elapsed(),
        };
        conclude(decision, &policy, &subject)
    }

    /// Judges new limits.
    ///
    /// # Errors
    ///
    /// [`GateError`].
    pub fn update(&self, update: UpdateTask<'_>) -> Result<HardenedResources, GateError> {
        let policy = self.load()?;
        let begun = Instant::now();
        let request = UpdateRequest {
            resources: update.resources,
            annotations: update.annotations,
            in_force: Some(update.in_force),
            today: today(),
        };
        let decision = judge_update(request, update.grant, policy.policy());
        let subject = Subject {
            namespace: update.namespace,
            id: update.id,
            exec_id: "",
            identity: update.grant.identity(),
            policy: policy.sha256(),
            asked: None,
            patch: None,
            duration: begun.elapsed(),
        };
        conclude(decision, &policy, &subject)
    }

    /// Puts on record that a process was not what was decided for it.
    ///
    /// # Errors
    ///
    /// [`GateError`].
    pub fn not_attested(&self, about: &Attestation<'_>, found: &NotAttested) -> Result<(), GateError> {
        let policy = self.load()?;
        let subject = ContainerSubject {
            namespace: about.namespace,
            id: about.id,
            identity: about.grant.identity(),
            policy: policy.sha256(),
            profile: about.grant.profile(),
        };
        let (exec, stage, mismatches) = (about.exec_id, about.stage, found.mismatches());
        let told = AttestationTold { exec, stage, mismatches, since_decision_us: None };
        Ok(audit::append_event(policy.policy().audit(), &subject, "attestation", &told)?)
    }

    /// Puts on record how often a container met its limits.
    ///
    /// # Errors
    ///
    /// [`GateError`].
    pub fn limits_met(&self, namespace: &str, id: &str, grant: &Grant, hits: &LimitHits) -> Result<(), GateError> {
        let policy = self.load()?;
        let (identity, profile) = (grant.identity(), grant.profile());
        let subject = ContainerSubject { namespace, id, identity, policy: policy.sha256(), profile };
        Ok(audit::tell(policy.policy().audit(), &subject, "limits", hits)?)
    }

    /// The policy file, for messages.
    #[must_use]
    pub fn policy_path(&self) -> &Path {
        self.source.path()
    }
}

/// Puts a decision about an image that containerd is to fetch on record, and says what becomes of it.
///
/// # Errors
///
/// [`GateError`].
pub fn record_pull(
    decision: Decision<()>,
    policy: &LoadedPolicy,
    name: &str,
    duration: Duration,
) -> Result<(), GateError> {
    let image_name = redact_text(name);
    let identity = Identity { image_name, ..Identity::default() };
    let subject = Subject {
        namespace: "",
        id: "",
        exec_id: "",
        identity: &identity,
        policy: policy.sha256(),
        asked: None,
        patch: None,
        duration,
    };
    conclude(decision, policy, &subject)
}

impl InForce for Gate {
    fn audit(&self) -> Option<AuditSettings> {
        Some(self.load().ok()?.policy().audit().clone())
    }
}

/// What an admission has changed.
fn patch_of(bytes: &[u8], decision: &Decision<HardenedSpec>) -> Result<Option<Patch>, AuditError> {
    match &decision.outcome {
        Outcome::Admit(hardened) => Patch::between(bytes, hardened.as_bytes()).map_err(AuditError::Encode),
        Outcome::Deny(_) => Ok(None),
    }
}

/// Nothing is handed on before the record is in the log.
fn conclude<T>(decision: Decision<T>, policy: &LoadedPolicy, subject: &Subject<'_>) -> Result<T, GateError> {
    let word = word(&decision.outcome, &decision.record);
    audit::append(policy.policy().audit(), subject, &decision.record, word)?;
    match decision.outcome {
        Outcome::Admit(admitted) => Ok(admitted),
        Outcome::Deny(denial) => Err(GateError::Denied(denial)),
    }
}

/// The day by the node's clock. A clock before 1970 is taken for 1970.
#[must_use]
pub fn today() -> Day {
    Day::of_unix_seconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

fn word<T>(outcome: &Outcome<T>, record: &Record) -> &'static str {
    match outcome {
        Outcome::Deny(_) => "deny",
        Outcome::Admit(_) if record.mode == Mode::Audit && !record.findings.is_empty() => "audit",
        Outcome::Admit(_) if record.has_mutations() => "mutate",
        Outcome::Admit(_) => "allow",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use palisade_policy::{IdMaps, IdRange, RuntimeOptions};
    use serde_json::json;

    use super::*;

    /// Ids that no pod on the machine has.
    const IDS: IdRange = IdRange { inside: 0, outside: u32::MAX - 70_000, count: 10 };

    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("palisade-decide-{}", std::process::id()));
            fs::create_dir_all(path.join("ns/one")).unwrap();
            Self(path)
        }

        fn users(&self) -> UserIds {
            UserIds::in_file(self.0.join("lock"))
        }

        /// A create request with a user namespace of its own, under a profile that is the admin's now.
        fn create(&self, gate: &Gate, profile: &str) -> Result<(), GateError> {
            let audit = self.0.join("audit.jsonl");
            let policy = format!("version = 1\nprofile = \"{profile}\"\n[audit]\npath = {audit:?}\n");
            fs::write(self.0.join("policy.toml"), policy).unwrap();
            let map = json!([{ "containerID": IDS.inside, "hostID": IDS.outside, "size": IDS.count }]);
            let kinds = ["pid", "ipc", "uts", "mount", "network", "user"];
            let spec = json!({
                "ociVersion": "1.2.0",
                "process": { "user": { "uid": 0, "gid": 0 }, "args": ["/app"], "cwd": "/" },
                "root": { "path": "rootfs" },
                // What `restricted` refuses and `privileged` lets pass.
                "linux": {
                    "namespaces": kinds.map(|kind| json!({ "type": kind })),
                    "uidMappings": map,
                    "gidMappings": map,
                    "seccomp": { "defaultAction": "SCMP_ACT_ALLOW" },
                    "devices": [{ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11 }],
                },
            });
            let path = self.0.join("ns/one");
            fs::write(path.join("config.json"), spec.to_string()).unwrap();
            let bundle = OciBundle::open(&path, "ns", "one").unwrap();
            let task = TaskFacts {
                id: "one",
                namespace: "ns",
                bundle: &path,
                stdin: "",
                stdout: "",
                stderr: "",
                terminal: false,
                checkpoint: "",
                parent_checkpoint: "",
                rootfs_mounts: &[],
                options: RuntimeOptions::default(),
                sandboxes: &[],
            };
            let reading = gate.read(&bundle).unwrap();
            let pod = PodFacts::default();
            gate.create(CreateTask { task, bundle: &bundle, pod: &pod, image: ImageAnswer::NotAsked }, reading)
                .map(drop)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_container_that_is_refused_keeps_no_ids_from_others() {
        let scratch = Scratch::new();
        let source = PolicySource::at(scratch.0.join("policy.toml"));
        let gate = Gate { source, loads: Loads::default(), users: scratch.users() };
        let is_free = || {
            let maps = IdMaps { uids: vec![IDS], gids: vec![IDS] };
            scratch.users().take_maps(maps, None).unwrap().is_none()
        };
        let refused = scratch.create(&gate, "restricted").unwrap_err();
        assert!(refused.to_string().contains("linux.devices"), "{refused}");
        assert!(is_free());
        scratch.create(&gate, "privileged").unwrap();
        assert!(!is_free(), "of one that was admitted");
    }
}
