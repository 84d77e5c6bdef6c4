//! Secrets in the environment and in arguments, and the volumes that hold secrets.

use palisade_policy::{KubeletVolume, Outcome, Policy, ProfilePlace, SECRETS_DIRECTORY, secret_in_variable};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{self, Task, Verdict, Verdict::*, verdict_of};
use crate::tables::{Edit, judged, pod, push, table};

/// Made when the test runs, so that nobody takes it for a real one.
fn token() -> String {
    format!("ghp_{}", "a1B2c3D4e5F6".repeat(3))
}

fn password() -> String {
    ["kX7vQ2", "mZpL9w"].concat()
}

fn moving() -> Policy {
    Policy::from_toml("[profiles.restricted.rules.\"secret.env\"]\naction = \"mutate\"\n").unwrap()
}

fn set(spec: &mut Value, entry: &str) {
    push(&mut spec["process"]["env"], json!(entry));
}

fn with(entries: &[String]) -> Value {
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    for entry in entries {
        set(&mut spec, entry);
    }
    spec
}

fn env_of(document: &Value) -> Vec<String> {
    let env = document.pointer("/process/env").or_else(|| document.pointer("/env")).unwrap();
    env.as_array().unwrap().iter().map(|entry| entry.as_str().unwrap().to_owned()).collect()
}

#[test]
fn environment() {
    table(
        "secret.env",
        &[
            ("a token", Audited, |s| set(s, &format!("X={}", token()))),
            ("a password", Audited, |s| set(s, &format!("DB_PASSWORD={}", password()))),
            ("the file of one", Clean, |s| set(s, "DB_PASSWORD_FILE=/run/secrets/db")),
            ("what everybody knows", Clean, |s| set(s, "DB_PASSWORD=changeme")),
            ("an address with a password", Audited, |s| set(s, &format!("DSN=postgres://a:{}@db/x", password()))),
            ("without a name", Audited, |s| set(s, &token())),
            ("the same secret in another one", Audited, |s| {
                set(s, &format!("DB_PASSWORD={}", password()));
                set(s, &format!("DSN=a:{}@tcp(db)/x", password()));
            }),
        ],
    );
    let denying = Policy::from_toml("[profiles.restricted.rules.\"secret.env\"]\naction = \"deny\"\n").unwrap();
    assert_eq!(judged("secret.env", &denying, |s| set(s, &format!("X={}", token()))), Denied);
    let allowing = "[profiles.restricted.rules.\"secret.env\"]\naction = \"deny\"\nallow = [\"X\", \"LEGACY_*\"]\n";
    let allowing = Policy::from_toml(allowing).unwrap();
    assert_eq!(judged("secret.env", &allowing, |s| set(s, &format!("X={}", token()))), Clean);
    assert_eq!(judged("secret.env", &allowing, |s| set(s, &format!("LEGACY_A={}", token()))), Clean);
    assert_eq!(judged("secret.env", &allowing, |s| set(s, &format!("XY={}", token()))), Denied);
}

#[test]
fn arguments() {
    fn run(spec: &mut Value, words: &[&str]) {
        spec["process"]["args"] = json!(words);
    }
    table(
        "secret.args",
        &[
            ("a password", Audited, |s| run(s, &["app", &format!("--password={}", password())])),
            ("after its option", Audited, |s| run(s, &["app", "--password", &password()])),
            ("within a script", Audited, |s| run(s, &["sh", "-c", &format!("A={} exec app", token())])),
            ("its file", Clean, |s| run(s, &["app", "--password-file", "/run/secrets/db"])),
            ("the value of a variable, as the kubelet writes it", Audited, |s| {
                set(s, &format!("DB_PASSWORD={}", password()));
                run(s, &["app", &format!("a:{}@tcp(db)/x", password())]);
            }),
        ],
    );
}

