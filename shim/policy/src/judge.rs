//! The judgement of a create, an exec and an update: pure functions from values to a decision.

use std::path::PathBuf;

use oci_spec::runtime as oci;
use serde_json::Value;

use crate::action::{Action, Mode};
use crate::canonical::{canonical, with_profile};
use crate::day::Day;
use crate::decision::{Decision, Denial, Operation, Outcome, Record};
use crate::draft::{Draft, ProcessDraft};
use crate::exemption::Exemption;
use crate::grant::{Grant, GrantedDevice};
use crate::hardened::{HardenedProcess, HardenedResources, HardenedSpec};
use crate::host::HostFacts;
use crate::id_map;
use crate::identity::{ContainerKind, Identity};
use crate::image::ImageAnswer;
use crate::moved::{self, SecretPlace};
use crate::policy::Policy;
use crate::profile::Profile;
use crate::rootfs::{self, PlaceFact};
use crate::rules::writes_as_root;
use crate::rules::{
    Case, ImageCase, Judge, ProcessScope, ResourceScope, Rule, RuleId, StreamScope, UpdateScope, judge_image,
    own_cgroup,
};
use crate::scope::Candidate;
use crate::secrets::redact_error;
use crate::select::Selection;
use crate::sheet::{Found, Sheet};
use crate::spec::{self, ParsedSpec, SpecError};
use crate::task::{CreateRequest, ExecRequest, TaskFacts, UpdateRequest};

/// The rule under which a document that cannot be read or written is refused.
const STRICT: RuleId = RuleId::STRICT;

/// By what a request is judged: a profile, and the exemptions from it that count for the container today.
struct Court<'a> {
    policy: &'a Policy,
    selection: Selection<'a>,
    candidate: Candidate<'a>,
    today: Day,
}

impl<'a> Court<'a> {
    fn profile(&self) -> &Profile {
        &self.selection.profile
    }

    /// The court for a request about a container that exists: its profile is the one that it was created under.
    fn of_grant(grant: &'a Grant, policy: &'a Policy, today: Day) -> Self {
        let profile = std::borrow::Cow::Borrowed(policy.of_grant(grant));
        let selection = Selection { profile, by: "grant".to_owned() };
        Self { policy, selection, candidate: Candidate::of_grant(grant.identity()), today }
    }

    /// The rules of the profile that are not switched off, each with the exemption from it.
    fn in_force(&self) -> impl Iterator<Item = (&'static Rule, Action, Option<&'a Exemption>)> + '_ {
        let exemption = |rule: &Rule| {
            let mut all = self.policy.exemptions.iter();
            all.find(|exemption| exemption.counts(rule.id, self.candidate, self.today))
        };
        let actions = self.profile().actions().filter(|(_, action)| *action != Action::Off);
        actions.map(move |(rule, action)| (rule, action, exemption(rule)))
    }

    /// The decision of `judge` under the profile. Where the profile only audits, that decision is the record alone:
    /// what is handed on is what the rules make that hold even so.
    fn decide<R: Clone, T>(self, request: R, judge: impl Fn(&Self, R) -> Decision<T>) -> Decision<T> {
        if self.profile().mode() == Mode::Enforce {
            return judge(&self, request);
        }
        let seen = judge(&self, request.clone()).record;
        let bare = self.selection.profile.essentials();
        let selection = Selection { profile: std::borrow::Cow::Owned(bare), by: self.selection.by.clone() };
        let held = judge(&Self { selection, ..self }, request);
        Decision { outcome: held.outcome, record: seen }
    }
}

/// Judges a container before it exists, and makes what is handed to the runtime in its place.
pub fn judge_create(request: CreateRequest<'_>, policy: &Policy) -> Decision<HardenedSpec> {
    let CreateRequest { spec, host, task, today, image } = request;
    let asked = |name: &str| spec.annotation(name);
    let identity = spec.identity();
    let candidate = Candidate::new(&identity, task.id);
    let (selection, wrong) = policy.select_with(candidate, asked);
    let court = Court { policy, selection, candidate, today };
    if !wrong.is_empty() {
        let mut sheet = Sheet::new(STRICT);
        for (found, allowed) in wrong {
            sheet.under(RuleId::ASKED, Action::Deny).refuses(found, allowed);
        }
        return conclude(Operation::Create, &court, sheet, || Err(serde::ser::Error::custom("refused")));
    }
    let record = image.record();
    let mut decision = court.decide(spec, |court, spec| create_under(court, spec, &host, &task, &image));
    decision.record.image = record;
    decision
}

