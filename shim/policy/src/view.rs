//! A policy as an admin looks at it: what every profile does, rule by rule.

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::action::{Action, Mode};
use crate::day::Day;
use crate::decision::Taken;
use crate::identity::Identity;
use crate::policy::Policy;
use crate::profile::{AllowedDevice, AllowedPath, Ceiling, DiskLimit, High, Profile, Settings};
use crate::rules::{LOGGER, RuleId};
use crate::scope::Candidate;

/// One profile, complete.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProfileView {
    /// Its name.
    pub name: String,
    /// Whether it is enforced.
    pub mode: Mode,
    /// Whether its containers' system calls are recorded.
    pub learn: bool,
    /// Every rule, in the order in which they judge.
    pub rules: Vec<RuleView>,
}

/// What one rule does in a profile.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleView {
    /// The rule.
    pub rule: RuleId,
    /// What it does with what it finds.
    pub action: Action,
    /// The values that it goes by, by their key in the policy file; those that nobody has given are left out.
    pub settings: Map<String, Value>,
}

/// A finding of an earlier decision.
#[derive(Debug, Clone, Copy)]
pub struct PastFinding<'a> {
    /// Whose container it was.
    pub identity: &'a Identity,
    /// The container's id.
    pub id: &'a str,
    /// The rule.
    pub rule: RuleId,
    /// Whether there was a change that mends it.
    pub mendable: bool,
    /// The profile that the pod asked for by annotation, if it did: it would ask for it again.
    pub asked: Option<&'a str>,
}

impl Policy {
    /// Every profile, the built-in ones first.
    #[must_use]
    pub fn profiles(&self) -> Vec<ProfileView> {
        self.profiles.iter().map(view).collect()
    }

    /// What would become of a finding of the past under this policy: the profile that would judge, and what it would
    /// do; `None` where it would not look.
    #[must_use]
    pub fn would_take(&self, past: &PastFinding<'_>, today: Day) -> (String, Option<Taken>) {
        let candidate = Candidate::new(past.identity, past.id);
        let asked = past.asked.and_then(|name| self.named(name));
        let selection = self.select(candidate);
        let profile = asked.unwrap_or(&selection.profile);
        let mut actions = profile.actions();
        let action = actions.find(|(rule, _)| rule.id == past.rule).map_or(Action::Deny, |(_, action)| action);
        let exempt = || self.exemptions.iter().any(|exemption| exemption.counts(past.rule, candidate, today));
        let taken = match Taken::of(action, past.mendable) {
            _ if action == Action::Off => None,
            _ if profile.mode() == Mode::Audit => Some(Taken::Audited),
            Taken::Denied | Taken::Mutated if exempt() => Some(Taken::Exempted),
            taken => Some(taken),
        };
        (profile.name().to_owned(), taken)
    }

    /// In what this policy's profile of that name is looser than another policy's; `None` where it is at least as
    /// strict, or where one of them has no such profile.
    #[must_use]
    pub fn looser_than(&self, other: &Self, profile: &str) -> Option<String> {
        self.named(profile)?.looser_than(other.named(profile)?)
    }
}

fn view(profile: &Profile) -> ProfileView {
    let rules = profile.actions().map(|(rule, action)| {
        let value = |key: &&'static str| ((*key).to_owned(), setting(&profile.settings, rule.id.as_str(), key));
        let keys: Vec<&'static str> = rule.settings.iter().map(|setting| setting.key()).collect();
        let given = keys.iter().map(value).filter(|(_, value)| !value.is_null());
        RuleView { rule: rule.id, action, settings: given.collect() }
    });
    ProfileView {
        name: profile.name().to_owned(),
        mode: profile.mode(),
        learn: profile.learns(),
        rules: rules.collect(),
    }
}