/// The reason names the variable; nothing anywhere holds the value.
#[test]
fn no_account_shows_a_secret() {
    for action in ["audit", "deny", "mutate"] {
        let rules = format!("[profiles.restricted.rules.\"secret.env\"]\naction = \"{action}\"\n");
        let policy = Policy::from_toml(&rules).unwrap();
        let mut spec = with(&[format!("DB_PASSWORD={}", password()), format!("PLAIN={}", token())]);
        spec["process"]["args"] = json!(["app", format!("--password={}", password())]);
        let decision = support::create(&spec, &policy);
        let record = serde_json::to_string(&decision.record).unwrap();
        assert!(record.contains("DB_PASSWORD holds a password"), "{record}");
        let shown = match &decision.outcome {
            Outcome::Deny(denial) => format!("{denial} {denial:?}"),
            Outcome::Admit(spec) => format!("{:?}", spec.secrets()),
        };
        for secret in [password(), token()] {
            assert!(!record.contains(&secret) && !shown.contains(&secret), "{action}: {record} {shown}");
        }
    }
}

#[test]
fn a_secret_becomes_a_file() {
    let spec = with(&[format!("DB_PASSWORD={}", password()), "KEPT=1".to_owned(), format!("TOKEN={}", token())]);
    let (hardened, record) = support::admitted(support::create(&spec, &moving()));
    assert_eq!(verdict_of("secret.env", &record), Mutated);
    let document = support::json(hardened.as_bytes());
    let text = document.to_string();
    assert!(!text.contains(&password()) && !text.contains(&token()), "{text}");
    let env = env_of(&document);
    let file = |name: &str| format!("{name}_FILE={SECRETS_DIRECTORY}/{name}");
    let place = |entry: &str| env.iter().position(|known| known == entry).unwrap();
    assert!(
        place(&file("DB_PASSWORD")) < place("KEPT=1") && place("KEPT=1") < place(&file("TOKEN")),
        "in its place: {env:?}"
    );
    let (at, files) = hardened.secrets().unwrap();
    let contents: Vec<_> = files.iter().map(|file| (file.name(), file.content())).collect();
    assert_eq!(contents, [("DB_PASSWORD", password().as_bytes()), ("TOKEN", token().as_bytes())]);
    let mounts = document["mounts"].as_array().unwrap();
    assert_eq!(at, mounts.len() - 1, "nothing is mounted over it");
    assert_eq!(mounts[at]["destination"], SECRETS_DIRECTORY);
    let options = mounts[at]["options"].to_string();
    for flag in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(options.contains(&format!("\"{flag}\"")), "{options}");
    }
    // What the runtime reads names the mount that was made.
    let seen = hardened.with_paths(&[(at, "/view/9".into())], &[], ProfilePlace::Document).unwrap();
    let seen = support::json(&seen);
    assert_eq!(seen["mounts"][at]["source"], "/view/9");
    assert_eq!(seen["mounts"][at]["type"], "bind");
    assert_eq!(seen["mounts"][at]["options"], json!(["bind", "private", "ro", "nosuid", "nodev", "noexec"]));
    // Once more: nothing is found, and nothing changes.
    let mut again = document.clone();
    again["root"]["path"] = json!("rootfs");
    let (second, record) = support::admitted(support::create(&again, &moving()));
    assert_eq!(record.findings, [], "moved is clean");
    assert_eq!(support::json(second.as_bytes()), document);
    assert!(second.secrets().is_none());
}

#[test]
fn without_a_secret_nothing_is_mounted() {
    let (hardened, _) = support::admitted(support::create(&with(&["KEPT=1".to_owned()]), &moving()));
    assert!(hardened.secrets().is_none());
    assert!(!String::from_utf8_lossy(hardened.as_bytes()).contains(SECRETS_DIRECTORY));
}

#[test]
fn several_values_of_one_name_go_together() {
    let spec = with(&[format!("TOKEN={}", token()), "TOKEN=none".to_owned(), format!("TOKEN={}x", token())]);
    let (hardened, _) = support::admitted(support::create(&spec, &moving()));
    let env = env_of(&support::json(hardened.as_bytes()));
    assert_eq!(env.iter().filter(|entry| entry.starts_with("TOKEN")).count(), 1, "{env:?}");
    // As runtimes have it: the last one counts, a secret or not.
    for (values, last) in [([token(), "none".to_owned()], "none".to_owned()), (["none".to_owned(), token()], token())] {
        let spec = with(&values.map(|value| format!("TOKEN={value}")));
        let (hardened, _) = support::admitted(support::create(&spec, &moving()));
        let (_, files) = hardened.secrets().unwrap();
        let contents: Vec<&[u8]> = files.iter().map(|file| file.content()).collect();
        assert_eq!(contents, [last.as_bytes()]);
    }
}