fn create_under(
    court: &Court<'_>,
    spec: ParsedSpec,
    host: &HostFacts,
    task: &TaskFacts<'_>,
    image: &ImageAnswer,
) -> Decision<HardenedSpec> {
    let (policy, profile) = (court.policy, court.profile());
    let (spec, identity) = spec.into_parts();
    let identity = Identity { image_digest: image.digest_of(task.rootfs_mounts), ..identity };
    let mut draft = Draft::read(spec);
    let mut sheet = Sheet::new(STRICT);
    let case = Case { host, task, identity: &identity, settings: &profile.settings, node: &policy.node };
    let streams = task.streams();
    let state = task.state_directory().map(PathBuf::from).unwrap_or_default();
    let volumes = draft.mounts.clone();
    let secrets = SecretPlace::among(&volumes);
    for (rule, action, exemption) in court.in_force() {
        let sheet = sheet.under(rule.id, action).exempt_by(exemption);
        match rule.judge {
            Judge::Create(judge) => judge(&mut draft, &case, sheet),
            Judge::Process(judge) => {
                let user_remapped = root_is_an_ordinary_user(&draft, host, policy);
                let scope = ProcessScope { settings: &profile.settings, user_remapped, secrets };
                judge(&mut draft.process, &scope, sheet);
            }
            Judge::Resources(judge) => {
                let devices = GrantedDevice::all(&draft.linux.devices);
                let scope = ResourceScope {
                    settings: &profile.settings,
                    fills_in: true,
                    cpu_ceiling: host.cpu_ceiling_millis.or_else(|| sandbox_ceiling(&identity, &draft)),
                    swap_by_name: host.swap_by_name,
                    unified: host.cgroup_v2,
                    huge_page_sizes: &host.huge_page_sizes,
                    in_force: None,
                    devices: &devices,
                };
                judge(&mut draft.linux.resources, &scope, sheet);
            }
            Judge::Streams(judge) => {
                let scope = StreamScope { settings: &profile.settings, node: &policy.node, state: &state };
                judge(&streams, &scope, sheet);
            }
            Judge::Image(rule) | Judge::ImageConfig(rule) => {
                let case = ImageCase {
                    answer: image,
                    rootfs: Some(task.rootfs_mounts),
                    identity: &identity,
                    settings: &profile.settings,
                    images: &policy.images,
                    today: court.today,
                };
                judge_image(rule, &case, sheet);
            }
            Judge::Exec(_) | Judge::Update(_) | Judge::Rootfs(_) | Judge::Reading => {}
        }
    }
    draft.process.terminal = task.terminal;
    if draft.linux.cgroups_path.as_os_str().is_empty() {
        // The shim has to know the cgroup, also where no rule asks for one.
        draft.linux.cgroups_path = own_cgroup(task.namespace, task.id);
    }
    let user_remapped = root_is_an_ordinary_user(&draft, host, policy);
    let root = task.bundle.join("rootfs");
    conclude(Operation::Create, court, sheet, || {
        let grant = Grant::of(&draft, profile.name(), identity, state, user_remapped);
        let grant = Grant { cgroup_v2: host.cgroup_v2, ..grant };
        hardened(draft, grant, root)
    })
}

/// Whether a user namespace makes an ordinary user of the container's root, on the disk too.
fn root_is_an_ordinary_user(draft: &Draft, host: &HostFacts, policy: &Policy) -> bool {
    draft.linux.is_user_remapped_for_sure(host.joined_users_are_remapped)
        && !writes_as_root(&draft.mounts, &draft.linux.id_maps(), host, &policy.node)
}

/// The decision about a container whose specification is not understood: refused in every profile.
pub fn judge_unreadable(error: &SpecError, policy: &Policy) -> Decision<HardenedSpec> {
    let identity = Identity::default();
    let candidate = Candidate::new(&identity, "");
    let court = Court { policy, selection: policy.select(candidate), candidate, today: Day::of_unix_seconds(0) };
    unread(Operation::Create, &court, Sheet::new(STRICT), error)
}

/// Judges the root filesystem of an admitted container once it is there and before a runtime goes to work in it.
/// `places` are facts about [`HardenedSpec::places`].
pub fn judge_rootfs(places: &[PlaceFact], spec: &HardenedSpec, policy: &Policy, today: Day) -> Decision<()> {
    Court::of_grant(spec.grant(), policy, today).decide((), |court, ()| {
        let mut sheet = Sheet::new(STRICT);
        for (rule, action, exemption) in court.in_force() {
            if let Judge::Rootfs(judge) = rule.judge {
                judge(places, sheet.under(rule.id, action).exempt_by(exemption));
            }
        }
        conclude(Operation::Create, court, sheet, || Ok(()))
    })
}

