//! More rules, each with what passes, what is changed and what is refused.

use palisade_policy::{HostFacts, Identity, ParsedSpec, PlaceFact, Policy, judge_rootfs};
use serde_json::{Value, json};

use crate::support::{self, Task, Verdict::*, verdict_of};
use crate::tables::{Edit, bind, judged, mount, options_at, pod, push, table};

const VOLUMES: &str = "/var/lib/kubelet/pods/4d6d1f5e-8f5b-4f0c-9a3e-3a4f0f1b2c3d/volumes";

fn after(policy: &Policy, edit: Edit) -> Value {
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    edit(&mut spec);
    support::json(support::admitted(support::create(&spec, policy)).0.as_bytes())
}

fn with_hook(spec: &mut Value, env: &[&str]) {
    spec["hooks"] = json!({"createContainer": [{"path": "/usr/bin/x", "env": env}]});
}

#[test]
fn umask() {
    table(
        "user.umask",
        &[
            ("the usual one", Clean, |s| s["process"]["user"]["umask"] = json!(0o022)),
            ("a tighter one", Clean, |s| s["process"]["user"]["umask"] = json!(0o077)),
            ("none at all", Mutated, |s| s["process"]["user"]["umask"] = json!(0)),
            ("for the group", Mutated, |s| s["process"]["user"]["umask"] = json!(0o007)),
        ],
    );
    let hardened = after(&Policy::builtin(), |s| s["process"]["user"]["umask"] = json!(0o045));
    assert_eq!(hardened["process"]["user"]["umask"], json!(0o067), "bits are only added");
    let mut spec = pod();
    spec["process"]["user"]["umask"] = json!(0o002);
    let (hardened, record) = support::admitted(support::create(&spec, &Policy::builtin()));
    assert_eq!(
        support::json(hardened.as_bytes())["process"]["user"]["umask"],
        json!(0o022),
        "those that are there stay"
    );
    assert_eq!(record.findings[0].after, json!(0o022));
}

#[test]
fn environment_of_hooks() {
    table(
        "process.env",
        &[
            ("without hooks it is the container's business", Clean, |s| {
                push(&mut s["process"]["env"], json!("LD_PRELOAD=/evil.so"))
            }),
            ("a hook would load it", Mutated, |s| {
                with_hook(s, &[]);
                push(&mut s["process"]["env"], json!("LD_PRELOAD=/evil.so"));
            }),
            ("another name", Clean, |s| {
                with_hook(s, &[]);
                push(&mut s["process"]["env"], json!("LD_PRELOADED=1"));
            }),
        ],
    );
    let policy = Policy::from_toml("[profiles.restricted.rules.hooks]\nallow = [\"/usr/bin/x\"]\n").unwrap();
    let hardened = after(&policy, |s| {
        with_hook(s, &[]);
        for entry in ["LD_AUDIT=/a", "KEPT=1", "GLIBC_TUNABLES=x", "LD_LIBRARY_PATH"] {
            push(&mut s["process"]["env"], json!(entry));
        }
    });
    let env = hardened["process"]["env"].to_string();
    assert!(env.contains("KEPT=1") && env.contains("PATH="), "{env}");
    for name in ["LD_AUDIT", "GLIBC_TUNABLES", "LD_LIBRARY_PATH"] {
        assert!(!env.contains(name), "{env}");
    }
    assert_eq!(judged("hooks", &policy, |s| with_hook(s, &["A=1"])), Clean);
    assert_eq!(judged("hooks", &policy, |s| with_hook(s, &["LD_PRELOAD=/x"])), Denied);
    assert_eq!(judged("hooks", &policy, |s| with_hook(s, &["LD_DEBUG_OUTPUT=/x"])), Denied);
}

