//! The rules about images.

use std::collections::BTreeMap;

use palisade_policy::{
    Day, Decision, HardenedSpec, ImageAnswer, ImageFacts, ImageMount, Looked, Policy, RuleId, Severity, Signed, Taken,
    Verdict, VerdictOutcome, Vulnerability, Vulnerable, judge_pull,
};
use serde_json::{Value, json};

use crate::support::{Task, create_task, golden, id_of, today};

const NAME: &str = "registry.example:5000/team/app:1";
const KEY: &str = "\n-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n";

fn container() -> Value {
    golden("cri-app")
}

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// The day of the tests and others beside it.
fn day(offset: i64) -> String {
    let seconds = today().unix_seconds() + offset * 86_400;
    Day::of_unix_seconds(seconds.try_into().unwrap()).to_string()
}

/// An image with nothing wrong.
fn facts(task: &Task) -> ImageFacts {
    let mount = |(kind, source, options): &(String, String, Vec<String>)| ImageMount {
        kind: kind.clone(),
        source: source.clone(),
        options: options.clone(),
    };
    ImageFacts {
        name: NAME.into(),
        digest: digest('a'),
        manifest: digest('b'),
        config: digest('c'),
        labels: Looked::Seen(BTreeMap::from([("stage".into(), "prod".into())])),
        created: Looked::Seen(format!("{}T10:00:00Z", day(-10))),
        mounts: Looked::Seen(task.rootfs.iter().map(mount).collect()),
        denied: Looked::Seen(None),
        allowed: Looked::Seen(true),
        verdicts: Looked::Seen(vec![verdict("ci", VerdictOutcome::Pass)]),
        signatures: Looked::Seen(vec![Signed {
            key: "release".into(),
            repository: Some("registry.example:5000/team/app".into()),
        }]),
    }
}

fn verdict(scanner: &str, outcome: VerdictOutcome) -> Verdict {
    Verdict { scanner: scanner.into(), digests: vec![digest('b')], made: Some(day(-3)), until: Some(day(30)), outcome }
}

fn policy(rules: &str, images: &str) -> Policy {
    let text = format!("[images]\n{images}\n[images.keys]\nrelease = '''{KEY}'''\nother = '''{KEY}'''\n{rules}");
    Policy::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Every rule about images, each with what lets the image pass.
const ALL: &str = r#"
[profiles.restricted.rules."image.registry"]
action = "deny"
allow = ["registry.example:5000/team/*"]
[profiles.restricted.rules."image.denied"]
action = "deny"
[profiles.restricted.rules."image.allowed"]
action = "deny"
[profiles.restricted.rules."image.scan"]
action = "deny"
max_age = 30
[profiles.restricted.rules."image.signature"]
action = "deny"
allow = ["release"]
[profiles.restricted.rules."image.labels"]
action = "deny"
labels = ["stage=test*", "internal"]
[profiles.restricted.rules."image.age"]
action = "deny"
max_age = "90d"
"#;

fn judge(policy: &Policy, change: impl FnOnce(&mut ImageFacts)) -> Decision<HardenedSpec> {
    judge_spec(&container(), policy, change)
}

fn judge_spec(spec: &Value, policy: &Policy, change: impl FnOnce(&mut ImageFacts)) -> Decision<HardenedSpec> {
    let mut task = Task::of(&id_of(spec));
    let mut facts = facts(&task);
    change(&mut facts);
    task.image = ImageAnswer::Known(Box::new(facts));
    create_task(spec, &task, policy)
}

/// The rules about images that refuse.
fn refused<T>(decision: &Decision<T>) -> Vec<&'static str> {
    let denied = decision.record.findings.iter().filter(|finding| finding.action == Taken::Denied);
    denied.map(|finding| finding.rule.as_str()).filter(|rule| rule.starts_with("image.")).collect()
}

#[test]
fn an_image_with_nothing_wrong_passes_and_its_digest_is_the_containers() {
    let decision = judge(&policy(ALL, ""), |_| {});
    assert_eq!(refused(&decision), [""; 0], "{:?}", decision.record.findings);
    let image = decision.record.image.clone().unwrap();
    assert_eq!((image.name.as_str(), image.signed_by.as_slice()), (NAME, ["release".to_owned()].as_slice()));
    let palisade_policy::Outcome::Admit(spec) = decision.outcome else { panic!() };
    assert_eq!(spec.grant().identity().image_digest, digest('a'));
}

