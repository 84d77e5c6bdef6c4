//! `palisade seccomp`: profiles as the shim resolves them.

use std::cmp::Ordering;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use oci_spec::runtime::Capabilities;
use palisade_policy::Policy;
use palisade_seccomp::{CallDifference, Mitigation, SeccompProfile, Target};
use serde_json::json;

use crate::Verdict;
use crate::arguments::{ProfileArguments, SeccompCommand, SeccompFormat};
use crate::error::CliError;
use crate::policy;
use crate::report::plain;

pub(crate) fn run(command: SeccompCommand, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    match command {
        SeccompCommand::List { policy } => list(policy::load(&policy)?.policy(), out),
        SeccompCommand::Show { profile, with, format } => {
            let look = Look::of(&with)?;
            show(&look.profile(&profile)?, &look.bounding, format, out)
        }
        SeccompCommand::Diff { a, b, with } => {
            let look = Look::of(&with)?;
            diff(&look.profile(&a)?, &look.profile(&b)?, &look.bounding, out)
        }
        SeccompCommand::Test { profile, syscall, arguments, with } => {
            let look = Look::of(&with)?;
            test(&look.profile(&profile)?, &look.bounding, &syscall, &arguments, out)
        }
    }
}

/// What all profiles of a command are looked at with.
struct Look {
    policy: Policy,
    bounding: Capabilities,
    mitigations: Vec<Arc<Mitigation>>,
}

impl Look {
    fn of(with: &ProfileArguments) -> Result<Self, CliError> {
        let policy = policy::load(&with.policy)?.policy().clone();
        let names: Vec<String> = with.caps.iter().map(|name| full_name(name)).collect();
        let wrong = |source| CliError::Capability { names: names.join(", "), source };
        let bounding = serde_json::from_value(json!(names)).map_err(wrong)?;
        let mut mitigations = policy.mitigations().to_vec();
        for id in &with.mitigations {
            let unknown =
                || CliError::NoMitigation { id: id.clone(), known: policy.library().mitigations().join(", ") };
            mitigations.push(policy.library().mitigation(id)?.ok_or_else(unknown)?);
        }
        Ok(Self { policy, bounding, mitigations })
    }

    /// The profile of that name, or in that file.
    fn profile(&self, named: &str) -> Result<SeccompProfile, CliError> {
        let library = self.policy.library();
        let profile = if named.contains('/') || named.ends_with(".json") {
            let path = PathBuf::from(named);
            let text = fs::read_to_string(&path).map_err(|source| CliError::Read { path, source })?;
            library.read(named, &text)?
        } else {
            library.profile(named)?
        };
        Ok(profile.mitigated(&self.mitigations))
    }
}

/// `SYS_ADMIN` stands for `CAP_SYS_ADMIN`.
fn full_name(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
}

fn list(policy: &Policy, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let library = policy.library();
    for name in library.profiles() {
        let using: Vec<String> = policy
            .profiles()
            .iter()
            .filter(|profile| uses(profile, &name))
            .map(|profile| profile.name.clone())
            .collect();
        let using = if using.is_empty() { String::new() } else { format!(", of the policy's {}", using.join(", ")) };
        writeln!(out, "profile {name}{using}")?;
    }
    for id in library.mitigations() {
        let Some(mitigation) = library.mitigation(&id)? else { continue };
        let on = policy.mitigations().iter().any(|known| known.id() == id);
        let cve =
            if mitigation.cve().is_empty() { String::new() } else { format!(" ({})", mitigation.cve().join(", ")) };
        writeln!(out, "mitigation {id}, {}{cve}: {}", if on { "on" } else { "off" }, plain(mitigation.comment()))?;
    }
    Ok(Verdict::Fine)
}

fn uses(profile: &palisade_policy::ProfileView, name: &str) -> bool {
    let filter = profile.rules.iter().find(|rule| rule.rule.as_str() == "linux.seccomp");
    filter.is_some_and(|rule| rule.settings.get("profile").is_some_and(|value| value == name))
}