#[test]
fn secrets_and_configuration() {
    table(
        "mount.secrets",
        &[
            ("a secret that can be written", Mutated, |s| {
                bind(s, &format!("{VOLUMES}/kubernetes.io~secret/key"), json!(["rbind", "rw", "noexec"]))
            }),
            ("a configuration that can be run", Mutated, |s| {
                bind(s, &format!("{VOLUMES}/kubernetes.io~configmap/conf"), json!(["rbind", "ro"]))
            }),
            ("a token", Mutated, |s| bind(s, &format!("{VOLUMES}/kubernetes.io~projected/token"), json!(["rbind"]))),
            ("as it has to be", Clean, |s| {
                bind(s, &format!("{VOLUMES}/kubernetes.io~secret/key"), json!(["rbind", "ro", "noexec"]))
            }),
            ("a cache", Clean, |s| {
                bind(s, &format!("{VOLUMES}/kubernetes.io~empty-dir/cache"), json!(["rbind", "rw"]))
            }),
        ],
    );
    let hardened = after(&Policy::builtin(), |s| {
        bind(s, &format!("{VOLUMES}/kubernetes.io~secret/key"), json!(["rbind", "rw", "exec"]))
    });
    let mounts = hardened["mounts"].as_array().unwrap();
    let options = mounts.iter().find(|mount| mount["destination"] == "/extra").unwrap()["options"].to_string();
    assert!(options.contains("\"ro\"") && options.contains("\"noexec\""), "{options}");
    assert!(!options.contains("\"rw\"") && !options.contains("\"exec\""), "{options}");
}

#[test]
fn size_of_a_tmpfs() {
    table(
        "mount.size",
        &[
            ("none", Mutated, |s| mount(s, "/t", "tmpfs", json!(["rw"]))),
            ("within the limit", Clean, |s| mount(s, "/t", "tmpfs", json!(["size=64m"]))),
            ("bytes", Clean, |s| mount(s, "/t", "tmpfs", json!(["size=65536"]))),
            ("above the limit", Mutated, |s| mount(s, "/t", "tmpfs", json!(["size=5g"]))),
            ("a share of the memory", Denied, |s| mount(s, "/t", "tmpfs", json!(["size=50%"]))),
            ("no limit", Mutated, |s| mount(s, "/t", "tmpfs", json!(["size=0"]))),
            ("the last one counts", Mutated, |s| mount(s, "/t", "tmpfs", json!(["size=1m", "size=100g"]))),
            ("another way to say it", Denied, |s| mount(s, "/t", "tmpfs", json!(["size=1m", "nr_blocks=99999999"]))),
            ("a number that wraps", Denied, |s| mount(s, "/t", "tmpfs", json!(["size=18446744073709551615g"]))),
            ("octal", Denied, |s| mount(s, "/t", "tmpfs", json!(["size=010m"]))),
            ("hexadecimal", Denied, |s| mount(s, "/t", "tmpfs", json!(["size=0xffffffffff"]))),
            ("a sign", Denied, |s| mount(s, "/t", "tmpfs", json!(["size=+5m"]))),
            ("a unit alone", Denied, |s| mount(s, "/t", "tmpfs", json!(["size=m"]))),
        ],
    );
    let policy =
        Policy::from_toml("[profiles.restricted.rules.\"mount.size\"]\ndefault = \"1MiB\"\nmax = \"2MiB\"\n").unwrap();
    let size = |hardened: Value| {
        let mounts = hardened["mounts"].as_array().unwrap().clone();
        mounts.iter().find(|mount| mount["destination"] == "/t").unwrap()["options"].clone()
    };
    let none = after(&policy, |s| mount(s, "/t", "tmpfs", json!([])));
    assert!(size(none).to_string().contains("size=1048576"));
    let large = after(&policy, |s| mount(s, "/t", "tmpfs", json!(["size=3m"])));
    assert!(size(large).to_string().contains("size=2097152"));
    let twice = after(&policy, |s| mount(s, "/t", "tmpfs", json!(["size=0", "size=4k", "size=8k"])));
    assert!(size(twice).to_string().contains("size=4096"), "never above what was asked for");
}

#[test]
fn proc_is_mounted_as_usual() {
    table(
        "mount.proc",
        &[
            ("programs", Mutated, |s| *options_at(s, "/proc") = json!(["nosuid", "nodev"])),
            ("nothing said", Mutated, |s| *options_at(s, "/proc") = json!([])),
            ("taken back", Mutated, |s| *options_at(s, "/proc") = json!(["nosuid", "nodev", "noexec", "exec"])),
        ],
    );
}