/// Judges an image that containerd is to fetch, by the profile that the policy has for that. There is no container yet, so no selector and
/// no exemption counts, and rules that go by the image's configuration say nothing.
pub fn judge_pull(image: &ImageAnswer, policy: &Policy, today: Day) -> Decision<()> {
    let identity = Identity::default();
    let candidate = Candidate::new(&identity, "");
    let (profile, by) = match &policy.images.verifier {
        Some(name) => (policy.find(name), "images.verifier"),
        None => (policy.selected(), "profile"),
    };
    let selection = Selection { profile: std::borrow::Cow::Borrowed(profile), by: by.to_owned() };
    let court = Court { policy, selection, candidate, today };
    let mut decision = court.decide((), |court, ()| {
        let mut sheet = Sheet::new(STRICT);
        for (rule, action, _) in court.in_force() {
            if let Judge::Image(rule_of_image) = rule.judge {
                let settings = &court.profile().settings;
                let case = ImageCase {
                    answer: image,
                    rootfs: None,
                    identity: &identity,
                    settings,
                    images: &policy.images,
                    today,
                };
                judge_image(rule_of_image, &case, sheet.under(rule.id, action));
            }
        }
        conclude(Operation::Pull, court, sheet, || Ok(()))
    });
    decision.record.image = image.record();
    decision
}

/// Judges a process that is to be added to a container, first as any process and then against what the
/// container was given.
pub fn judge_exec(request: ExecRequest<'_>, grant: &Grant, policy: &Policy) -> Decision<HardenedProcess> {
    Court::of_grant(grant, policy, request.today).decide((), |court, ()| exec_under(court, &request, grant))
}

fn exec_under(court: &Court<'_>, request: &ExecRequest<'_>, grant: &Grant) -> Decision<HardenedProcess> {
    let (policy, profile) = (court.policy, court.profile());
    let mut sheet = Sheet::new(STRICT);
    let parsed: Result<oci::Process, SpecError> = spec::parse_section(request.process, spec::PROCESS);
    let mut process = match parsed {
        Ok(process) => ProcessDraft::read(&process),
        Err(error) => return unread(Operation::Exec, court, sheet, &error),
    };
    // The request decides: a runtime is told of the terminal by the shim.
    process.terminal |= request.terminal;
    let streams = request.streams();
    for (rule, action, exemption) in court.in_force() {
        let sheet = sheet.under(rule.id, action).exempt_by(exemption);
        match rule.judge {
            Judge::Process(judge) => {
                let scope = ProcessScope {
                    settings: &profile.settings,
                    user_remapped: grant.user_remapped,
                    secrets: SecretPlace::Given(&grant.moved),
                };
                judge(&mut process, &scope, sheet);
            }
            Judge::Streams(judge) => {
                let state = &grant.state_directory;
                let scope = StreamScope { settings: &profile.settings, node: &policy.node, state };
                judge(&streams, &scope, sheet);
            }
            Judge::Exec(judge) => judge(&mut process, grant, sheet),
            Judge::Create(_)
            | Judge::Resources(_)
            | Judge::Update(_)
            | Judge::Rootfs(_)
            | Judge::Image(_)
            | Judge::ImageConfig(_)
            | Judge::Reading => {}
        }
    }
    process.terminal = request.terminal;
    conclude(Operation::Exec, court, sheet, || {
        let bytes = canonical(&process.write()?, "/capabilities")?;
        Ok(HardenedProcess { bytes, terminal: request.terminal })
    })
}

/// Judges new limits of a container.
pub fn judge_update(request: UpdateRequest<'_>, grant: &Grant, policy: &Policy) -> Decision<HardenedResources> {
    Court::of_grant(grant, policy, request.today).decide((), |court, ()| update_under(court, &request, grant))
}

fn update_under(court: &Court<'_>, request: &UpdateRequest<'_>, grant: &Grant) -> Decision<HardenedResources> {
    let profile = court.profile();
    let mut sheet = Sheet::new(STRICT);
    let parsed: Result<oci::LinuxResources, SpecError> = spec::parse_section(request.resources, spec::RESOURCES);
    let mut resources = match parsed {
        Ok(resources) => resources,
        Err(error) => return unread(Operation::Update, court, sheet, &error),
    };
    for (rule, action, exemption) in court.in_force() {
        let sheet = sheet.under(rule.id, action).exempt_by(exemption);
        match rule.judge {
            Judge::Resources(judge) => {
                let scope = ResourceScope {
                    settings: &profile.settings,
                    fills_in: false,
                    cpu_ceiling: None,
                    swap_by_name: false,
                    unified: grant.cgroup_v2,
                    huge_page_sizes: &[],
                    in_force: request.in_force,
                    devices: &grant.devices,
                };
                judge(&mut resources, &scope, sheet);
            }
            Judge::Update(judge) => {
                let scope = UpdateScope { settings: &profile.settings, annotations: request.annotations };
                judge(&mut resources, &scope, sheet);
            }
            Judge::Create(_)
            | Judge::Process(_)
            | Judge::Streams(_)
            | Judge::Exec(_)
            | Judge::Rootfs(_)
            | Judge::Image(_)
            | Judge::ImageConfig(_)
            | Judge::Reading => {}
        }
    }
    conclude(Operation::Update, court, sheet, || Ok(HardenedResources { bytes: canonical(&resources, "")? }))
}