/// What a file holds stays nowhere, though nothing else would tell that it is a secret.
#[test]
fn the_last_value_of_a_secret_is_looked_for_as_well() {
    let (last, other) = ("kX7vQ2mZpL9w", "rT4nB8sJcW2h");
    let spec = with(&[
        "X=postgres://a:aAa0a0@db/x".to_owned(),
        format!("Y=a {last} b"),
        format!("X={last}"),
        format!("Y={other}"),
        format!("Z=a {other} b"),
    ]);
    let (hardened, _) = support::admitted(support::create(&spec, &moving()));
    let env = env_of(&support::json(hardened.as_bytes()));
    assert!(!env.iter().any(|entry| entry.contains(last) || entry.contains(other)), "{env:?}");
    assert!(env.iter().any(|entry| entry.starts_with("Z_FILE=")), "{env:?}");
}

/// What cannot be moved is refused: it would stay in the environment.
#[test]
fn what_cannot_be_moved_is_refused() {
    fn secret() -> String {
        format!("DB_PASSWORD={}", password())
    }
    fn volume(spec: &mut Value, destination: &str, kind: &str) {
        let options = if kind == "bind" {
            json!(["rbind", "rprivate", "nosuid", "nodev"])
        } else {
            json!(["nosuid", "nodev", "noexec", "size=64k"])
        };
        let mount = json!({"destination": destination, "type": kind, "source": "/srv/data", "options": options});
        push(&mut spec["mounts"], mount);
    }
    let cases: [(&str, Edit, Verdict); 10] = [
        ("nothing in the way", |_| {}, Mutated),
        ("its file is named already", |s| set(s, "DB_PASSWORD_FILE=/mine"), Denied),
        ("no name for a file", |s| set(s, &format!("db.password={}", password())), Denied),
        ("no name at all", |s| set(s, &token()), Denied),
        ("a volume at the place", |s| volume(s, SECRETS_DIRECTORY, "bind"), Denied),
        ("a volume below it", |s| volume(s, "/run/palisade/secrets/DB_PASSWORD", "bind"), Denied),
        ("a tmpfs above it", |s| volume(s, "/run/palisade", "tmpfs"), Denied),
        ("a volume at /run", |s| volume(s, "/run", "bind"), Denied),
        ("the same by another name", |s| volume(s, "/var/run", "bind"), Denied),
        ("a fresh tmpfs at /run", |s| volume(s, "/run", "tmpfs"), Mutated),
    ];
    for (name, edit, verdict) in cases {
        let mut spec = with(&[secret()]);
        edit(&mut spec);
        let record = support::create(&spec, &moving()).record;
        assert_eq!(verdict_of("secret.env", &record), verdict, "{name}");
    }
}

/// As many as a specification can hold: refused in one finding more, and not one by one for minutes.
#[test]
fn many_secrets_take_no_time() {
    let many: Vec<String> = (0..20_000).map(|n| format!("V{n}={}", token())).collect();
    let mut spec = with(&many);
    spec["process"]["args"] = json!(many);
    let begun = std::time::Instant::now();
    for policy in [moving(), Policy::builtin()] {
        let record = support::create(&spec, &policy).record;
        let count = |rule: &str| record.findings.iter().filter(|finding| finding.rule.as_str() == rule).count();
        assert_eq!((count("secret.env"), count("secret.args")), (257, 32));
    }
    assert_eq!(verdict_of("secret.env", &support::create(&spec, &moving()).record), Denied);
    let took = begun.elapsed();
    assert!(took < std::time::Duration::from_secs(60), "{took:?}");
}

