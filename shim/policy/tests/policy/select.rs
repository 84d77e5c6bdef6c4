//! Which profile judges a container, and what its annotations can change about it.

use palisade_policy::{Policy, PolicyFilesError, Record};
use palisade_seccomp::Library;
use serde_json::{Value, json};

use crate::support::{self, Verdict, verdict_of};

fn pod(namespace: &str, pod: &str, container: &str) -> Value {
    let mut spec = support::golden("cri-app");
    spec["annotations"]["io.kubernetes.cri.sandbox-namespace"] = json!(namespace);
    spec["annotations"]["io.kubernetes.cri.sandbox-name"] = json!(pod);
    spec["annotations"]["io.kubernetes.cri.container-name"] = json!(container);
    spec["process"]["user"]["uid"] = json!(0);
    spec
}

fn record(spec: &Value, policy: &Policy) -> Record {
    support::create(spec, policy).record
}

const POLICY: &str = r#"
profile = "restricted"
[[select]]
namespace = "kube-system"
pod = "cni-*"
profile = "privileged"
[[select]]
namespace = "kube-system"
profile = "team"
[[select]]
namespace = "ml-*"
image = "registry.corp/ml/*"
profile = "baseline"
[[select]]
container = "sidecar"
profile = "tight"
[[select]]
sandbox = true
profile = "baseline"
[profiles.team]
extends = "lead"
[profiles.lead]
extends = "baseline@1"
[profiles.tight]
extends = "restricted"
[profiles.tight.rules."res.pids"]
max = 100
"#;

#[test]
fn the_first_selector_that_covers_a_container_decides_and_is_named() {
    let policy = Policy::from_toml(POLICY).unwrap();
    for (namespace, name, container, profile, by) in [
        ("kube-system", "cni-x7", "agent", "privileged", "select[0]"),
        ("kube-system", "cni", "agent", "team", "select[1]"),
        ("kube-system", "dns", "sidecar", "team", "select[1]"),
        ("kube-systemd", "cni-x7", "agent", "restricted", "profile"),
        ("ml-train", "job", "app", "restricted", "profile"),
        ("shop", "web", "sidecar", "tight", "select[3]"),
        ("shop", "web", "app", "restricted", "profile"),
    ] {
        let record = record(&pod(namespace, name, container), &policy);
        assert_eq!((record.profile.as_str(), record.selected_by.as_str()), (profile, by), "{namespace}/{name}");
    }
    let mut image = pod("ml-train", "job", "app");
    image["annotations"]["io.kubernetes.cri.image-name"] = json!("registry.corp/ml/train:3");
    assert_eq!(record(&image, &policy).selected_by, "select[2]");
}

#[test]
fn a_sandbox_is_known_by_its_id() {
    let policy = Policy::from_toml(POLICY).unwrap();
    let pause = support::golden("cri-pause");
    assert_eq!(record(&pause, &policy).selected_by, "select[4]");
    // The annotation alone makes no sandbox of an application's container.
    let mut claimed = pod("shop", "web", "app");
    claimed["annotations"]["io.kubernetes.cri.container-type"] = json!("sandbox");
    assert_eq!(record(&claimed, &policy).selected_by, "profile");
}

#[test]
fn an_annotation_can_tighten() {
    let policy = Policy::from_toml("profile = \"baseline\"").unwrap();
    let mut spec = pod("shop", "web", "app");
    spec["annotations"]["palisade.io/profile"] = json!("restricted");
    let record = record(&spec, &policy);
    assert_eq!(
        (record.profile.as_str(), record.selected_by.as_str()),
        ("restricted", "annotation palisade.io/profile")
    );
    assert_eq!(verdict_of("user.non-root", &record), Verdict::Mutated);

    let mut plain = pod("shop", "web", "app");
    plain["linux"].as_object_mut().unwrap().remove("seccomp");
    let mut asking = plain.clone();
    asking["annotations"]["palisade.io/seccomp"] = json!("strict");
    let filter = |spec: &Value, policy: &Policy| {
        let (hardened, record) = support::admitted(support::create(spec, policy));
        (support::json(hardened.as_bytes())["linux"]["seccomp"].clone(), record.selected_by)
    };
    let (tightened, by) = filter(&asking, &policy);
    assert_eq!(by, "profile, annotation palisade.io/seccomp");
    assert_ne!(tightened, filter(&plain, &policy).0);
    // It is about calls: which architectures run stays the profile's, and so do their own calls.
    let same =
        Policy::from_toml("[profiles.restricted.rules.\"linux.seccomp.arch\"]\nallow = [\"x86\", \"arm\"]").unwrap();
    assert_eq!(tightened, filter(&plain, &same).0);
}