#[test]
fn each_rule_refuses_what_it_is_for_and_only_that() {
    let policy = policy(ALL, "");
    let found = |found: &[(&str, Severity)], beyond| {
        let worst =
            found.iter().map(|(id, severity)| Vulnerability { id: (*id).into(), severity: *severity }).collect();
        VerdictOutcome::Found(Vulnerable { worst, beyond })
    };
    let seen = |outcome| Looked::Seen(vec![verdict("trivy", outcome)]);
    let changed = |change: &dyn Fn(&mut Verdict)| {
        let mut verdict = verdict("ci", VerdictOutcome::Pass);
        change(&mut verdict);
        Looked::Seen(vec![verdict])
    };
    type Change<'a> = Box<dyn Fn(&mut ImageFacts) + 'a>;
    let cases: Vec<(&str, &str, Change<'_>)> = vec![
        ("image.registry", "another registry", Box::new(|f| f.name = "registry.example/team/app:1".into())),
        ("image.registry", "a look-alike", Box::new(|f| f.name = "evil.example/registry.example:5000/team/app".into())),
        ("image.registry", "no name", Box::new(|f| f.name = "Registry.example:5000/team/app".into())),
        ("image.denied", "denied", Box::new(|f| f.denied = Looked::Seen(Some("CVE-2026-1".into())))),
        ("image.allowed", "not allowed", Box::new(|f| f.allowed = Looked::Seen(false))),
        ("image.scan", "no verdict", Box::new(|f| f.verdicts = Looked::Seen(Vec::new()))),
        ("image.scan", "a verdict of yesterday", Box::new(|f| f.verdicts = changed(&|v| v.until = Some(day(-1))))),
        ("image.scan", "one of long ago", Box::new(|f| f.verdicts = changed(&|v| v.made = Some(day(-31))))),
        ("image.scan", "one of tomorrow", Box::new(|f| f.verdicts = changed(&|v| v.made = Some(day(1))))),
        ("image.scan", "one without dates", Box::new(|f| f.verdicts = changed(&|v| (v.made, v.until) = (None, None)))),
        (
            "image.scan",
            "one about another image",
            Box::new(|f| f.verdicts = changed(&|v| v.digests = vec![digest('e')])),
        ),
        ("image.scan", "fail", Box::new(|f| f.verdicts = seen(VerdictOutcome::Fail("malware".into())))),
        ("image.scan", "too bad", Box::new(|f| f.verdicts = seen(found(&[("CVE-1", Severity::High)], None)))),
        ("image.scan", "more than are told", Box::new(|f| f.verdicts = seen(found(&[], Some(Severity::Critical))))),
        (
            "image.scan",
            "one scanner of two",
            Box::new(|f| {
                f.verdicts = Looked::Seen(vec![
                    verdict("ci", VerdictOutcome::Pass),
                    verdict("grype", VerdictOutcome::Fail(String::new())),
                ]);
            }),
        ),
        (
            "image.scan",
            "two verdicts of one day",
            Box::new(|f| {
                f.verdicts = Looked::Seen(vec![
                    verdict("ci", VerdictOutcome::Fail(String::new())),
                    verdict("ci", VerdictOutcome::Pass),
                ]);
            }),
        ),
        ("image.signature", "unsigned", Box::new(|f| f.signatures = Looked::Seen(Vec::new()))),
        (
            "image.signature",
            "another key",
            Box::new(|f| {
                f.signatures = Looked::Seen(vec![Signed { key: "other".into(), repository: Some(NAME.into()) }])
            }),
        ),
        (
            "image.signature",
            "another repository",
            Box::new(|f| {
                f.signatures = Looked::Seen(vec![Signed {
                    key: "release".into(),
                    repository: Some("registry.example:5000/team/app2".into()),
                }])
            }),
        ),
        (
            "image.signature",
            "no repository",
            Box::new(|f| f.signatures = Looked::Seen(vec![Signed { key: "release".into(), repository: None }])),
        ),
        (
            "image.labels",
            "a value",
            Box::new(|f| f.labels = Looked::Seen(BTreeMap::from([("stage".into(), "testing".into())]))),
        ),
        (
            "image.labels",
            "a key",
            Box::new(|f| f.labels = Looked::Seen(BTreeMap::from([("internal".into(), String::new())]))),
        ),
        ("image.age", "too old", Box::new(|f| f.created = Looked::Seen(format!("{}T23:59:59Z", day(-91))))),
        ("image.age", "to come", Box::new(|f| f.created = Looked::Seen(format!("{}T00:00:00Z", day(1))))),
        ("image.age", "no date", Box::new(|f| f.created = Looked::Seen(String::new()))),
        ("image.age", "no date either", Box::new(|f| f.created = Looked::Seen("yesterday".into()))),
    ];
    for (rule, what, change) in cases {
        let decision = judge(&policy, &change);
        let rules = refused(&decision);
        // A name that is none is none for the rule about repositories of signatures either.
        assert!(
            rules == [rule] || what == "no name" || rule == "image.registry" && rules == [rule, "image.signature"],
            "{rule}, {what}: {rules:?}"
        );
        assert!(decision.outcome.denial().unwrap().to_string().contains(rule), "{rule}");
    }
}