/// The pod's quota as CRI tells the sandbox, in thousandths of a CPU: the sandbox lives in the pod's cgroup.
fn sandbox_ceiling(identity: &Identity, draft: &Draft) -> Option<u64> {
    let number = |name: &str| {
        let text = draft.annotations.get(&format!("io.kubernetes.cri.sandbox-cpu-{name}"))?;
        text.parse::<u64>().ok().filter(|number| *number > 0)
    };
    let is_sandbox = identity.kind == ContainerKind::Sandbox;
    is_sandbox.then(|| Some(number("quota")?.saturating_mul(1000) / number("period")?))?
}

fn hardened(mut draft: Draft, grant: Grant, root: PathBuf) -> Result<HardenedSpec, serde_json::Error> {
    let pid = draft.linux.namespace(oci::LinuxNamespaceType::Pid);
    let pid_namespace_shared = pid.is_none_or(|namespace| namespace.path().is_some());
    let has_hooks = spec::stages(&draft.hooks).iter().any(|(_, list)| !list.is_empty());
    let cgroups_path = draft.linux.cgroups_path.to_string_lossy().into_owned();
    let (terminal, annotations) = (draft.process.terminal, draft.annotations.clone());
    let files = std::mem::take(&mut draft.process.moved);
    let secrets = (!files.is_empty()).then_some((draft.mounts.len(), files));
    if let Some((_, files)) = &secrets {
        // The last one: nothing of the pod's stands over it.
        draft.mounts.push(moved::mount_of(files));
    }
    let places = rootfs::places(draft.mounts.iter().map(|mount| mount.destination().as_path()));
    let idmapped = id_map::idmapped_mounts(&draft.mounts, &draft.linux.id_maps());
    let profile = draft.linux.seccomp.take();
    let bytes = with_profile(&draft.write(&root)?, profile.as_ref())?;
    Ok(HardenedSpec {
        bytes,
        seccomp: profile,
        grant,
        terminal,
        cgroups_path,
        pid_namespace_shared,
        has_hooks,
        annotations,
        root,
        places,
        secrets,
        idmapped,
    })
}

/// The decision that the findings make. What is handed on is written only if nothing was refused.
fn conclude<T>(
    operation: Operation,
    court: &Court<'_>,
    mut sheet: Sheet,
    write: impl FnOnce() -> Result<T, serde_json::Error>,
) -> Decision<T> {
    let admitted = if sheet.has_denial() { None } else { Some(write()) };
    let admitted = match admitted {
        Some(Err(error)) => {
            let found = Found::new("", Value::Null, format!("cannot be written as JSON: {error}"));
            sheet.under(STRICT, Action::Deny).refuses(found, "a document that can be written");
            None
        }
        Some(Ok(admitted)) => Some(admitted),
        None => None,
    };
    let profile = court.profile();
    let (findings, exemptions) = sheet.into_account();
    let outcome = match (Denial::of(profile.name(), &findings), admitted) {
        (None, Some(admitted)) => Outcome::Admit(admitted),
        (Some(denial), _) => Outcome::Deny(denial),
        (None, None) => Outcome::Deny(Denial::unexplained(profile.name())),
    };
    let record = Record {
        operation,
        profile: profile.name().to_owned(),
        selected_by: court.selection.by.clone(),
        mode: profile.mode(),
        off: profile.off(),
        findings,
        exemptions,
        mitigations: if operation == Operation::Create { profile.mitigations() } else { Vec::new() },
        image: None,
    };
    Decision { outcome, record }
}

/// The decision about a document that is not understood.
fn unread<T>(operation: Operation, court: &Court<'_>, mut sheet: Sheet, error: &SpecError) -> Decision<T> {
    let found = Found::new(error.pointer(), Value::Null, redact_error(&error.to_string()));
    sheet.under(STRICT, Action::Deny).refuses(found, "OCI runtime-spec 1.3");
    conclude(operation, court, sheet, || Err(serde::ser::Error::custom("not read")))
}