fn sorted(list: &str) -> Vec<&str> {
    let mut words: Vec<&str> = list.split(", ").collect();
    words.sort_unstable();
    words
}

#[test]
fn an_annotation_never_loosens() {
    let policy = Policy::from_toml(
        r#"
[profiles.more-memory]
extends = "restricted"
[profiles.more-memory.rules."res.memory"]
max = "128GiB"
[profiles.other-user]
extends = "restricted"
[profiles.other-user.rules."user.non-root"]
uid = 1000
[profiles.watching]
extends = "restricted"
mode = "audit"
[profiles.data]
extends = "restricted"
[profiles.data.rules."mount.host-path"]
allow = ["/srv/data:ro"]
[profiles.softer]
extends = "restricted"
[profiles.softer.rules."linux.ns"]
action = "audit"
"#,
    )
    .unwrap();
    for (annotation, value) in [
        ("palisade.io/profile", "baseline"),
        ("palisade.io/profile", "privileged"),
        ("palisade.io/profile", "more-memory"),
        ("palisade.io/profile", "other-user"),
        ("palisade.io/profile", "watching"),
        ("palisade.io/profile", "data"),
        ("palisade.io/profile", "softer"),
        ("palisade.io/profile", "nosuch"),
        ("palisade.io/profile", ""),
        ("palisade.io/seccomp", "runtime-default"),
        ("palisade.io/seccomp", "unconfined"),
    ] {
        let mut spec = pod("shop", "web", "app");
        spec["annotations"][annotation] = json!(value);
        let decision = support::create(&spec, &policy);
        assert!(support::is_denied(&decision), "{annotation} = {value}");
        assert_eq!(verdict_of("task.annotations", &decision.record), Verdict::Denied, "{annotation} = {value}");
        let finding = &decision.record.findings[0];
        assert_eq!(decision.record.findings.len(), 1, "nothing else was judged: {annotation} = {value}");
        if value == "nosuch" {
            let known = "baseline, privileged, restricted, data, more-memory, other-user, softer, watching";
            assert_eq!(sorted(&finding.allowed), sorted(known));
        }
        assert_eq!(finding.pointer, format!("/annotations/{}", annotation.replace('/', "~1")));
    }
}

/// A setting counts wherever a rule goes by it, and an empty list is not always the shortest.
#[test]
fn a_setting_is_compared_for_every_rule_that_goes_by_it() {
    for (base, asked) in [
        // Without a list any AppArmor profile passes.
        ("rules.\"process.apparmor\"]\nallow = [\"mine\"]", "rules.\"process.apparmor\"]\nallow = []"),
        // The list of capabilities is caps.never's as well.
        (
            "rules.\"caps.allow-list\"]\naction = \"audit\"",
            "rules.\"caps.allow-list\"]\ncapabilities = [\"CAP_SYS_ADMIN\"]",
        ),
        // As the user is user.root-group's.
        ("rules.\"user.non-root\"]\naction = \"audit\"", "rules.\"user.non-root\"]\ngid = 6"),
        // As the limits are res.unified's, and that of tasks the resource limits' too.
        ("rules.\"res.memory\"]\naction = \"audit\"", "rules.\"res.memory\"]\nmax = \"1TiB\""),
        ("rules.\"res.cpu\"]\naction = \"audit\"", "rules.\"res.cpu\"]\nmax = 64"),
        ("rules.\"res.pids\"]\naction = \"audit\"", "rules.\"res.pids\"]\nmax = 100000"),
    ] {
        let text = format!(
            "profile = \"base\"\n[profiles.base]\nextends = \"restricted\"\n[profiles.base.{base}\n\
             [profiles.asked]\nextends = \"base\"\n[profiles.asked.{asked}\n"
        );
        let policy = Policy::from_toml(&text).unwrap();
        let mut spec = pod("shop", "web", "app");
        spec["annotations"]["palisade.io/profile"] = json!("asked");
        let record = record(&spec, &policy);
        assert_eq!(verdict_of("task.annotations", &record), Verdict::Denied, "{text}");
    }
}