#[test]
fn an_exec_gets_what_its_container_has() {
    let spec = with(&[format!("DB_PASSWORD={}", password()), "KEPT=1".to_owned()]);
    let (hardened, _) = support::admitted(support::create(&spec, &moving()));
    // containerd sends the process of before.
    let mut process = spec["process"].clone();
    process["args"] = json!(["env"]);
    push(&mut process["env"], json!("DB_PASSWORD_FILE=/elsewhere"));
    let (exec, record) = support::admitted(support::exec(&process, hardened.grant(), &moving()));
    assert_eq!(verdict_of("secret.env", &record), Mutated);
    let env = env_of(&support::json(exec.as_bytes()));
    let of_name: Vec<_> = env.iter().filter(|entry| entry.starts_with("DB_PASSWORD")).collect();
    assert_eq!(of_name, [&format!("DB_PASSWORD_FILE={SECRETS_DIRECTORY}/DB_PASSWORD")], "{env:?}");
    assert!(env.contains(&"KEPT=1".to_owned()));
    // Another value of the name, whatever it looks like: the container's is in its file.
    process["env"] = json!(["PATH=/bin", "DB_PASSWORD=x"]);
    let (exec, _) = support::admitted(support::exec(&process, hardened.grant(), &moving()));
    assert!(!String::from_utf8_lossy(exec.as_bytes()).contains("DB_PASSWORD=x"));
    // One that the container has no file of, as it was made under another policy, is taken out.
    process["env"] = json!(["PATH=/bin", format!("NEW={}", token())]);
    let (exec, _) = support::admitted(support::exec(&process, hardened.grant(), &moving()));
    assert_eq!(env_of(&support::json(exec.as_bytes())), ["PATH=/bin"]);
}

#[test]
fn the_grant_names_variables_and_holds_no_value() {
    let spec = with(&[format!("DB_PASSWORD={}", password())]);
    let (hardened, _) = support::admitted(support::create(&spec, &moving()));
    let grant = serde_json::to_string(hardened.grant()).unwrap();
    assert!(grant.contains("\"moved\":[\"DB_PASSWORD\"]") && !grant.contains(&password()), "{grant}");
}

#[test]
fn a_profile_that_lets_variables_be_secret_is_looser() {
    let file = |annotated: &str| {
        format!(
            "profile = \"base\"\n[profiles.base]\nextends = \"restricted\"\n[profiles.base.rules.\"secret.env\"]\naction = \"deny\"\n\
             [profiles.other]\nextends = \"base\"\n[profiles.other.rules.\"secret.env\"]\n{annotated}\n"
        )
    };
    for (rule, looser) in [("allow = [\"X\"]", true), ("action = \"audit\"", true), ("action = \"deny\"", false)] {
        let policy = Policy::from_toml(&file(rule)).unwrap();
        let mut spec = with(&[]);
        spec["annotations"]["palisade.io/profile"] = json!("other");
        let denied = support::is_denied(&support::create(&spec, &policy));
        assert_eq!(denied, looser, "{rule}");
    }
}

const VOLUMES: &str = "/var/lib/kubelet/pods/4d6d1f5e-8f5b-4f0c-9a3e-3a4f0f1b2c3d/volumes";

