//! What every test has: the containerd, and checks that say what was seen.

use std::collections::BTreeMap;

use libtest_mimic::{Failed, Trial};
use palisade_integration::Failure;
use palisade_integration::containerd::{Containerd, Runtime};
use palisade_integration::cri::Cri;
use palisade_integration::ctr::Run;
use palisade_integration::tasks::Tasks;
use palisade_probe::{Outcome, ProcessReport};

/// What a test returns.
pub(crate) type Check = Result<(), Failed>;

/// A test that a phase runs.
pub(crate) type Test = fn(&World) -> Check;

/// A test that is run for more than one runtime.
pub(crate) type RuntimeTest = fn(&World, Runtime) -> Check;

/// Fails the test with a message unless the condition holds.
macro_rules! expect {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(libtest_mimic::Failed::from(format!($($message)+)));
        }
    };
}

/// Fails the test unless both are equal, and says what they are.
macro_rules! expect_eq {
    ($left:expr, $right:expr, $($message:tt)+) => {
        match (&$left, &$right) {
            (left, right) => {
                if left != right {
                    return Err(libtest_mimic::Failed::from(format!("{}: {left:?} is not {right:?}", format!($($message)+))));
                }
            }
        }
    };
}

pub(crate) struct World {
    pub(crate) containerd: Containerd,
}

impl World {
    pub(crate) fn new(containerd: Containerd) -> Self {
        Self { containerd }
    }

    pub(crate) fn tasks(&self) -> Result<Tasks, Failure> {
        Tasks::connect(&self.containerd)
    }

    pub(crate) fn cri(&self) -> Result<Cri, Failure> {
        Cri::connect(&self.containerd)
    }

    /// What `probe report` says as the init process of a container.
    pub(crate) fn report(&self, runtime: Runtime, flags: &[&str]) -> Result<ProcessReport, Failed> {
        let output = self.containerd.run(&Run::new(runtime, &["/probe", "report"]).flags(flags))?.success()?;
        Ok(serde_json::from_str(&output)?)
    }

    /// What `probe try` says as the init process of a container.
    pub(crate) fn attempts(&self, runtime: Runtime, flags: &[&str]) -> Result<BTreeMap<String, Outcome>, Failed> {
        let output = self.containerd.run(&Run::new(runtime, &["/probe", "try"]).flags(flags))?.success()?;
        Ok(Outcome::parse_lines(&output)?)
    }
}

impl World {
    /// Fails unless a request was refused by this rule. containerd 1.7 has no code of its own for what a shim does not permit.
    pub(crate) fn expect_refusal(&self, failure: &Failure, rule: &str) -> Check {
        let Some((code, message)) = failure.refusal() else { return Err(format!("not a refusal: {failure}").into()) };
        let wanted = if self.containerd.is_one_seven() { tonic::Code::Unknown } else { tonic::Code::PermissionDenied };
        expect_eq!(code, wanted, "code of {message:?}");
        expect_denial(message, rule)
    }
}

/// A trial of a test under its name.
pub(crate) fn trial(world: &'static World, name: &str, test: Test) -> Trial {
    Trial::test(name, move || test(world))
}

/// A trial of a test for a runtime, which the name says.
pub(crate) fn trial_under(world: &'static World, runtime: Runtime, name: &str, test: RuntimeTest) -> Trial {
    Trial::test(format!("{} {name}", runtime.handler()), move || test(world, runtime))
}

/// Fails unless `text` is palisade's denial by this rule: one line with the rule, the place, what is allowed and how to change it.
pub(crate) fn expect_denial(text: &str, rule: &str) -> Check {
    let Some(start) = text.find("palisade: refused by rule ") else {
        return Err(format!("no denial of palisade's in {text:?}").into());
    };
    let denial = text.get(start..).unwrap_or_default().trim_end();
    expect!(!denial.contains('\n'), "more than one line: {denial:?}");
    let by_first = denial.starts_with(&format!("palisade: refused by rule {rule} "));
    let by_another = denial
        .split_once(" more: ")
        .is_some_and(|(_, others)| others.split(", ").any(|other| other.trim().trim_end_matches(": unknown") == rule));
    expect!(by_first || by_another, "not by {rule}: {denial}");
    for part in [" at ", "allowed: ", "change: "] {
        expect!(denial.contains(part), "no {part:?} in {denial:?}");
    }
    Ok(())
}