/// Of `base` and `asked` the tables of rules.
fn asks(base: &str, asked: &str) -> Verdict {
    let rules = |profile: &str, text: &str| text.replace("[rules.", &format!("[profiles.{profile}.rules."));
    let text = format!(
        "profile = \"base\"\n[profiles.base]\nextends = \"restricted\"\n{}\n[profiles.asked]\nextends = \"base\"\n{}\n",
        rules("base", base),
        rules("asked", asked),
    );
    let mut spec = pod("shop", "web", "app");
    spec["annotations"]["palisade.io/profile"] = json!("asked");
    verdict_of("task.annotations", &record(&spec, &Policy::from_toml(&text).unwrap()))
}

#[test]
fn lists_are_compared_by_what_their_entries_let_through() {
    for (rule, base, asked, expected) in [
        ("mount.host-path", "/srv/data", "/srv/data", Verdict::Clean),
        ("mount.host-path", "/srv/data", "/srv/data/inner", Verdict::Clean),
        ("mount.host-path", "/srv/data", "/srv/data:ro", Verdict::Clean),
        ("mount.host-path", "/srv/data:ro", "/srv/data:ro", Verdict::Clean),
        ("mount.host-path", "/srv/data:ro", "/srv/data", Verdict::Denied),
        ("mount.host-path", "/srv/data", "/srv", Verdict::Denied),
        ("mount.host-path", "/srv/data", "/srv/other:ro", Verdict::Denied),
        ("annotations", "shop.example/*", "shop.example/*", Verdict::Clean),
        ("annotations", "shop.example/*", "shop.example/tier", Verdict::Clean),
        ("annotations", "shop.example/*", "other.example/tier", Verdict::Denied),
        ("annotations", "shop.example/tier", "shop.example/tier", Verdict::Clean),
        ("annotations", "shop.example/tier", "shop.example/*", Verdict::Denied),
        ("linux.sysctl", "net.core.somaxconn", "net.core.somaxconn", Verdict::Clean),
        ("linux.sysctl", "net.core.somaxconn", "kernel.msgmax", Verdict::Denied),
        ("task.stdio", "/srv/logs", "/srv/logs/app", Verdict::Clean),
        ("task.stdio", "/srv/logs/app", "/srv/logs", Verdict::Denied),
        ("task.rootfs", "/srv/layers", "/srv/layers/1", Verdict::Clean),
        ("task.rootfs", "/srv/layers/1", "/srv/layers", Verdict::Denied),
    ] {
        let table = |entry: &str| format!("[rules.\"{rule}\"]\nallow = [\"{entry}\"]");
        assert_eq!(asks(&table(base), &table(asked)), expected, "{rule}: {base}, then {asked}");
    }
}

