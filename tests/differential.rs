//! What the policy judged is what libcontainer and runc read from the bytes that are handed on: two readers beside the
//! policy's own, oci-spec's as libcontainer uses it and Go's `encoding/json` with the types of runtime-spec.
//!
//! Go's is the program of `tests/gospec`. `scripts/test` builds it and names it in `PALISADE_GO_READER`; where nothing
//! is named, libcontainer's reader alone is compared.

#[cfg(test)]
#[path = "fuzz/create.rs"]
mod create;
#[cfg(test)]
#[path = "fuzz/differential.rs"]
mod differential;
#[cfg(test)]
#[path = "../shim/policy/tests/policy/generator/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the crate's other tests")]
mod generator;
#[cfg(test)]
#[path = "gospec/reader.rs"]
mod gospec;
#[cfg(test)]
#[path = "fuzz/grant.rs"]
mod grant;
#[cfg(test)]
#[path = "fuzz/mutants.rs"]
mod mutants;
#[cfg(test)]
#[path = "../shim/policy/tests/policy/support/mod.rs"]
#[allow(dead_code, reason = "shared with the crate's other tests")]
mod support;

#[cfg(test)]
mod readers {
    use std::collections::BTreeSet;

    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;
    use serde_json::Value;

    use super::gospec::Kind;
    use super::{differential, generator, gospec, grant, mutants, support};

    /// A kind of document, and everything of that kind that was handed on.
    type HandedOn = (Kind, BTreeSet<Vec<u8>>);

    /// Enough to hand on some hundred different documents in a few seconds of a debug build.
    const MUTATIONS: u64 = 1200;

    fn generated(count: usize, of: impl Strategy<Value = Value>) -> Vec<Vec<u8>> {
        let mut runner = TestRunner::deterministic();
        let mut next = || of.new_tree(&mut runner).unwrap().current();
        (0..count).map(|_| next().to_string().into_bytes()).collect()
    }

    /// What is handed on for golden documents, mutants of them and generated ones, compared with what libcontainer reads.
    fn handed_on() -> [HandedOn; 3] {
        let corpus = mutants::corpus(&support::golden_root());
        let all = |pointer: Option<&str>, generated: Vec<Vec<u8>>, read: &dyn Fn(&[u8]) -> Vec<Vec<u8>>| {
            let corpus = match pointer {
                Some(pointer) => mutants::parts(corpus.clone(), pointer),
                None => corpus.clone(),
            };
            let mut handed_on = BTreeSet::new();
            mutants::mutants(&corpus, MUTATIONS, |bytes| handed_on.extend(read(bytes)));
            generated.iter().for_each(|bytes| handed_on.extend(read(bytes)));
            assert!(handed_on.len() > 50, "{pointer:?}: {} documents only", handed_on.len());
            handed_on
        };
        let specs = [generated(200, generator::spec()), generated(100, generator::of_temper(generator::WILD))].concat();
        let process = |bytes: &[u8]| differential::process(bytes, &grant::GRANT);
        let resources = |bytes: &[u8]| differential::resources(bytes, &grant::GRANT);
        [
            (Kind::Spec, all(None, specs, &differential::specs)),
            (Kind::Process, all(Some("/process"), generated(200, generator::process()), &process)),
            (Kind::Resources, all(Some("/linux/resources"), generated(200, generator::resources()), &resources)),
        ]
    }

    #[test]
    fn libcontainer_and_runc_read_what_was_judged() {
        let handed_on = handed_on();
        let Some(reader) = gospec::Reader::named() else {
            println!("PALISADE_GO_READER names no reader: runc's is not compared");
            return;
        };
        let (mut ignored, mut of) = (BTreeSet::new(), String::new());
        for (kind, documents) in handed_on {
            let documents: Vec<Vec<u8>> = documents.into_iter().collect();
            let (version, answers) = reader.read(kind, &documents);
            println!("{kind:?}: {} documents read with runtime-spec {version}", documents.len());
            for (document, answer) in documents.iter().zip(answers) {
                ignored.extend(gospec::compare(kind, &support::json(document), &answer));
            }
            of = version;
        }
        let listed: BTreeSet<String> = gospec::IGNORED.iter().map(|(field, _)| (*field).to_owned()).collect();
        // Newer types have more of the fields.
        assert!(ignored == listed || !of.starts_with("1.2."), "{of} leaves out {ignored:?}, and listed are {listed:?}");
    }

