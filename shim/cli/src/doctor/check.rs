//! What a check is, and what comes out of it.

use clap::ValueEnum;
use serde::Serialize;

use super::node::Node;

/// How much depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Makes an attack easier.
    Low,
    /// One barrier less.
    Medium,
    /// Containers without palisade's policy, or a known way out of one.
    High,
    /// Root of the node for whoever asks.
    Critical,
}

impl Severity {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It is as it should be.
    Pass,
    /// It is not.
    Fail,
    /// It may be right here; only the admin knows.
    Warn,
    /// There is nothing of that kind on this node.
    NotApplicable,
    /// It could not be looked at. That is no pass.
    Unknown,
}

impl Outcome {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Warn => "warn",
            Self::NotApplicable => "not-applicable",
            Self::Unknown => "unknown",
        }
    }
}

/// Something that `--fix` may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fix {
    /// `chmod go-w` of a file of palisade's.
    TakeWriting(String),
    /// A setting of the kernel, by its path below /proc/sys.
    Setting(&'static str, &'static str),
}

/// What a check has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) outcome: Outcome,
    pub(super) seen: String,
    /// A command for just this case, in place of the check's own.
    pub(super) mend: Option<String>,
    pub(super) fixes: Vec<Fix>,
}

impl Found {
    fn new(outcome: Outcome, seen: impl Into<String>) -> Self {
        Self { outcome, seen: seen.into(), mend: None, fixes: Vec::new() }
    }

    pub(super) fn pass(seen: impl Into<String>) -> Self {
        Self::new(Outcome::Pass, seen)
    }

    pub(super) fn fail(seen: impl Into<String>) -> Self {
        Self::new(Outcome::Fail, seen)
    }

    pub(super) fn warn(seen: impl Into<String>) -> Self {
        Self::new(Outcome::Warn, seen)
    }

    pub(super) fn none(seen: impl Into<String>) -> Self {
        Self::new(Outcome::NotApplicable, seen)
    }

    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self::new(Outcome::Unknown, why)
    }

    pub(super) fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend = Some(command.into());
        self
    }

    /// Fails with everything that is wrong, passes where nothing is.
    pub(super) fn all(wrong: &[String], fine: impl Into<String>) -> Self {
        if wrong.is_empty() { Self::pass(fine) } else { Self::fail(wrong.join("; ")) }
    }

    /// The same as a warning.
    pub(super) fn warn_all(wrong: &[String], fine: impl Into<String>) -> Self {
        if wrong.is_empty() { Self::pass(fine) } else { Self::warn(wrong.join("; ")) }
    }
}

/// A number in a file of /proc/sys.
#[derive(Debug)]
pub(super) struct Setting {
    /// Its path below /proc/sys.
    pub(super) name: &'static str,
    pub(super) is_good: fn(i64) -> bool,
    /// What the mend sets it to.
    pub(super) value: &'static str,
    /// Whether `--fix` may set it: nothing that an admin runs on a node stops working.
    pub(super) harmless: bool,
    /// What a kernel without it comes to.
    pub(super) absent: Outcome,
}

impl Setting {
    fn look(&self, node: &Node) -> Found {
        let text = match node.setting(self.name) {
            Err(why) => return Found::unknown(why),
            Ok(None) => return Found::new(self.absent, format!("this kernel has no {}", self.name)),
            Ok(Some(text)) => text,
        };
        let Ok(value) = text.parse::<i64>() else {
            return Found::unknown(format!("{} is {text:?}, no number", self.name));
        };
        let seen = format!("{} is {value}", self.name);
        if (self.is_good)(value) {
            return Found::pass(seen);
        }
        let mut found = Found::fail(seen).mend(format!("sysctl -w {}={}", self.name.replace('/', "."), self.value));
        if self.harmless {
            found.fixes.push(Fix::Setting(self.name, self.value));
        }
        found
    }
}

/// How a check looks.
#[derive(Debug)]
pub(super) enum Look {
    At(fn(&Node) -> Found),
    Setting(Setting),
}

/// One check. What it is told of is the node as it was read; it reads nothing itself.
#[derive(Debug)]
pub(crate) struct Check {
    /// Stable.
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// What should be so.
    pub(super) demand: &'static str,
    pub(super) why: &'static str,
    /// Ids of benchmarks and advisories, and pages.
    pub(super) reference: &'static str,
    /// A command, or where to change it.
    pub(super) mend: &'static str,
    pub(super) look: Look,
}

/// A row of a table of checks that look at the whole node.
pub(super) const fn check(
    id: &'static str,
    severity: Severity,
    demand: &'static str,
    why: &'static str,
    reference: &'static str,
    mend: &'static str,
    look: fn(&Node) -> Found,
) -> Check {
    Check { id, severity, demand, why, reference, mend, look: Look::At(look) }
}

impl Check {
    pub(super) fn run(&self, node: &Node) -> Found {
        match &self.look {
            Look::At(look) => look(node),
            Look::Setting(setting) => setting.look(node),
        }
    }
}