#[test]
fn read_only_root() {
    let demanding = |action: &str| {
        Policy::from_toml(&format!("[profiles.restricted.rules.\"root.readonly\"]\naction = \"{action}\"\n")).unwrap()
    };
    let writable: Edit = |s| s["root"]["readonly"] = json!(false);
    let silent: Edit = |s| drop(s["root"].as_object_mut().unwrap().remove("readonly"));
    for edit in [writable, silent] {
        assert_eq!(judged("root.readonly", &Policy::builtin(), edit), Audited);
        assert_eq!(judged("root.readonly", &demanding("deny"), edit), Denied);
        assert_eq!(after(&demanding("mutate"), edit)["root"]["readonly"], json!(true));
        assert_eq!(after(&Policy::builtin(), edit)["root"]["readonly"], json!(false));
    }
    assert_eq!(judged("root.readonly", &demanding("deny"), |s| s["root"]["readonly"] = json!(true)), Clean);
}

#[test]
fn host_names() {
    table(
        "uts.hostname",
        &[
            ("a name", Clean, |s| s["hostname"] = json!("web-0.shop_1")),
            ("a line break", Audited, |s| s["hostname"] = json!("web\n0")),
            ("too long", Audited, |s| s["hostname"] = json!("x".repeat(65))),
            ("a domain", Audited, |s| s["domainname"] = json!("$(id)")),
        ],
    );
}

#[test]
fn device_numbers() {
    let policy = Policy::from_toml("[profiles.restricted.rules.\"linux.devices\"]\nallow = [\"/dev/fuse\"]\n").unwrap();
    let disk: Edit =
        |s| push(&mut s["linux"]["devices"], json!({"path": "/dev/fuse", "type": "b", "major": 8, "minor": 0}));
    let memory: Edit =
        |s| push(&mut s["linux"]["devices"], json!({"path": "/dev/fuse", "type": "c", "major": 1, "minor": 1}));
    assert_eq!(judged("linux.devices", &policy, disk), Denied, "a disk under a listed name");
    assert_eq!(judged("linux.devices", &policy, memory), Denied, "kernel memory under a listed name");
    for entry in ["/dev/nvidia0", "/dev/x c", "/dev/x c 1", "/dev/x p 1:1", "/dev/x c 1:-1", "dev/x c 1:1"] {
        let text = format!("[profiles.restricted.rules.\"linux.devices\"]\nallow = [\"{entry}\"]\n");
        assert_eq!(Policy::from_toml(&text).unwrap_err().line(), 2, "{entry}");
    }
}

#[test]
fn nodes_of_the_kernel() {
    let policy = Policy::from_toml(
        "[profiles.restricted.rules.\"linux.devices\"]\nallow = [\"/dev/mem c 1:1\", \"/dev/x c 202:3\", \"/dev/x c 1:3\"]\n",
    )
    .unwrap();
    let memory: Edit =
        |s| push(&mut s["linux"]["devices"], json!({"path": "/dev/mem", "type": "c", "major": 1, "minor": 1}));
    let registers: Edit =
        |s| push(&mut s["linux"]["devices"], json!({"path": "/dev/x", "type": "c", "major": 202, "minor": 3}));
    let nothing: Edit =
        |s| push(&mut s["linux"]["devices"], json!({"path": "/dev/x", "type": "c", "major": 1, "minor": 3}));
    let disk: Edit =
        |s| push(&mut s["linux"]["devices"], json!({"path": "/dev/x", "type": "b", "major": 1, "minor": 1}));
    for edit in [memory, registers] {
        assert_eq!(judged("linux.devices", &policy, edit), Clean, "it is listed");
        assert_eq!(judged("linux.devices.never", &policy, edit), Denied);
    }
    assert_eq!(judged("linux.devices.never", &policy, nothing), Clean);
    assert_eq!(judged("linux.devices.never", &policy, disk), Clean, "a disk of that number is another device");
}

