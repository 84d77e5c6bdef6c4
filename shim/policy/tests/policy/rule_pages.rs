//! `docs/rules.md`: every rule with an example of what it finds, as it is told, and how to change it. `UPDATE_GOLDEN=1` writes it anew.

use palisade_policy::{Decision, Finding, Policy, RULES, Record, Rule, Taken};
use serde_json::{Value, json};

use crate::support::{self, Task};
use crate::tables::{Edit, bind, every_set, mount, options_at, pod, push};

/// What leads to a finding.
enum Example {
    /// A change to the specification of a pod's container.
    Spec(Edit),
    /// The same under lines of a policy.
    Under(&'static str, Edit),
    /// A change to the request around it.
    Task(fn(&mut Task)),
    /// A change to the process of an exec.
    Exec(fn(&mut Value)),
    /// New limits.
    Update(fn() -> Value),
    /// What can't be shown by a specification alone, in a sentence.
    Told(&'static str),
}

use Example::{Exec, Spec, Task as Request, Told, Under, Update};

/// A heading, and what stands below it: rules by the beginning of their ids.
const CHAPTERS: &[(&str, &[&str])] = &[
    ("The request", &["spec.", "task."]),
    ("Privileged mode, namespaces", &["priv.", "linux.ns", "linux.userns"]),
    ("Users", &["user."]),
    ("Capabilities, privileges, the process", &["caps.", "process."]),
    ("Secrets", &["secret."]),
    ("The root filesystem and mounts", &["root.", "mount.", "linux.mount-label"]),
    ("Devices", &["linux.devices", "res.devices"]),
    ("Limits", &["res."]),
    ("The kernel", &["linux."]),
    ("Names, hooks, annotations", &["uts.", "hooks", "annotations"]),
    ("Further processes and updates", &["exec.", "update."]),
    ("Images", &["image."]),
];

#[rustfmt::skip]
const EXAMPLES: &[(&str, Example)] = &[
    ("spec.strict", Told("A key that the policy does not know, a key twice, or one in another case: the whole request is refused, with the key's place.")),
    ("task.annotations", Told("A pod with the annotation `palisade.io/profile: privileged` in a namespace that is judged by `restricted`.")),
    ("task.checkpoint", Request(|t| t.checkpoint = "/var/lib/checkpoints/1".to_owned())),
    ("task.identity", Request(|t| t.sandboxes = Some(Vec::new()))),
    ("task.options", Request(|t| t.options.binary_name = "/tmp/runc".to_owned())),
    ("task.rootfs", Request(|t| t.rootfs = vec![("bind".to_owned(), "/etc".to_owned(), vec!["rbind".to_owned()])])),
    ("task.stdio", Request(|t| t.stdout = "file:///etc/cron.d/x".to_owned())),
    ("priv.heuristic", Spec(|s| { every_set(s, &["CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_RAWIO"]); s["linux"]["maskedPaths"] = json!([]); s["linux"]["readonlyPaths"] = json!([]); push(&mut s["linux"]["resources"]["devices"], json!({"allow": true, "access": "rwm"})) })),
    ("linux.ns", Spec(|s| s["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "network"))),
    ("linux.userns", Spec(|s| { push(&mut s["linux"]["namespaces"], json!({"type": "user"})); s["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 65536}]); s["linux"]["gidMappings"] = s["linux"]["uidMappings"].clone() })),
    ("linux.userns.require", Under("[profiles.restricted.rules.\"linux.userns.require\"]\naction = \"deny\"\n", |_| ())),
    ("user.range", Spec(|s| s["process"]["user"]["uid"] = json!(4_294_967_295_u32))),
    ("user.non-root", Spec(|s| s["process"]["user"]["uid"] = json!(0))),
    ("user.root-group", Spec(|s| s["process"]["user"]["additionalGids"] = json!([6]))),
    ("user.umask", Spec(|s| s["process"]["user"]["umask"] = json!(0))),
    ("caps.never", Spec(|s| every_set(s, &["CAP_SYS_ADMIN"]))),
    ("caps.allow-list", Spec(|s| every_set(s, &["CAP_CHOWN"]))),
    ("process.nnp", Spec(|s| s["process"]["noNewPrivileges"] = json!(false))),
    ("process.cwd", Spec(|s| s["process"]["cwd"] = json!("/proc/self/fd/7"))),
    ("process.args", Spec(|s| s["process"]["args"] = json!(["/proc/self/exe"]))),
    ("process.rlimits", Spec(|s| s["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 1 << 30, "hard": 1 << 30}]))),
    ("process.env", Told("`LD_PRELOAD` and what else a loader obeys, where the container has hooks, which run as root on the host: taken out.")),
    ("process.oom", Spec(|s| s["process"]["oomScoreAdj"] = json!(-999))),
    ("process.sched", Spec(|s| s["process"]["scheduler"] = json!({"policy": "SCHED_FIFO", "priority": 50}))),
    ("process.apparmor", Spec(|s| s["process"]["apparmorProfile"] = json!("unconfined"))),
    ("process.selinux", Spec(|s| s["process"]["selinuxLabel"] = json!("system_u:system_r:spc_t:s0"))),
    ("linux.mount-label", Spec(|s| s["linux"]["mountLabel"] = json!("system_u:object_r:etc_t:s0"))),
    ("secret.args", Spec(|s| push(&mut s["process"]["args"], json!("--password=kX7vQ2mZpL9w")))),
    ("secret.env", Spec(|s| push(&mut s["process"]["env"], json!("DB_PASSWORD=kX7vQ2mZpL9w")))),
    ("root.path", Spec(|s| s["root"]["path"] = json!("/"))),
    ("root.links", Told("An image with `/dev` as a link to `/proc`, or a link below which a volume would be mounted: refused once the layers are mounted, before a runtime is started.")),
    ("root.readonly", Spec(|s| s["root"]["readonly"] = json!(false))),
    ("mount.deny-always", Spec(|s| bind(s, "/run/containerd/containerd.sock", json!(["rbind", "rprivate", "nosuid", "nodev"])))),
    ("mount.host-path", Spec(|s| bind(s, "/srv/data", json!(["rbind", "rprivate", "nosuid", "nodev"])))),
    ("mount.type", Spec(|s| mount(s, "/mnt", "nfs", json!(["nosuid", "nodev"])))),
    ("mount.dest", Spec(|s| mount(s, "/proc/sys", "tmpfs", json!(["nosuid", "nodev", "size=1m"])))),
    ("mount.propagation", Spec(|s| bind(s, "/var/lib/kubelet/pods/4d6d1f5e-8f5b-4f0c-9a3e-3a4f0f1b2c3d/volumes/kubernetes.io~empty-dir/x", json!(["rbind", "rshared", "nosuid", "nodev"])))),
    ("mount.options", Spec(|s| bind(s, "/var/lib/kubelet/pods/4d6d1f5e-8f5b-4f0c-9a3e-3a4f0f1b2c3d/volumes/kubernetes.io~empty-dir/x", json!(["rbind", "rprivate"])))),
    ("mount.secrets", Spec(|s| bind(s, "/var/lib/kubelet/pods/4d6d1f5e-8f5b-4f0c-9a3e-3a4f0f1b2c3d/volumes/kubernetes.io~secret/x", json!(["rbind", "rprivate", "rw", "nosuid", "nodev"])))),
    ("mount.secrets.tmpfs", Told("A secret or projected volume that the kubelet keeps on a disk: the node's doing, not the pod's.")),
    ("mount.token", Under("[profiles.restricted.rules.\"mount.token\"]\naction = \"deny\"\n", |_| ())),
    ("mount.size", Spec(|s| mount(s, "/cache", "tmpfs", json!(["nosuid", "nodev"])))),
    ("mount.proc", Spec(|s| *options_at(s, "/proc") = json!(["nosuid", "nodev"]))),
    ("mount.sys", Spec(|s| *options_at(s, "/sys") = json!(["nosuid", "nodev", "noexec", "rw"]))),
    ("mount.cgroup", Spec(|s| *options_at(s, "/sys/fs/cgroup") = json!(["nosuid", "nodev", "noexec", "rw"]))),
    ("linux.devices", Spec(|s| push(&mut s["linux"]["devices"], json!({"path": "/dev/sda", "type": "b", "major": 8, "minor": 0})))),
    ("linux.devices.never", Spec(|s| push(&mut s["linux"]["devices"], json!({"path": "/dev/mem", "type": "c", "major": 1, "minor": 1})))),
    ("res.devices", Spec(|s| push(&mut s["linux"]["resources"]["devices"], json!({"allow": true, "access": "rwm"})))),
    ("res.memory", Spec(|s| s["linux"]["resources"]["memory"] = json!({}))),
    ("res.cpu", Spec(|s| s["linux"]["resources"]["cpu"] = json!({"shares": 2}))),
    ("res.pids", Spec(|s| s["linux"]["resources"]["pids"] = json!({"limit": 100_000}))),
    ("res.cpuset", Under("[profiles.restricted.rules.\"res.cpuset\"]\ncpus = \"0-3\"\n", |s| s["linux"]["resources"]["cpu"]["cpus"] = json!("0-7"))),
    ("res.hugepages", Under("[profiles.restricted.rules.\"res.hugepages\"]\nmax = \"4MiB\"\n", |s| s["linux"]["resources"]["hugepageLimits"] = json!([{"pageSize": "2MB", "limit": 1 << 30}]))),
    ("res.io", Under("[profiles.restricted.rules.\"res.io\"]\nweight = 100\n", |s| s["linux"]["resources"]["blockIO"] = json!({"weight": 1000}))),
    ("res.network", Spec(|s| s["linux"]["resources"]["network"] = json!({"classID": 7}))),
    ("res.unified", Spec(|s| s["linux"]["resources"]["unified"]["memory.max"] = json!("max"))),
    ("linux.masked", Spec(|s| s["linux"]["maskedPaths"] = json!([]))),
    ("linux.readonly", Spec(|s| s["linux"]["readonlyPaths"] = json!([]))),
    ("linux.seccomp.arch", Spec(|s| push(&mut s["linux"]["seccomp"]["architectures"], json!("SCMP_ARCH_X86")))),
    ("linux.seccomp", Spec(|s| drop(s["linux"].as_object_mut().unwrap().remove("seccomp")))),
    ("linux.sysctl", Spec(|s| s["linux"]["sysctl"] = json!({"kernel.core_pattern": "|/tmp/x"}))),
    ("linux.cgroups-path", Spec(|s| s["linux"]["cgroupsPath"] = json!("/"))),
    ("linux.personality", Spec(|s| s["linux"]["personality"] = json!({"domain": "LINUX32"}))),
    ("linux.memory-policy", Spec(|s| s["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0"}))),
    ("linux.intel-rdt", Spec(|s| s["linux"]["intelRdt"] = json!({"closID": "x"}))),
    ("linux.net-devices", Spec(|s| s["linux"]["netDevices"] = json!({"eth0": {"name": "eth9"}}))),
    ("linux.time-offsets", Spec(|s| s["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1000, "nanosecs": 0}}))),
    ("uts.hostname", Spec(|s| s["hostname"] = json!("a host; reboot"))),
    ("hooks", Spec(|s| s["hooks"] = json!({"prestart": [{"path": "/usr/bin/hook"}]}))),
    ("annotations", Spec(|s| s["annotations"]["run.oci.keep_original_groups"] = json!("1"))),
    ("exec.tty", Told("`kubectl exec -it` where the admin has set the rule to `deny`.")),
    ("exec.user", Exec(|p| p["user"]["uid"] = json!(1001))),
    ("exec.caps", Exec(|p| p["capabilities"]["bounding"] = json!(["CAP_NET_BIND_SERVICE"]))),
    ("exec.nnp", Told("A further process without no_new_privs in a container that has it, where `process.nnp` is off.")),
    ("exec.labels", Exec(|p| p["apparmorProfile"] = json!("mine"))),
    ("exec.rlimits", Told("A further process with a higher resource limit than its container has: cut to that.")),
    ("exec.oom", Exec(|p| p["oomScoreAdj"] = json!(0))),
    ("exec.sched", Exec(|p| p["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 4}))),
    ("update.devices", Update(|| json!({"devices": [{"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rw"}]}))),
    ("update.annotations", Told("An update that brings an annotation which the policy does not list.")),
    ("image.registry", Told("An image of `evil.example/docker.io/library/nginx` where `allow` has `docker.io/library/*`.")),
    ("image.digest", Told("An image that was asked for as `nginx:1.27`, without `@sha256:…`.")),
    ("image.denied", Told("An image whose digest is in the file `[images] denied`.")),
    ("image.allowed", Told("An image whose digest is not in the file `[images] allowed`.")),
    ("image.scan", Told("An image without a report in `[images] verdicts`, or with a finding of `severity` or worse.")),
    ("image.signature", Told("An image that none of the keys in `[images.keys]` has signed.")),
    ("image.labels", Told("An image with a label of the list, such as `stage=test`.")),
    ("image.age", Told("An image that was built more than `max_age` days ago.")),
];

fn found<T>(decision: Decision<T>) -> Record {
    decision.record
}

/// What the rule says of its example.
fn finding(rule: &str, example: &Example) -> Option<Finding> {
    let mut spec = pod();
    let mut task = Task::of(&support::id_of(&spec));
    spec["root"]["path"] = json!("rootfs");
    let builtin = Policy::builtin();
    let grant = || support::admitted(support::create(&support::golden("cri-app"), &builtin)).0.grant().clone();
    let record = match example {
        Spec(edit) => {
            edit(&mut spec);
            found(support::create_task(&spec, &task, &builtin))
        }
        Under(text, edit) => {
            edit(&mut spec);
            found(support::create_task(&spec, &task, &Policy::from_toml(text).unwrap()))
        }
        Request(edit) => {
            edit(&mut task);
            found(support::create_task(&spec, &task, &builtin))
        }
        Exec(edit) => {
            let mut process = support::golden("cri-app")["process"].clone();
            process["args"] = json!(["/bin/ls"]);
            edit(&mut process);
            found(support::exec(&process, &grant(), &builtin))
        }
        Update(resources) => found(support::update(&resources(), &grant(), &builtin)),
        Told(_) => return None,
    };
    let mut all = record.findings.into_iter();
    Some(
        all.find(|finding| finding.rule.as_str() == rule)
            .unwrap_or_else(|| panic!("{rule} finds nothing in its example")),
    )
}

fn shown(rule: &Rule, example: &Example) -> String {
    if let Told(sentence) = example {
        return (*sentence).to_owned();
    }
    let Some(finding) = finding(rule.id.as_str(), example) else { return String::new() };
    let place =
        if finding.pointer.is_empty() { "the whole document".to_owned() } else { format!("`{}`", finding.pointer) };
    let becomes = match finding.action {
        Taken::Denied => "refused",
        Taken::Mutated => "changed",
        Taken::Audited => "put on record",
        Taken::Exempted => "let pass",
    };
    let under = if let Under(text, _) = example {
        format!(" (with `{}`)", text.lines().last().unwrap_or_default())
    } else {
        String::new()
    };
    format!("At {place}: {}. Allowed: {}. {becomes}{under}.", finding.reason, finding.allowed)
        .replace(". refused", ". **Refused**")
        .replace(". changed", ". **Changed**")
        .replace(". put on record", ". **Put on record**")
}

fn section(rule: &Rule) -> String {
    let example = EXAMPLES.iter().find(|(id, _)| *id == rule.id.as_str());
    let (_, example) = example.unwrap_or_else(|| panic!("{} has no example", rule.id));
    let settings: Vec<String> = rule.settings.iter().map(|setting| format!("`{}`", setting.key())).collect();
    let settings = if settings.is_empty() { String::new() } else { format!(" Settings: {}.", settings.join(", ")) };
    let off = if rule.essential {
        "It holds in every profile and cannot be switched off.".to_owned()
    } else {
        format!("To change it: `[profiles.NAME.rules.\"{}\"]`.{settings}", rule.id)
    };
    let exempt = if rule.is_exemptable() || rule.essential { "" } else { " No exemption from it." };
    let at = rule.judged_at().to_string();
    let at = if at == "all" { "create, exec and update" } else { &at };
    format!(
        "### `{}`\n\n{}. `restricted`: {}, `baseline`: {}; judged at {at}.\n\n> {}\n\n{off}{exempt}\n\n",
        rule.id,
        rule.source,
        rule.restricted,
        rule.baseline,
        shown(rule, example)
    )
}

#[test]
fn the_page_of_rules_shows_what_rules_say() {
    let mut page = include_str!("rule_pages_head.md").to_owned();
    let mut told = 0;
    let mut left: Vec<&Rule> = RULES.iter().collect();
    for (chapter, beginnings) in CHAPTERS {
        page.push_str(&format!("## {chapter}\n\n"));
        let is_here = |rule: &&Rule| beginnings.iter().any(|beginning| rule.id.as_str().starts_with(beginning));
        let (here, others): (Vec<&Rule>, Vec<&Rule>) = left.into_iter().partition(is_here);
        for rule in here {
            page.push_str(&section(rule));
            told += 1;
        }
        left = others;
    }
    assert_eq!((told, EXAMPLES.len()), (RULES.len(), RULES.len()), "{left:?}");
    let page = format!("{}\n", page.trim_end());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rules.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), page, "UPDATE_GOLDEN=1 writes it anew");
}