/// A setting as the policy file writes it.
fn setting(settings: &Settings, rule: &str, key: &str) -> Value {
    match (rule, key) {
        (_, "uid") => json!(settings.user.uid),
        (_, "gid") => json!(settings.user.gid),
        (_, "capabilities") => json!(crate::capability::listed(&settings.capabilities)),
        (_, "profile") => json!(settings.seccomp.name()),
        ("res.memory", "high") => json!(settings.memory_high.map(high)),
        ("res.memory", "oom_group") => json!(settings.oom_group),
        ("res.cpuset", "cpus") => json!(settings.cpus.as_ref().map(ToString::to_string)),
        ("res.cpuset", "mems") => json!(settings.mems.as_ref().map(ToString::to_string)),
        ("res.hugepages", key) => settings.huge_pages.map_or(Value::Null, |pages| ceiling(pages, key)),
        ("res.io", "limits") if settings.disks.0.is_empty() => Value::Null,
        ("res.io", "limits") => settings.disks.0.iter().map(disk_limit).collect(),
        ("res.io", "weight") => json!(settings.disk_weight),
        ("res.memory", key) => ceiling(settings.memory, key),
        ("res.cpu", key) => match ceiling(settings.cpu, key) {
            Value::Number(millis) => json!(format!("{millis}m")),
            other => other,
        },
        ("res.pids", key) => ceiling(settings.pids, key),
        ("mount.size", key) => ceiling(settings.tmpfs, key),
        ("mount.host-path", "allow") => settings.host_paths.iter().map(host_path).collect(),
        ("mount.type", "allow") => json!(settings.mount_types),
        ("linux.devices", "allow") => settings.devices.iter().map(device).collect(),
        ("linux.seccomp.arch", "allow") => settings.architectures.iter().map(|known| json!(known.name())).collect(),
        ("hooks", "allow") => json!(settings.hooks),
        ("annotations" | "update.annotations", "allow") => json!(settings.annotations),
        ("secret.env", "allow") => json!(settings.secret_variables),
        ("linux.sysctl", "allow") => json!(settings.sysctls),
        ("process.apparmor", "allow") => json!(settings.apparmor),
        ("process.selinux" | "linux.mount-label", "allow") => json!(settings.selinux),
        ("task.rootfs", "allow") => json!(settings.rootfs),
        ("image.registry", "allow") => settings.image_repositories.iter().map(|one| json!(one.to_string())).collect(),
        ("image.signature", "allow") => json!(settings.image_signers),
        ("image.labels", _) => json!(settings.image_labels),
        ("image.scan", "severity") => json!(settings.image_scan.severity.name()),
        ("image.scan", "ignore") => json!(settings.image_scan.ignore),
        ("image.scan", _) => json!(settings.image_scan.max_age),
        ("image.age", _) => json!(settings.image_age),
        ("task.stdio", "allow") => settings
            .loggers
            .iter()
            .map(|program| logger(program))
            .chain(settings.stdio.iter().map(|d| json!(d)))
            .collect(),
        _ => Value::Null,
    }
}

fn ceiling(ceiling: Ceiling, key: &str) -> Value {
    if key == "max" { json!(ceiling.max) } else { json!(ceiling.default) }
}

fn high(high: High) -> Value {
    match high {
        High::Bytes(bytes) => json!(bytes),
        High::Percent(share) => json!(format!("{share}%")),
    }
}

fn disk_limit(limit: &DiskLimit) -> Value {
    let disk = limit.disk.map_or_else(|| "*".to_owned(), |(major, minor)| format!("{major}:{minor}"));
    json!(format!("{disk} {}={}", limit.throttle.key(), limit.rate))
}

fn host_path(allowed: &AllowedPath) -> Value {
    json!(format!("{}{}", allowed.path.display(), if allowed.read_only { ":ro" } else { "" }))
}

fn logger(program: &Path) -> Value {
    json!(format!("{LOGGER}{}", program.display()))
}

fn device(allowed: &AllowedDevice) -> Value {
    let kind = if allowed.block { 'b' } else { 'c' };
    json!(format!("{} {kind} {}:{}", allowed.path.display(), allowed.major, allowed.minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a profile has only where it is given.
    const GIVEN: &str = r#"
[profiles.restricted.rules."res.memory"]
high = "80%"
oom_group = true
[profiles.restricted.rules."res.cpuset"]
cpus = "0-3,8"
mems = "0"
[profiles.restricted.rules."res.hugepages"]
max = "2MiB"
[profiles.restricted.rules."res.io"]
limits = ["8:0 rbps=1MiB wiops=20", "* wbps=7"]
weight = 500
[profiles.restricted.rules."image.registry"]
allow = ["docker.io/library/*", "registry.example:5000/app"]
[profiles.restricted.rules."image.scan"]
max_age = "30d"
ignore = ["CVE-2026-1"]
[profiles.restricted.rules."image.age"]
max_age = 90
[profiles.restricted.rules."image.labels"]
labels = ["stage=test"]
"#;

    #[test]
    fn every_setting_of_every_rule_has_a_value() {
        let policy = Policy::from_toml(GIVEN).unwrap();
        let profiles = policy.profiles();
        let restricted = profiles.iter().find(|profile| profile.name == "restricted").unwrap();
        for (rule, view) in crate::rules::RULES.iter().zip(&restricted.rules) {
            assert_eq!(view.settings.len(), rule.settings.len(), "{}: {:?}", rule.id, view.settings);
        }
        let of = |name: &str| restricted.rules.iter().find(|rule| rule.rule.as_str() == name).unwrap().settings.clone();
        assert_eq!(Value::Object(of("res.hugepages")), json!({"default": 0, "max": 2 << 20}));
        assert_eq!(of("res.io")["limits"], json!(["8:0 rbps=1048576", "8:0 wiops=20", "* wbps=7"]));
        assert!(Policy::builtin().profiles()[0].rules.iter().any(|rule| rule.settings.is_empty()), "nobody gave any");
    }

    #[test]
    fn what_is_shown_can_be_written_into_a_policy_file() {
        for profile in Policy::from_toml(GIVEN).unwrap().profiles() {
            for rule in profile.rules {
                for (key, value) in rule.settings {
                    let text = format!("[profiles.restricted.rules.\"{}\"]\n{key} = {value}\n", rule.rule);
                    Policy::from_toml(&text).unwrap_or_else(|error| panic!("{text}{error}"));
                }
            }
        }
    }
}