#[test]
fn programs_through_the_search_path() {
    table(
        "process.args",
        &[
            ("the runtime by its name", Denied, |s| {
                s["process"]["args"] = json!(["exe"]);
                s["process"]["env"] = json!(["PATH=/bin:/proc/self"]);
            }),
            ("a descriptor", Denied, |s| {
                s["process"]["args"] = json!(["7"]);
                s["process"]["env"] = json!(["PATH=/dev/../proc/self/fd"]);
            }),
            ("a second PATH", Denied, |s| {
                s["process"]["args"] = json!(["exe"]);
                s["process"]["env"] = json!(["PATH=/bin", "PATH=/proc/1"]);
            }),
            ("a path is not looked for", Clean, |s| {
                s["process"]["args"] = json!(["/bin/exe"]);
                s["process"]["env"] = json!(["PATH=/proc/self"]);
            }),
            ("another name", Clean, |s| {
                s["process"]["args"] = json!(["sh"]);
                s["process"]["env"] = json!(["PATH=/proc/self:/bin"]);
            }),
        ],
    );
}

#[test]
fn programs_through_proc() {
    table(
        "process.args",
        &[
            ("with dots", Denied, |s| s["process"]["args"] = json!(["/dev/../proc/self/exe"])),
            ("with more slashes", Denied, |s| s["process"]["args"] = json!(["//proc//self/./exe"])),
            ("above the root", Denied, |s| s["process"]["args"] = json!(["/../../proc/self/fd/3"])),
            ("relative", Denied, |s| s["process"]["args"] = json!(["../proc/1/root/bin/sh"])),
            ("a program", Clean, |s| s["process"]["args"] = json!(["/opt/proc/self/exe"])),
        ],
    );
}

#[test]
fn a_container_belongs_to_the_sandbox_of_its_shim() {
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    let id = support::id_of(&spec);
    let own = ParsedSpec::parse(spec.to_string().as_bytes()).unwrap().identity();
    let verdict = |sandboxes: Vec<Identity>| {
        let task = Task { sandboxes: Some(sandboxes), ..Task::of(&id) };
        verdict_of("task.identity", &support::create_task(&spec, &task, &Policy::builtin()).record)
    };
    let other = |change: fn(&mut Identity)| {
        let mut other = own.clone();
        change(&mut other);
        vec![other]
    };
    assert_eq!(verdict(vec![own.clone()]), Clean);
    assert_eq!(verdict(Vec::new()), Denied, "no sandbox yet");
    assert_eq!(verdict(other(|pod| pod.sandbox_id = "another".to_owned())), Denied);
    assert_eq!(verdict(other(|pod| pod.pod_uid = "another".to_owned())), Denied);
    assert_eq!(verdict(other(|pod| pod.pod_namespace = "kube-system".to_owned())), Denied);
    assert_eq!(verdict(other(|pod| pod.pod_name = "another".to_owned())), Denied);
    assert_eq!(verdict(other(|pod| pod.container_name = "of the sandbox it is empty".to_owned())), Clean);
}

#[test]
fn a_sandbox_is_made_in_the_network_that_was_made_for_it() {
    let mut spec = support::golden("cri-pause");
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.iter_mut().find(|namespace| namespace["type"] == "network").unwrap()["path"] = json!("/other/ns/net");
    assert!(!support::is_denied(&support::create(&spec, &Policy::builtin())));
}

