//! Properties over generated specifications: whatever a document holds, it is refused or handed on with no more power in
//! any dimension, and nothing more to mend.

mod dimensions;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use oci_spec::runtime as oci;
use palisade_policy::{Decision, HardenedSpec, Policy, RULES, Record, Taken};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::generator::{self, ID};
use crate::support::{self, Task, admitted, golden, is_denied, json};
use crate::{fields, ledger};
use dimensions::{Dimension, all, gains, gains_in};

/// A policy, with the least share of generated specifications that it has to admit, in a hundred.
struct Judged {
    name: &'static str,
    policy: Policy,
    admits: usize,
}

/// Every limit that a profile has only where it is given.
const LIMITED: &str = r#"
[profiles.restricted.rules."res.memory"]
high = "80%"
oom_group = true
[profiles.restricted.rules."res.cpuset"]
cpus = "0-1"
mems = "0-1"
[profiles.restricted.rules."res.hugepages"]
default = 1
max = "64MiB"
[profiles.restricted.rules."res.io"]
limits = ["8:0 rbps=1000 wbps=1000 riops=100 wiops=100", "* rbps=5000 wiops=500"]
weight = 400
"#;

/// The built-in profiles, one that has every limit, one that mends all that can be mended, and one that lets everything pass but holds each exec to
/// its container.
static POLICIES: LazyLock<Vec<Judged>> = LazyLock::new(|| {
    let of = |name, text: &str, admits| Judged { name, policy: Policy::from_toml(text).unwrap(), admits };
    let mendable = RULES.iter().filter(|rule| rule.mutable && !rule.essential);
    let mending = mendable.map(|rule| format!("[profiles.restricted.rules.\"{}\"]\naction = \"mutate\"\n", rule.id));
    let held = RULES.iter().filter(|rule| rule.id.as_str().starts_with("exec.") && rule.mutable);
    let held = held.map(|rule| format!("[profiles.privileged.rules.\"{}\"]\naction = \"mutate\"\n", rule.id));
    vec![
        of("restricted", "", 40),
        of("baseline", "profile = \"baseline\"", 40),
        of("privileged", "profile = \"privileged\"", 80),
        of("mending", &mending.collect::<String>(), 40),
        of("limited", LIMITED, 40),
        of("held", &format!("profile = \"privileged\"\n{}", held.collect::<String>()), 80),
    ]
});

fn policies() -> impl Strategy<Value = usize> {
    0..POLICIES.len()
}

fn policy(at: usize) -> &'static Policy {
    &POLICIES[at].policy
}

fn create(spec: &Value, policy: &Policy) -> Decision<HardenedSpec> {
    support::create_with(spec, &Task::of(ID), policy, |host| {
        host.cgroup_v2 = true;
        host.huge_page_sizes = vec!["2MB".into(), "1GB".into()];
    })
}

/// What was found beside what is only told.
fn changes(record: &Record) -> Vec<String> {
    let found = record.findings.iter().filter(|finding| finding.action != Taken::Audited);
    found.map(|finding| format!("{finding:?}")).collect()
}

fn some_dimensions() -> impl Strategy<Value = Vec<&'static Dimension>> {
    let count = all().count();
    subsequence((0..count).collect::<Vec<_>>(), 1..4)
        .prop_map(|chosen| chosen.into_iter().filter_map(|at| all().nth(at)).collect())
}

/// A specification under the tightest of everything, so that more of anything shows.
fn tight() -> Value {
    let mut spec = golden("cri-app");
    spec["linux"]["cgroupsPath"] = json!(format!("/kubepods/{ID}"));
    spec["linux"]["seccomp"]["flags"] = json!(["SECCOMP_FILTER_FLAG_LOG"]);
    spec["process"]["user"]["umask"] = json!(0o77);
    let resources = &mut spec["linux"]["resources"];
    resources["memory"] = json!({"limit": 1 << 20, "reservation": 1 << 20, "kernel": 1 << 20, "kernelTCP": 1 << 20});
    resources["cpu"] = json!({"cpus": "0", "mems": "0", "shares": 2});
    resources["pids"] = json!({"limit": 9});
    resources["hugepageLimits"] = json!([{"pageSize": "2MB", "limit": 0}]);
    resources["blockIO"] = json!({"weight": 10, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]});
    resources["rdma"] = json!({"mlx5_1": {"hcaHandles": 1}});
    resources["unified"] = json!({"memory.max": "4096", "pids.max": "9"});
    let (hardened, _) = admitted(create(&spec, policy(0)));
    json(hardened.as_bytes())
}