/// What a profile has only where it is given: one without it is looser than any with it.
#[test]
fn limits_that_need_not_be_given_are_compared() {
    for (rule, base, same_or_less, more) in [
        (
            "res.memory",
            "high = \"80%\"",
            &["high = \"80%\"", "high = \"10%\""][..],
            &["high = \"81%\"", "high = 4096"][..],
        ),
        ("res.memory", "high = \"1GiB\"", &["high = \"1MiB\""], &["high = \"2GiB\"", "high = \"1%\""]),
        ("res.memory", "oom_group = true", &["oom_group = true"], &["oom_group = false"]),
        ("res.memory", "oom_group = false", &["oom_group = false"], &["oom_group = true"]),
        (
            "res.cpuset",
            "cpus = \"0-3\"",
            &["cpus = \"0-3\"", "cpus = \"2\"", "mems = \"0\""],
            &["cpus = \"0-4\"", "cpus = \"9\""],
        ),
        ("res.cpuset", "mems = \"0\"", &["mems = \"0\""], &["mems = \"0-1\""]),
        ("res.hugepages", "default = 4\nmax = 8", &["max = 7"], &["max = 9", "default = 5"]),
        (
            "res.io",
            "limits = [\"8:0 rbps=5\"]",
            &["limits = [\"8:0 rbps=4\", \"8:1 rbps=9\"]"],
            &["limits = [\"8:0 rbps=6\"]", "limits = []"],
        ),
        ("res.io", "weight = 100", &["weight = 100", "weight = 10"], &["weight = 101"]),
    ] {
        let table = |settings: &str| format!("[rules.\"{rule}\"]\n{settings}");
        let verdicts = same_or_less.iter().map(|asked| (asked, Verdict::Clean));
        for (asked, expected) in verdicts.chain(more.iter().map(|asked| (asked, Verdict::Denied))) {
            assert_eq!(asks(&table(base), &table(asked)), expected, "{rule}: {base}, then {asked}");
        }
        // A profile that starts anew has none.
        let text = format!(
            "profile = \"base\"\n[profiles.base]\nextends = \"restricted\"\n[profiles.base.rules.\"{rule}\"]\n{base}\n\
             [profiles.asked]\nextends = \"restricted\"\n"
        );
        let mut spec = pod("shop", "web", "app");
        spec["annotations"]["palisade.io/profile"] = json!("asked");
        let verdict = verdict_of("task.annotations", &record(&spec, &Policy::from_toml(&text).unwrap()));
        assert_eq!(verdict, Verdict::Denied, "{rule}: {base}, then nothing");
    }
}

#[test]
fn a_setting_that_no_rule_acts_by_is_no_measure() {
    for (action, expected) in [("mutate", Verdict::Denied), ("audit", Verdict::Clean), ("off", Verdict::Clean)] {
        let base = format!("[rules.\"mount.size\"]\naction = \"{action}\"");
        assert_eq!(asks(&base, "[rules.\"mount.size\"]\nmax = \"1TiB\""), expected, "{action}");
    }
}

/// An author who left a profile that watches would also leave what the watching is for.
#[test]
fn an_audited_container_cannot_choose_to_be_seen_less() {
    let policy = Policy::from_toml("[profiles.restricted]\nmode = \"audit\"\n").unwrap();
    let mut spec = pod("shop", "web", "app");
    spec["annotations"]["palisade.io/profile"] = json!("privileged");
    assert_eq!(verdict_of("task.annotations", &record(&spec, &policy)), Verdict::Denied);
}

#[test]
fn every_profile_is_as_strict_as_itself_and_tighter_ones_pass() {
    let policy = Policy::from_toml(
        r#"
profile = "data"
[profiles.data]
extends = "restricted"
[profiles.data.rules."mount.host-path"]
allow = ["/srv/data"]
[profiles.inner]
extends = "data"
[profiles.inner.rules."mount.host-path"]
allow = ["/srv/data/inner:ro"]
[profiles.inner.rules."user.non-root"]
action = "deny"
[profiles.inner.rules."res.pids"]
max = 100
"#,
    )
    .unwrap();
    for name in ["data", "inner", "restricted"] {
        let mut spec = pod("shop", "web", "app");
        spec["annotations"]["palisade.io/profile"] = json!(name);
        assert_eq!(record(&spec, &policy).profile, name);
    }
}

#[test]
fn profiles_extend_each_other_in_any_order() {
    let team = Policy::from_toml(POLICY).unwrap();
    let spec = pod("kube-system", "dns", "app");
    assert_eq!(verdict_of("user.non-root", &record(&spec, &team)), Verdict::Audited, "as baseline has it");
}