#[test]
fn what_is_let_pass() {
    let policy = policy(
        &format!(
            "{ALL}\n[[exempt]]\nrule = \"image.scan\"\nnamespace = \"*\"\nreason = \"x\"\nexpires = \"2999-01-01\"\n"
        ),
        "",
    );
    let pass = |change: &dyn Fn(&mut ImageFacts)| assert_eq!(refused(&judge(&policy, change)), [""; 0]);
    pass(&|f| f.verdicts = Looked::Seen(Vec::new()));
    pass(&|f| f.created = Looked::Seen(format!("{}T23:59:59Z", day(-90))));
    pass(&|f| f.created = Looked::Seen(format!("{}T23:59:59-00:00", day(0))));
    pass(&|f| f.labels = Looked::Seen(BTreeMap::from([("stage".into(), "pretest".into())])));
    let decision = judge(&policy, |f| f.verdicts = Looked::Seen(Vec::new()));
    assert_eq!(decision.record.exemptions.len(), 1);
    let ignoring = Policy::from_toml("[profiles.restricted.rules.\"image.scan\"]\naction = \"deny\"\nseverity = \"critical\"\nignore = [\"CVE-2\"]\n").unwrap();
    let worst = vec![
        Vulnerability { id: "CVE-2".into(), severity: Severity::Critical },
        Vulnerability { id: "CVE-3".into(), severity: Severity::High },
    ];
    let scan = |beyond| {
        let mut report = verdict("trivy", VerdictOutcome::Found(Vulnerable { worst: worst.clone(), beyond }));
        (report.made, report.until) = (None, None);
        judge(&ignoring, |f| f.verdicts = Looked::Seen(vec![report]))
    };
    assert_eq!(refused(&scan(Some(Severity::High))), [""; 0]);
    assert_eq!(refused(&scan(Some(Severity::Critical))), ["image.scan"]);
}

#[test]
fn a_newer_verdict_of_a_scanner_takes_the_place_of_an_older_one() {
    let older = Verdict { made: Some(day(-5)), ..verdict("ci", VerdictOutcome::Fail("old".into())) };
    let newer = verdict("ci", VerdictOutcome::Pass);
    for verdicts in [vec![older.clone(), newer.clone()], vec![newer, older]] {
        assert_eq!(refused(&judge(&policy(ALL, ""), |f| f.verdicts = Looked::Seen(verdicts))), [""; 0]);
    }
}

#[test]
fn a_digest_counts_as_far_as_it_is_what_runs() {
    let policy = policy("[profiles.restricted.rules.\"image.digest\"]\naction = \"deny\"\n", "");
    let asked = |name: &str| {
        let mut spec = container();
        spec["annotations"]["io.kubernetes.cri.image-name"] = json!(name);
        spec
    };
    let (a, b, e) = (digest('a'), digest('b'), digest('e'));
    for (asked_for, stored, passes) in [
        ("", NAME.to_owned(), false),
        ("", format!("{NAME}@{a}"), true),
        ("", format!("{NAME}@{b}"), true),
        ("", format!("{NAME}@{e}"), false),
        (&format!("{NAME}@{a}"), NAME.to_owned(), true),
        (&format!("team/app@{a}"), NAME.to_owned(), true),
        (&format!("{NAME}@{e}"), NAME.to_owned(), false),
        (NAME, format!("{NAME}@{a}"), false),
        (&format!("{NAME}@{e}"), format!("{NAME}@{a}"), false),
    ] {
        let decision = judge_spec(&asked(asked_for), &policy, |facts| facts.name.clone_from(&stored));
        assert_eq!(refused(&decision).is_empty(), passes, "{asked_for:?} {stored}");
    }
}