#[test]
fn each_dimension_sees_its_own_gain_and_no_other_than_there_is() {
    let tight = tight();
    assert_eq!(gains(&tight, &tight), Vec::<String>::new());
    for dimension in all() {
        let mut wide = tight.clone();
        (dimension.widen)(&mut wide);
        assert!((dimension.gained)(&tight, &wide).is_some(), "{} is not seen", dimension.name);
    }
    let names: BTreeSet<&str> = all().map(|dimension| dimension.name).collect();
    assert_eq!(names.len(), all().count(), "each name once");
}

/// Specifications that are the same in each run.
fn sample(count: usize, of: impl Strategy<Value = Value>) -> Vec<Value> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| of.new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
fn a_good_share_of_the_generated_specifications_is_admitted() {
    let specs = sample(200, generator::spec());
    for judged in POLICIES.iter() {
        let admitted = specs.iter().filter(|spec| !is_denied(&create(spec, &judged.policy))).count();
        let share = admitted * 100 / specs.len();
        println!("{}: {share} in a hundred", judged.name);
        assert!(share >= judged.admits, "{} admits {share} in a hundred", judged.name);
        assert!(share < 100, "{} refuses none", judged.name);
    }
}

#[test]
fn every_field_of_the_ledger_is_generated() {
    fn walk(value: &Value, at: &str, known: &BTreeSet<String>, seen: &mut BTreeSet<String>) {
        let below = |key: &str| -> Option<String> {
            let (named, any) = (format!("{at}/{key}"), format!("{at}/*"));
            [named, any].into_iter().find(|field| known.contains(field))
        };
        let inner: Vec<(&str, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(key, value)| (key.as_str(), value)).collect(),
            Value::Array(list) => list.iter().map(|item| ("*", item)).collect(),
            _ => Vec::new(),
        };
        for (key, value) in inner {
            let field = below(key).unwrap_or_else(|| panic!("{at}/{key} is no field"));
            seen.insert(field.clone());
            walk(value, &field, known, seen);
        }
    }
    let (known, _) = fields::of::<oci::Spec>();
    let mut seen = BTreeSet::new();
    for spec in sample(400, generator::of_temper(generator::WILD)) {
        walk(&spec, "", &known, &mut seen);
    }
    let missing: Vec<&String> = known.difference(&seen).filter(|field| !ledger::is_refused(field)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let every: BTreeSet<&str> = generator::CAPABILITIES.into_iter().collect();
    assert_eq!(every.len(), 41);
}

/// Few enough for a debug build; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