#[test]
fn what_makes_no_sense_is_an_error_with_its_line() {
    // The first entry is as strict as the default, and would keep the second from whoever uses the name.
    let shadowing = "profile = \"baseline\"\n[[select]]\ncontainer = \"sidecar\"\nprofile = \"baseline\"\n\
                     [[select]]\nnamespace = \"prod\"\nprofile = \"restricted\"\n";
    for (line, word, text) in [
        (1, "about every container", "[[select]]\nprofile = \"baseline\"\n"),
        (3, "no profile", "[[select]]\nnamespace = \"x\"\nprofile = \"nosuch\"\n"),
        (2, "no name", "[[select]]\nnamespace = \"*x\"\nprofile = \"baseline\"\n"),
        (1, "author chooses", "[[select]]\ncontainer = \"sidecar\"\nprofile = \"baseline\"\n"),
        (1, "author chooses", "[[select]]\npod = \"cni-*\"\nimage = \"corp/*\"\nprofile = \"privileged\"\n"),
        (1, "author chooses", "[[select]]\npod = \"cni-*\"\nsandbox = false\nprofile = \"privileged\"\n"),
        (2, "author chooses", shadowing),
        (2, "unknown field", "[[select]]\nlabel = \"x\"\nprofile = \"baseline\"\n"),
        (1, "missing field", "[[select]]\nnamespace = \"x\"\n"),
        (2, "no profile", "[profiles.a]\nextends = \"restricted@2\"\n"),
        (2, "leads back", "[profiles.a]\nextends = \"a\"\n"),
        (4, "leads back", "[profiles.a]\nextends = \"b\"\n[profiles.b]\nextends = \"a\"\n"),
        (1, "no name for a profile", "[profiles.\"restricted@1\"]\n"),
        (2, "unknown variant", "[profiles.restricted]\nmode = \"warn\"\n"),
    ] {
        let error = Policy::from_toml(text).unwrap_err();
        assert!(error.to_string().contains(word), "{text}: {error}");
        assert_eq!(error.line(), line, "{text}: {error}");
    }
}

#[test]
fn an_error_names_the_profiles_that_there_are() {
    let text = "[profiles.a]\nextends = \"nosuch\"\n[profiles.b]\nextends = \"baseline\"\n[profiles.restricted]\n";
    let error = Policy::from_toml(text).unwrap_err().to_string();
    assert!(error.ends_with("choose one of restricted@1, baseline@1, privileged@1, b"), "{error}");
}

#[test]
fn files_add_up_and_a_fault_is_found_in_its_file() {
    let files = |texts: &[(&str, &str)]| Policy::from_files(texts);
    let both = files(&[
        ("", "[[select]]\nnamespace = \"a\"\nprofile = \"team\"\n"),
        ("team.toml", "[profiles.team]\nextends = \"baseline\"\n[[select]]\nnamespace = \"b\"\nprofile = \"team\"\n"),
    ])
    .unwrap();
    assert_eq!(record(&pod("a", "p", "c"), &both).selected_by, "select[0]");
    assert_eq!(record(&pod("b", "p", "c"), &both).selected_by, "team.toml select[0]");
    for (word, first, second) in [
        ("earlier file", "profile = \"baseline\"", "profile = \"restricted\""),
        ("earlier file", "[audit]\npath = \"/a\"", "[audit]\npath = \"/b\""),
        ("earlier file", "[profiles.restricted]", "[profiles.restricted]"),
        ("no rule", "", "[profiles.restricted.rules.nosuch]"),
    ] {
        let PolicyFilesError { index, source } = files(&[("1", first), ("2", second)]).unwrap_err();
        assert_eq!(index, 1, "{source}");
        assert!(source.to_string().contains(word), "{source}");
    }
}