#[test]
fn an_image_that_cannot_be_looked_at_is_refused_unless_the_policy_says_otherwise() {
    let rule = RuleId::named("image.registry").unwrap().id;
    let text =
        "[profiles.restricted.rules.\"image.registry\"]\naction = \"deny\"\nallow = [\"registry.example:5000/*\"]\n";
    let (deny, audit) = (policy(text, ""), policy(text, "on_error = \"audit\""));
    let unknown = |policy: &Policy, image: ImageAnswer| {
        let mut task = Task::of(&id_of(&container()));
        task.image = image;
        create_task(&container(), &task, policy)
    };
    for image in [ImageAnswer::NotAsked, ImageAnswer::Unknown("silence".into())] {
        assert_eq!(refused(&unknown(&deny, image.clone())), ["image.registry"]);
        let decision = unknown(&audit, image);
        let noted = decision.record.findings.iter().find(|finding| finding.rule == rule).unwrap();
        assert_eq!((refused(&decision).len(), noted.action), (0, Taken::Audited));
    }
    assert_eq!(refused(&unknown(&deny, ImageAnswer::Offline)), [""; 0], "a specification alone has no image");
    assert_eq!(unknown(&deny, ImageAnswer::Unknown("silence".into())).record.image.unwrap().unknown, "silence");
}

#[test]
fn what_is_mounted_must_be_the_snapshot_that_was_found() {
    let policy = policy(ALL, "");
    type Change<'a> = Box<dyn Fn(&mut Vec<ImageMount>) + 'a>;
    let changes: Vec<Change<'_>> = vec![
        Box::new(Vec::clear),
        Box::new(|mounts| mounts.push(mounts[0].clone())),
        Box::new(|mounts| mounts[0].source = "/elsewhere".into()),
        Box::new(|mounts| mounts[0].kind = "bind".into()),
        Box::new(|mounts| mounts[0].options[0].push_str(":/more")),
        Box::new(|mounts| mounts[0].options.push("context=x,lowerdir=/more".into())),
        Box::new(|mounts| mounts[0].options.push("context=\"x\",lowerdir=\"/more\"".into())),
    ];
    for (at, change) in changes.iter().enumerate() {
        let decision = judge(&policy, |facts| {
            let Looked::Seen(mounts) = &mut facts.mounts else { panic!() };
            change(mounts);
        });
        assert_eq!(refused(&decision).len(), 7, "{at}: each rule says so");
        assert!(decision.outcome.denial().is_some());
    }
    let labelled = judge(&policy, |facts| {
        let Looked::Seen(mounts) = &mut facts.mounts else { panic!() };
        mounts[0].options.push("context=\"system_u:object_r:container_file_t:s0\"".into());
    });
    assert_eq!(refused(&labelled), [""; 0]);
}

#[test]
fn what_nobody_looked_at_or_could_not_be_read_is_unknown() {
    let policy = policy(ALL, "");
    for (rule, change) in [
        ("image.denied", (|f| f.denied = Looked::Not) as fn(&mut ImageFacts)),
        ("image.denied", |f| f.denied = Looked::Failed("line 3".into())),
        ("image.allowed", |f| f.allowed = Looked::Not),
        ("image.scan", |f| f.verdicts = Looked::Failed("x".into())),
        ("image.signature", |f| f.signatures = Looked::Not),
        ("image.labels", |f| f.labels = Looked::Failed("too many".into())),
        ("image.age", |f| f.created = Looked::Not),
    ] {
        assert_eq!(refused(&judge(&policy, change)), [rule]);
    }
}

#[test]
fn a_pull_is_judged_by_the_verifiers_profile_and_by_what_is_known_before_it() {
    let own = format!(
        "{ALL}[profiles.pulls]\nextends = \"restricted@1\"\n[profiles.pulls.rules.\"image.registry\"]\naction = \"deny\"\nallow = [\"docker.io/*\"]\n"
    );
    let mut task = Task::of("x");
    task.rootfs.clear();
    let pulled = |name: &str, policy: &Policy| {
        let facts = ImageFacts {
            name: name.into(),
            labels: Looked::Not,
            created: Looked::Not,
            mounts: Looked::Not,
            ..facts(&task)
        };
        judge_pull(&ImageAnswer::Known(Box::new(facts)), policy, today())
    };
    let default = policy(&own, "");
    assert_eq!(refused(&pulled(NAME, &default)), [""; 0]);
    assert_eq!(refused(&pulled("docker.io/library/busybox", &default)), ["image.registry", "image.signature"]);
    let other = policy(&own, "verifier = \"pulls\"");
    assert_eq!(refused(&pulled(NAME, &other)), ["image.registry"]);
    assert_eq!(refused(&pulled("docker.io/library/busybox", &other)), [""; 0]);
    let none = judge_pull(&ImageAnswer::Unknown("x".into()), &default, today());
    assert_eq!(refused(&none).len(), 5);
}