const STARTS: &[&str] = &["ctr-default", "cri-app", "cri-pause", "cri-userns", "cri-plain-cgroup-v1"];

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_reader_takes_any_bytes(start in select(STARTS), at in any::<prop::sample::Index>(), with in any::<Vec<u8>>()) {
        let mut bytes = golden(start).to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes.splice(at..(at + with.len()).min(bytes.len()), with);
        if let Ok(spec) = palisade_policy::ParsedSpec::parse(&bytes) {
            // What is read is also what every other reader of JSON reads.
            prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
            prop_assert!(spec.bind_sources().len() <= bytes.len());
        }
    }

    #[test]
    fn what_was_hardened_is_found_clean_and_stays_as_it_is(spec in generator::spec(), at in policies()) {
        let decision = create(&spec, policy(at));
        if !is_denied(&decision) {
            let (hardened, _) = admitted(decision);
            let again = create(&json(hardened.as_bytes()), policy(at));
            prop_assert!(!is_denied(&again), "{:#?}", again.record.findings);
            let (again, record) = admitted(again);
            prop_assert_eq!(changes(&record), Vec::<String>::new());
            prop_assert_eq!(json(hardened.as_bytes()), json(again.as_bytes()));
        }
    }

    #[test]
    fn hardening_gains_nothing(spec in generator::spec(), at in policies()) {
        let decision = create(&spec, policy(at));
        if !is_denied(&decision) {
            let (hardened, _) = admitted(decision);
            prop_assert_eq!(gains(&spec, &json(hardened.as_bytes())), Vec::<String>::new());
        }
    }

    #[test]
    fn more_power_does_not_undo_a_refusal(spec in generator::spec(), wider in some_dimensions(), at in policies()) {
        let decision = create(&spec, policy(at));
        if let Some(denial) = decision.outcome.denial() {
            let mut stronger = spec;
            wider.iter().for_each(|dimension| (dimension.widen)(&mut stronger));
            let names: Vec<&str> = wider.iter().map(|dimension| dimension.name).collect();
            prop_assert!(is_denied(&create(&stronger, policy(at))), "{} undone by {:?}", denial, names);
        }
    }

    #[test]
    fn an_exec_has_no_more_than_its_container(spec in generator::spec(), asked in generator::process(), at in policies()) {
        let decision = create(&spec, policy(at));
        // In the privileged profile an exec is not held to its container.
        if !is_denied(&decision) && POLICIES[at].name != "privileged" {
            let (hardened, _) = admitted(decision);
            let decision = support::exec(&asked, hardened.grant(), policy(at));
            if !is_denied(&decision) {
                let (process, _) = admitted(decision);
                let (init, process) = (json(hardened.as_bytes()), json(process.as_bytes()));
                // Whoever is root in the container may become anyone there.
                let root = init["process"]["user"]["uid"] == json!(0);
                let compared = all().filter(|one| one.exec && !(root && ["uid", "gid", "groups"].contains(&one.name)));
                let gains = gains_in(compared, &init, &json!({"process": process}));
                prop_assert_eq!(gains, Vec::<String>::new());
                let (again, record) = admitted(support::exec(&process, hardened.grant(), policy(at)));
                prop_assert_eq!(changes(&record), Vec::<String>::new());
                prop_assert_eq!(process, json(again.as_bytes()));
            }
        }
    }

    #[test]
    fn an_update_stays_within_what_create_admits(asked in generator::resources(), at in policies()) {
        let (container, _) = admitted(create(&tight(), policy(at)));
        let decision = support::update(&asked, container.grant(), policy(at));
        if !is_denied(&decision) {
            let (updated, _) = admitted(decision);
            let updated = json(updated.as_bytes());
            let rules = updated["devices"].as_array().is_some_and(|rules| !rules.is_empty());
            prop_assert!(!rules || POLICIES[at].policy.profile() == "privileged");
            // What create admits is the most where the update does not say less.
            let mut spec = tight();
            spec["linux"]["resources"] = json!({"memory": {"limit": -1}, "cpu": {"quota": -1}, "pids": {"limit": -1},
                "hugepageLimits": [{"pageSize": "2MB", "limit": i64::MAX}, {"pageSize": "1GB", "limit": i64::MAX}]});
            lay_over(&mut spec["linux"]["resources"], &updated);
            let (created, _) = admitted(create(&spec, policy(at)));
            let created = json(created.as_bytes());
            // What an update does not name stays as it was.
            let mut now = created.clone();
            lay_over(&mut now["linux"]["resources"], &updated);
            prop_assert_eq!(gains(&created, &now), Vec::<String>::new());
            let (again, record) = admitted(support::update(&updated, container.grant(), policy(at)));
            prop_assert_eq!(changes(&record), Vec::<String>::new());
            prop_assert_eq!(updated, json(again.as_bytes()));
        }
    }
}

fn lay_over(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            over.iter().for_each(|(key, value)| lay_over(under.entry(key.as_str()).or_insert(Value::Null), value));
        }
        (_, Value::String(over)) if over.is_empty() => {}
        // A list without items says nothing, and one of limits nothing of other disks and sizes.
        (_, Value::Array(over)) if over.is_empty() => {}
        (Value::Array(under), Value::Array(over)) if over.iter().all(|item| whose(item) != (None, None, None)) => {
            under.retain(|item| !over.iter().any(|other| whose(other) == whose(item)));
            under.extend(over.iter().cloned());
        }
        (under, over) => *under = over.clone(),
    }
}

/// The disk or the size of huge page that a limit is about.
fn whose(item: &Value) -> (Option<&Value>, Option<&Value>, Option<&Value>) {
    (item.get("pageSize"), item.get("major"), item.get("minor"))
}