#[test]
fn a_container_whose_profile_is_gone_is_judged_by_restricted() {
    let with = Policy::from_toml("profile = \"open\"\n[profiles.open]\nextends = \"privileged\"\n").unwrap();
    let without = Policy::from_toml("profile = \"privileged\"").unwrap();
    let spec = pod("shop", "web", "app");
    let grant = support::admitted(support::create(&spec, &with)).0.grant().clone();
    let process = spec["process"].clone();
    assert_eq!(support::exec(&process, &grant, &with).record.profile, "open");
    let record = support::exec(&process, &grant, &without).record;
    assert_eq!((record.profile.as_str(), record.selected_by.as_str()), ("restricted", "grant"));
}

/// A policy with system call profiles of its own: one for servers with queues, and one that allows all.
fn with_own(text: &str) -> Policy {
    let profiles = [
        ("queues", r#"{ "include": ["web-service", "base-ipc"], "defaultAction": "SCMP_ACT_ERRNO" }"#),
        ("open", r#"{ "defaultAction": "SCMP_ACT_ALLOW" }"#),
    ];
    let library = Library::with_profiles(&profiles, None).unwrap();
    Policy::from_files_with(&[("", text)], library).unwrap()
}

#[test]
fn an_annotation_tightens_to_a_profile_of_ones_own_and_never_loosens() {
    let policy = with_own("");
    for (name, expected) in [
        ("queues", Verdict::Clean),
        ("web-service", Verdict::Clean),
        ("strict", Verdict::Clean),
        ("open", Verdict::Denied),
        ("base", Verdict::Denied),
    ] {
        let mut spec = pod("shop", "web", "app");
        spec["annotations"]["palisade.io/seccomp"] = json!(name);
        assert_eq!(verdict_of("task.annotations", &record(&spec, &policy)), expected, "{name}");
    }
    let queues = with_own("[profiles.restricted.rules.\"linux.seccomp\"]\nprofile = \"queues\"\n");
    for (name, expected) in [("web-service", Verdict::Clean), ("strict", Verdict::Denied)] {
        let mut spec = pod("shop", "web", "app");
        spec["annotations"]["palisade.io/seccomp"] = json!(name);
        assert_eq!(verdict_of("task.annotations", &record(&spec, &queues)), expected, "{name} in place of queues");
    }
}

#[test]
fn a_mitigation_is_taken_from_whatever_profile_is_in_force_and_is_on_record() {
    let allowed = |text: &str, annotation: Option<&str>| {
        let mut spec = pod("shop", "web", "app");
        spec["linux"].as_object_mut().unwrap().remove("seccomp");
        if let Some(name) = annotation {
            spec["annotations"]["palisade.io/seccomp"] = json!(name);
        }
        let (hardened, record) = support::admitted(support::create(&spec, &with_own(text)));
        let filter = support::json(hardened.as_bytes())["linux"]["seccomp"].clone();
        let filter = serde_json::from_value(filter).unwrap();
        let verdict = palisade_seccomp::verdict(&filter, "splice", [0; 6]).unwrap();
        (verdict.runs(), record.mitigations)
    };
    let on = "mitigations = [\"dirty-pipe\"]\n";
    let own = "[profiles.restricted.rules.\"linux.seccomp\"]\nprofile = \"open\"\n";
    for profile in ["", own] {
        assert_eq!(allowed(profile, None), (true, Vec::new()), "{profile}");
        assert_eq!(allowed(&format!("{on}{profile}"), None), (false, vec!["dirty-pipe".to_owned()]), "{profile}");
    }
    assert_eq!(allowed(on, Some("queues")), (false, vec!["dirty-pipe".to_owned()]), "an annotation does not leave it");
    let off = "[profiles.restricted.rules.\"linux.seccomp\"]\naction = \"audit\"\n";
    let mut spec = pod("shop", "web", "app");
    spec["linux"].as_object_mut().unwrap().remove("seccomp");
    assert!(record(&spec, &with_own(&format!("{on}{off}"))).mitigations.is_empty(), "it does not count there");
}

#[test]
fn a_mitigation_that_there_is_not_is_an_error_with_its_line() {
    let error = Policy::from_toml("version = 1\nmitigations = [\"io_uring\"]\n").unwrap_err();
    assert_eq!(error.line(), 2);
    assert!(error.to_string().contains("choose of bpf, copy-fail"), "{error}");
}