#[test]
fn a_container_is_in_the_cgroup_of_its_pod() {
    let spec = pod();
    let own = spec["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    let id = support::id_of(&spec);
    let verdict = |pod: Option<String>| {
        let beside = |host: &mut HostFacts| host.pod_cgroup = pod;
        let record = support::create_with(&spec, &Task::of(&id), &Policy::builtin(), beside).record;
        verdict_of("linux.cgroups-path", &record)
    };
    assert_eq!(verdict(None), Clean, "{own}");
    assert_eq!(verdict(Some(own.replace(&id, "sandbox"))), Clean, "{own}");
    assert_eq!(verdict(Some(format!("/kubepods/besteffort/podother/{id}"))), Denied);
    assert_eq!(verdict(Some("kubepods-other.slice:cri-containerd:sandbox".to_owned())), Denied);
}

/// A selector goes by the names that the container has, so the rule about them cannot be one that the selector's own
/// profile switches off.
#[test]
fn no_profile_lets_a_container_name_another_pod() {
    let policy = Policy::from_toml("[[select]]\nnamespace = \"kube-system\"\nprofile = \"privileged\"\n").unwrap();
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    let id = support::id_of(&spec);
    let own = ParsedSpec::parse(spec.to_string().as_bytes()).unwrap().identity();
    spec["annotations"]["io.kubernetes.cri.sandbox-namespace"] = json!("kube-system");
    let task = Task { sandboxes: Some(vec![own]), ..Task::of(&id) };
    let decision = support::create_task(&spec, &task, &policy);
    assert_eq!(decision.record.profile, "privileged", "else this shows nothing");
    assert!(support::is_denied(&decision));
    // Nor one without a type, which has no pod to name.
    let annotations = spec["annotations"].as_object_mut().unwrap();
    annotations.remove("io.kubernetes.cri.container-type");
    annotations.remove("io.kubernetes.cri.sandbox-id");
    let decision = support::create_task(&spec, &task, &policy);
    assert_eq!(verdict_of("task.identity", &decision.record), Denied);
    let exempt = "[[exempt]]\nrule = \"task.identity\"\nnamespace = \"*\"\nreason = \"x\"\nexpires = \"2099-01-01\"\n";
    assert!(Policy::from_toml(exempt).is_err());
}

#[test]
fn links_of_the_image() {
    let place = |destination: &str, end: Option<&str>, is_file| PlaceFact {
        destination: destination.into(),
        leads_to: end.map(Into::into),
        is_file,
    };
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    let verdict = |place: PlaceFact, policy: &Policy| {
        let spec = support::admitted(support::create(&spec, policy)).0;
        let decision = judge_rootfs(&[place], &spec, policy, support::today());
        assert_eq!(support::is_denied(&decision), verdict_of("root.links", &decision.record) == Denied);
        verdict_of("root.links", &decision.record)
    };
    for (destination, end, is_file, expected) in [
        ("/proc", Some("/proc"), false, Clean),
        ("/var/run/x", Some("/run/x"), false, Clean),
        ("/etc/hosts", Some("/etc/hosts"), true, Clean),
        ("/dev", Some("/tmp/x"), false, Denied),
        ("/dev/pts", Some("/tmp/x/pts"), false, Denied),
        ("/proc", Some("/proc"), true, Denied),
        ("/sys", Some("/"), false, Denied),
        ("/data", Some("/proc/self/attr"), false, Denied),
        ("/data", Some("/dev/shm"), false, Denied),
        ("/data", Some("/"), false, Denied),
        ("/data", None, false, Denied),
    ] {
        let policy = Policy::builtin();
        assert_eq!(verdict(place(destination, end, is_file), &policy), expected, "{destination} {end:?}");
    }
    let watching = Policy::from_toml("[profiles.restricted.rules.\"root.links\"]\naction = \"audit\"\n").unwrap();
    assert_eq!(verdict(place("/dev", Some("/tmp/x"), false), &watching), Audited);
}

#[test]
fn interactive_exec() {
    let forbidding = Policy::from_toml("[profiles.restricted.rules.\"exec.tty\"]\naction = \"deny\"\n").unwrap();
    let spec = pod();
    let grant = {
        let mut spec = spec.clone();
        spec["root"]["path"] = json!("rootfs");
        support::admitted(support::create(&spec, &forbidding)).0.grant().clone()
    };
    let mut process = spec["process"].clone();
    assert!(!support::is_denied(&support::exec(&process, &grant, &forbidding)), "without a terminal");
    process["terminal"] = json!(true);
    assert!(!support::is_denied(&support::exec(&process, &grant, &Policy::builtin())), "unless it is forbidden");
    let decision = support::exec(&process, &grant, &forbidding);
    assert!(support::is_denied(&decision));
    assert_eq!(verdict_of("exec.tty", &decision.record), Denied);
}