fn show(
    profile: &SeccompProfile,
    bounding: &Capabilities,
    format: SeccompFormat,
    out: &mut Vec<u8>,
) -> Result<Verdict, CliError> {
    if format == SeccompFormat::Json {
        serde_json::to_writer_pretty(&mut *out, &profile.resolve(bounding, &[])?)?;
        writeln!(out)?;
        return Ok(Verdict::Fine);
    }
    writeln!(out, "profile {}{}", profile.name(), mitigated(profile))?;
    for call in profile.calls(bounding)? {
        for (arguments, answer) in call.parts {
            let line = format!("{:<28} {:<10} {arguments}", plain(&call.syscall), answer.to_string());
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    writeln!(out, "{:<28} {}", "any other call", profile.default_verdict()?)?;
    Ok(Verdict::Fine)
}

fn mitigated(profile: &SeccompProfile) -> String {
    let ids: Vec<&str> = profile.mitigations().iter().map(|mitigation| mitigation.id()).collect();
    if ids.is_empty() { String::new() } else { format!(", less {}", ids.join(", ")) }
}

fn diff(
    a: &SeccompProfile,
    b: &SeccompProfile,
    bounding: &Capabilities,
    out: &mut Vec<u8>,
) -> Result<Verdict, CliError> {
    let differences = a.differences(b, bounding)?;
    let (mut stricter, mut looser) = (0_usize, 0_usize);
    writeln!(out, "A {}{}\nB {}{}", a.name(), mitigated(a), b.name(), mitigated(b))?;
    for CallDifference { syscall, parts } in &differences {
        for (arguments, ours, theirs) in parts {
            let side = match ours.strictness().cmp(&theirs.strictness()) {
                Ordering::Greater => "A is stricter",
                Ordering::Less => "B is stricter",
                Ordering::Equal => "equally strict",
            };
            let name = syscall.as_deref().unwrap_or("any other call");
            let line = format!("{:<28} A {ours}, B {theirs}; {side}; {arguments}", plain(name));
            writeln!(out, "{}", line.trim_end_matches("; "))?;
        }
        let sides = |order: Ordering| {
            parts.iter().any(|(_, ours, theirs)| ours.strictness().cmp(&theirs.strictness()) == order)
        };
        stricter += usize::from(sides(Ordering::Greater));
        looser += usize::from(sides(Ordering::Less));
    }
    writeln!(out, "{} calls differ; A is stricter in {stricter}, B in {looser}", differences.len())?;
    Ok(if differences.is_empty() { Verdict::Fine } else { Verdict::Objections })
}

fn test(
    profile: &SeccompProfile,
    bounding: &Capabilities,
    syscall: &str,
    arguments: &[String],
    out: &mut Vec<u8>,
) -> Result<Verdict, CliError> {
    if !Target::native().is_ok_and(|target| target.has(syscall)) {
        return Err(CliError::NoSyscall { name: plain(syscall) });
    }
    let mut six = [0; 6];
    for (place, text) in six.iter_mut().zip(arguments) {
        *place = number(text).ok_or_else(|| CliError::Number { text: plain(text) })?;
    }
    let decision = profile.decide(bounding, syscall, six)?;
    writeln!(out, "{syscall}({}): {}", arguments.join(", "), decision.verdict)?;
    match decision.by {
        Some((file, comment)) => writeln!(out, "  by {}: {}", plain(&file), plain(&comment))?,
        None => writeln!(out, "  by the default action of {}: no entry matches", profile.name())?,
    }
    Ok(if decision.verdict.runs() { Verdict::Fine } else { Verdict::Objections })
}

/// A number as C writes it, or negative.
fn number(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    if let Some(octal) = text.strip_prefix("0o").or_else(|| text.strip_prefix('0').filter(|rest| !rest.is_empty())) {
        return u64::from_str_radix(octal, 8).ok();
    }
    text.parse().ok().or_else(|| text.parse::<i64>().ok().map(i64::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_writes_them() {
        for (text, value) in
            [("38", 38), ("0x5412", 0x5412), ("0644", 0o644), ("0o4755", 0o4755), ("0", 0), ("-1", u64::MAX)]
        {
            assert_eq!(number(text), Some(value), "{text}");
        }
        for none in ["", "x", "0x", "089", "18446744073709551616", "AF_INET"] {
            assert_eq!(number(none), None, "{none}");
        }
    }

    #[test]
    fn capabilities_may_leave_the_prefix_out() {
        assert_eq!(full_name("sys_admin"), "CAP_SYS_ADMIN");
        assert_eq!(full_name("CAP_BPF"), "CAP_BPF");
    }
}
