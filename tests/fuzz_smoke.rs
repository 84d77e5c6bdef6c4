//! The fuzz body on seeded mutations of real specs, for machines without a fuzzer. `scripts/fuzz` runs the
//! coverage-guided one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::tests_outside_test_module,
    clippy::zombie_processes,
    reason = "how a test fails"
)]

#[path = "fuzz/create.rs"]
mod create;
#[path = "fuzz/exec.rs"]
mod exec;
#[path = "fuzz/grant.rs"]
mod grant;
#[path = "fuzz/image.rs"]
mod image;
#[path = "fuzz/mutants.rs"]
mod mutants;
#[path = "fuzz/policy.rs"]
mod policy;
#[path = "fuzz/spec.rs"]
mod spec;
#[path = "fuzz/update.rs"]
mod update;

use std::fs;
use std::path::Path;

/// Enough to reach every rule many times, in a few seconds of a debug build.
const MUTATIONS: u64 = 3000;

fn corpus() -> Vec<Vec<u8>> {
    mutants::corpus(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"))
}

fn parts(pointer: &str) -> Vec<Vec<u8>> {
    mutants::parts(corpus(), pointer)
}

/// Tries the mutants; were all of them refused, nothing would have been shown of those that are not.
fn some_pass(corpus: &[Vec<u8>], take: impl Fn(&[u8]) -> bool) {
    let (mut passed, mut refused) = (0, 0);
    mutants::mutants(corpus, MUTATIONS, |bytes| if take(bytes) { passed += 1 } else { refused += 1 });
    assert!(passed > 30 && refused > 30, "{passed} passed, {refused} refused");
}

#[test]
fn mutated_processes_stay_within_their_container() {
    let corpus = parts("/process");
    assert!(corpus.len() > 3);
    some_pass(&corpus, |bytes| exec::exec_within(bytes, &grant::GRANT));
}

#[test]
fn mutated_limits_stay_within_the_policy() {
    let corpus = parts("/linux/resources");
    assert!(corpus.len() > 3);
    some_pass(&corpus, |bytes| update::update_within(bytes, &grant::GRANT));
}

#[test]
fn mutated_policy_files_are_refused_or_hold() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policy.md")).unwrap();
    let examples = page.split("```toml").skip(1).filter_map(|rest| rest.split("```").next());
    let corpus: Vec<Vec<u8>> = examples.map(|text| text.as_bytes().to_vec()).collect();
    assert!(corpus.len() >= 3);
    some_pass(&corpus, policy::policy_holds);
}

#[test]
fn mutated_reports_of_scanners_are_refused_or_told_as_they_are() {
    let corpus = mutants::corpus(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images"));
    assert_eq!(corpus.len(), 3);
    some_pass(&corpus, image::image);
}

#[test]
fn mutated_specs_are_refused_or_hardened_for_good() {
    let corpus = corpus();
    assert!(corpus.len() > 3, "the golden specs are the corpus");
    mutants::mutants(&corpus, MUTATIONS, spec::judge_twice);
}