fn mounted(source: &str, destination: &str) -> Value {
    let mut spec = with(&[]);
    // The pod has a token of its own.
    spec["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| !mount["destination"].as_str().unwrap().ends_with("serviceaccount"));
    let options = json!(["rbind", "rprivate", "ro", "nosuid", "nodev", "noexec"]);
    push(
        &mut spec["mounts"],
        json!({"destination": destination, "type": "bind", "source": source, "options": options}),
    );
    spec
}

#[test]
fn tokens_of_service_accounts() {
    let policy = Policy::from_toml("[profiles.restricted.rules.\"mount.token\"]\naction = \"deny\"\n").unwrap();
    let token_seen = Some(KubeletVolume { on_tmpfs: true, holds_token: true });
    let none_seen = Some(KubeletVolume { on_tmpfs: true, holds_token: false });
    let place = "/var/run/secrets/kubernetes.io/serviceaccount";
    for (source, destination, seen, verdict) in [
        ("kubernetes.io~projected/kube-api-access-x7k2p", place, None, Denied),
        ("kubernetes.io~projected/kube-api-access-x7k2p", "/elsewhere", None, Denied),
        ("kubernetes.io~secret/default-token-x7k2p", "/elsewhere", None, Denied),
        ("kubernetes.io~projected/mine", "/run/secrets/kubernetes.io/serviceaccount", None, Denied),
        ("kubernetes.io~projected/mine", "/elsewhere", token_seen, Denied),
        ("kubernetes.io~projected/mine", "/elsewhere", none_seen, Clean),
        ("kubernetes.io~secret/mine", "/elsewhere", None, Clean),
        ("kubernetes.io~configmap/kube-api-access-x7k2p", "/elsewhere", None, Clean),
    ] {
        let spec = mounted(&format!("{VOLUMES}/{source}"), destination);
        let task = Task::of(&support::id_of(&spec));
        let change = |host: &mut palisade_policy::HostFacts| host.sources.last_mut().unwrap().kubelet_volume = seen;
        let record = support::create_with(&spec, &task, &policy, change).record;
        assert_eq!(verdict_of("mount.token", &record), verdict, "{source} at {destination}");
        let off = support::create_with(&spec, &task, &Policy::builtin(), change).record;
        assert_eq!(verdict_of("mount.token", &off), Clean, "off unless the admin says so");
    }
}

#[test]
fn secrets_are_in_memory() {
    for (seen, verdict) in [
        (None, Clean),
        (Some(KubeletVolume { on_tmpfs: true, holds_token: false }), Clean),
        (Some(KubeletVolume { on_tmpfs: false, holds_token: false }), Audited),
    ] {
        let spec = mounted(&format!("{VOLUMES}/kubernetes.io~secret/db"), "/secrets");
        let task = Task::of(&support::id_of(&spec));
        let change = |host: &mut palisade_policy::HostFacts| host.sources.last_mut().unwrap().kubelet_volume = seen;
        let record = support::create_with(&spec, &task, &Policy::builtin(), change).record;
        assert_eq!(verdict_of("mount.secrets.tmpfs", &record), verdict);
    }
}

fn entries() -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof![
        "[A-Z]{1,4}_(PASSWORD|TOKEN|SECRET|URL|FILE)",
        "[A-Z_]{1,6}",
        "(DB_PASSWORD|DB_PASSWORD_FILE|X)",
        "[a-z.-]{0,4}"
    ];
    let value = prop_oneof![
        "[a-zA-Z0-9]{0,24}",
        "postgres://[a-z]{1,4}:[a-zA-Z0-9]{6,12}@db/x",
        Just(token()),
        Just(password()),
        Just(format!("a {} b", password())),
        "\\PC{0,16}",
    ];
    prop::collection::vec((name, value).prop_map(|(name, value)| format!("{name}={value}")), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Either the container is refused, or its environment holds nothing that is detected, now and when it is judged again.
    #[test]
    fn what_is_detected_never_stays(entries in entries()) {
        let spec = with(&entries);
        let decision = support::create(&spec, &moving());
        let Outcome::Admit(hardened) = decision.outcome else { return Ok(()) };
        let document = support::json(hardened.as_bytes());
        for entry in env_of(&document) {
            let (name, value) = entry.split_once('=').unwrap_or(("", &entry));
            prop_assert_eq!(secret_in_variable(name, value), None, "{}", entry);
            let held = hardened.secrets().into_iter().flat_map(|(_, files)| files).any(|file| {
                file.content().len() >= 12 && value.contains(std::str::from_utf8(file.content()).unwrap())
            });
            prop_assert!(!held, "{}", entry);
        }
        let mut again = document.clone();
        again["root"]["path"] = json!("rootfs");
        let (second, record) = support::admitted(support::create(&again, &moving()));
        prop_assert_eq!(record.findings, []);
        prop_assert_eq!(support::json(second.as_bytes()), document);
        // An exec with the environment of before comes to the same one.
        let (exec, _) = support::admitted(support::exec(&spec["process"], hardened.grant(), &moving()));
        for entry in env_of(&support::json(exec.as_bytes())) {
            let (name, value) = entry.split_once('=').unwrap_or(("", &entry));
            prop_assert_eq!(secret_in_variable(name, value), None, "exec: {}", entry);
        }
    }

    /// Whatever the text, it is looked at to its end.
    #[test]
    fn any_text_can_be_looked_at(name in "\\PC{0,12}", value in "\\PC{0,200}") {
        std::hint::black_box(secret_in_variable(&name, &value));
        std::hint::black_box(palisade_policy::secrets_in_arguments([name.as_str(), value.as_str()]));
    }
}