    fn panics(what: impl FnOnce()) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(what)).is_err()
    }

    #[test]
    fn what_goes_reader_reads_differently_is_seen() {
        let answer = |text: &str| gospec::Answer::Read(support::json(text.as_bytes()));
        let handed_on = support::json(br#"{"noNewPrivileges":true,"user":{"uid":1000},"args":["a"]}"#);
        let seen = |answer: &gospec::Answer| panics(|| drop(gospec::compare(Kind::Process, &handed_on, answer)));
        assert!(!seen(&answer(r#"{"noNewPrivileges":true,"user":{"uid":1000,"gid":0},"args":["a"],"cwd":""}"#)));
        for differs in [
            r#"{"noNewPrivileges":false,"user":{"uid":1000},"args":["a"]}"#,
            r#"{"user":{"uid":1000},"args":["a"]}"#,
            r#"{"noNewPrivileges":true,"user":{"uid":1000},"args":["a","b"]}"#,
            r#"{"noNewPrivileges":true,"user":{"uid":1000},"args":["a"],"oomScoreAdj":-1}"#,
            r#"{"noNewPrivileges":true,"args":["a"]}"#,
        ] {
            assert!(seen(&answer(differs)), "{differs}");
        }
        assert!(seen(&gospec::Answer::Refused("json: x".to_owned())));
    }

    #[test]
    fn what_libcontainer_reads_differently_is_seen() {
        let seen = |text: &str| {
            let read =
                || drop(differential::read_alike::<oci_spec::runtime::Process>(text.as_bytes(), "/capabilities"));
            panics(read)
        };
        assert!(!seen(r#"{"capabilities":{"bounding":["CAP_KILL"]},"cwd":"/","user":{"gid":0,"uid":9}}"#));
        for differs in [
            r#"{"capabilities":{"bounding":["cap_kill"]},"cwd":"/","user":{"gid":0,"uid":9}}"#,
            r#"{"capabilities":{"bounding":["KILL"]},"cwd":"/","user":{"gid":0,"uid":9}}"#,
            r#"{"cwd":"/","more":1,"user":{"gid":0,"uid":9}}"#,
            r#"{"cwd":"/","user":{"gid":0,"uid":0,"uid":9}}"#,
            r#"{"cwd":"/","user":{"UID":0,"gid":0,"uid":9}}"#,
            r#"{"cwd":"/","user":{"gid":-0,"uid":9}}"#,
            r#"{"cwd":"/","user":{"gid":0.0,"uid":9}}"#,
            r#"{"cwd":"/","user":{"gid":0,"uid":9e0}}"#,
            r#"{"cwd":"/","user":{"uid":9,"gid":0}}"#,
        ] {
            assert!(seen(differs), "{differs}");
        }
    }

    /// Forms of numbers, keys and names that one reader takes for another's something else.
    #[test]
    fn what_readers_read_differently_is_refused() {
        let spec = support::golden("cri-app").to_string();
        let judged = |from: &str, to: &str| {
            assert!(spec.contains(from), "{from}");
            differential::specs(spec.replacen(from, to, 1).as_bytes()).len()
        };
        let own = "a1b2c3d4e5f60718293a4b5c6d7e8f905f2c8a1d9b3e4f60718293a4b5c6d7e8\"";
        assert_eq!(judged(own, "c1\""), 2, "the document itself is admitted");
        let spec = spec.replacen(own, "c1\"", 1);
        let refused = |from: &str, to: &str| {
            assert!(spec.contains(from), "{from}");
            let changed = spec.replacen(from, to, 1);
            assert!(differential::specs(changed.as_bytes()).is_empty(), "{from} as {to} is handed on");
        };
        for number in [
            "1e3",
            "1000.0",
            "1E+3",
            "-0.0",
            "-0",
            "18446744073709551616",
            "1e400",
            "0x3e8",
            "01000",
            "+1000",
            "\"1000\"",
        ] {
            refused("\"uid\":1000", &format!("\"uid\":{number}"));
        }
        for name in ["cap_sys_admin", "SYS_ADMIN", "CAP_CAP_SYS_ADMIN", "Cap_Chown", "CAP_CHOWN ", "ALL", "CAP_39"] {
            refused("\"bounding\":[]", &format!("\"bounding\":[\"{name}\"]"));
        }
        for (from, to) in [
            ("\"noNewPrivileges\":true", "\"noNewPrivileges\":true,\"noNewPrivileges\":false"),
            ("\"noNewPrivileges\":true", "\"noNewPrivileges\":true,\"NoNewPrivileges\":false"),
            ("\"noNewPrivileges\":true", "\"noNewPrivileges\":true,\"noNewPrivilege\\u0073\":false"),
            ("\"noNewPrivileges\":true", "\"noNewPrivilege\u{17f}\":true"),
            ("\"noNewPrivileges\":true", "\"noNewPrivileges\":\"true\""),
            ("\"noNewPrivileges\":true", "\"noNewPrivileges\":1"),
            ("\"cwd\":\"/app\"", "\"cwd\":\"/\\ud800\""),
            ("\"cwd\":\"/app\"", "\"cwd\":null"),
            ("{\"", "\u{feff}{\""),
        ] {
            refused(from, to);
        }
    }
}