#[test]
fn images_are_looked_up_where_something_goes_by_them() {
    let spec = palisade_policy::ParsedSpec::parse(container().to_string().as_bytes()).unwrap();
    let asks = |text: &str| Policy::from_toml(text).unwrap().asks_for_image(&spec, "c1");
    assert!(!asks(""));
    assert!(!asks("[images]\nverdicts = \"/v\"\n"));
    assert!(asks("[images]\nrecord = true\n"));
    assert!(asks("[profiles.restricted.rules.\"image.digest\"]\naction = \"audit\"\n"));
    assert!(!asks("[profiles.baseline.rules.\"image.digest\"]\naction = \"deny\"\n"), "of another profile");
}

#[test]
fn what_makes_no_sense_in_the_file_is_told() {
    for (text, told) in [
        ("[images]\nresolver = \"palisade\"\n", "images.resolver"),
        ("[images]\ndeadline = 0\n", "images.deadline"),
        ("[images]\ndeadline = 31\n", "images.deadline"),
        ("[images]\non_error = \"allow\"\n", "unknown variant"),
        ("[images]\nverifier = \"none\"\n", "images.verifier"),
        ("[images.keys]\nk = \"MFkw\"\n", "images.keys.k"),
        ("[images]\nrecords = true\n", "unknown field"),
        ("[profiles.restricted.rules.\"image.registry\"]\nallow = [\"nginx\"]\n", "is no repository"),
        ("[profiles.restricted.rules.\"image.registry\"]\nallow = [\"docker.io/lib*\"]\n", "is no repository"),
        ("[profiles.restricted.rules.\"image.registry\"]\naction = \"mutate\"\n", "is mutate"),
        ("[profiles.restricted.rules.\"image.signature\"]\nallow = [\"release\"]\n", "names no key"),
        ("[profiles.restricted.rules.\"image.age\"]\nmax_age = \"3w\"\n", "no number of days"),
        ("[profiles.restricted.rules.\"image.age\"]\nmax_age = 0\n", "no number of days"),
        ("[profiles.restricted.rules.\"image.scan\"]\nseverity = \"bad\"\n", "unknown variant"),
        ("[profiles.restricted.rules.\"image.scan\"]\nlabels = []\n", "does not belong"),
    ] {
        let error = Policy::from_toml(text).unwrap_err().to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
}

#[test]
fn the_examples_of_the_guide_are_policies() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/images.md")).unwrap();
    let blocks = page.split("```toml").skip(1).filter_map(|rest| rest.split("```").next());
    let (of_containerd, own): (Vec<&str>, Vec<&str>) = blocks.partition(|block| block.contains("bin_dir"));
    assert_eq!((of_containerd.len(), own.len()), (1, 2));
    for block in own {
        Policy::from_toml(block).unwrap_or_else(|error| panic!("{error}\n{block}"));
    }
}

#[test]
fn what_is_looser_about_images_is_computed() {
    let with = |more: &str| {
        let base = ALL.replace("profiles.restricted", "profiles.base");
        policy(
            &format!("[profiles.base]\nextends = \"restricted@1\"\n{base}[profiles.asked]\nextends = \"base\"\n{more}"),
            "",
        )
    };
    let looser = |more: &str| with(more).looser_than(&with(""), "asked").is_some();
    let rule = |name: &str, text: &str| format!("[profiles.asked.rules.\"image.{name}\"]\n{text}\n");
    for (text, is_looser) in [
        (rule("registry", "allow = [\"registry.example:5000/team/app\"]"), false),
        (rule("registry", "allow = [\"registry.example:5000/*\"]"), true),
        (rule("registry", "action = \"audit\""), true),
        (rule("scan", "severity = \"low\"\nmax_age = 7"), false),
        (rule("scan", "severity = \"critical\""), true),
        (rule("scan", "ignore = [\"CVE-1\"]"), true),
        (rule("scan", "max_age = 60"), true),
        (rule("signature", "allow = []"), true),
        (rule("signature", "allow = [\"release\", \"other\"]"), true),
        (rule("labels", "labels = [\"stage=test*\", \"internal\", \"more\"]"), false),
        (rule("labels", "labels = []"), true),
        (rule("age", "max_age = 30"), false),
        (rule("age", "max_age = 91"), true),
    ] {
        assert_eq!(looser(&text), is_looser, "{text}");
    }
}
