//! Whether a rule of the kernel's device list was decided. Source: the kernel's cgroup-v1/devices.rst.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

/// What runtimes allow every container: making nodes, and null, zero, full, random, urandom, tty, ptmx, tun (runc before 1.2), pts.
/// Source: runc 1.1.5 `libcontainer/specconv/spec_linux.go`, the kernel's devices.txt.
const USUAL: [(i64, Option<i64>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(2)),
    (10, Some(200)),
    (136, None),
];

/// One line of `devices.list`; `None` is every number.
struct Line<'a> {
    kind: char,
    major: Option<i64>,
    minor: Option<i64>,
    access: &'a str,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split(' ');
        let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
        let (major, minor) = numbers.split_once(':')?;
        let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
        Some(Self { kind: kind.chars().next()?, major: number(major)?, minor: number(minor)?, access })
    }

    fn is_usual(&self) -> bool {
        let makes_nodes = self.access == "m" && self.kind != 'a';
        let usual = |(major, minor): &(i64, Option<i64>)| self.is_within(Some(*major), *minor);
        makes_nodes || self.kind == 'c' && USUAL.iter().any(usual)
    }

    fn is_within(&self, major: Option<i64>, minor: Option<i64>) -> bool {
        (major.is_none() || major == self.major) && (minor.is_none() || minor == self.minor)
    }

    fn is_allowed_by(&self, rule: &LinuxDeviceCgroup) -> bool {
        let given = |number: Option<i64>| number.filter(|number| *number >= 0);
        let kind = match rule.typ().unwrap_or(LinuxDeviceType::A) {
            LinuxDeviceType::A => true,
            LinuxDeviceType::B => self.kind == 'b',
            LinuxDeviceType::C | LinuxDeviceType::U => self.kind == 'c',
            LinuxDeviceType::P => false,
        };
        let access = rule.access().as_deref().unwrap_or("rwm");
        rule.allow()
            && kind
            && self.is_within(given(rule.major()), given(rule.minor()))
            && self.access.chars().all(|one| access.contains(one))
    }
}

/// Whether everything is allowed: then there is nothing to filter.
pub(super) fn allow_all(rules: &[LinuxDeviceCgroup]) -> bool {
    Line::parse("a *:* rwm").is_some_and(|all| rules.last().is_some_and(|rule| all.is_allowed_by(rule)))
}

/// The line of a list that allows all.
pub(super) fn everything(list: &[String]) -> Option<&str> {
    list.iter().map(String::as_str).find(|text| text.starts_with("a ") || Line::parse(text).is_none())
}

/// The lines of a list that nobody decided.
pub(super) fn undecided<'a>(list: &'a [String], rules: &[LinuxDeviceCgroup]) -> Vec<&'a str> {
    let is_decided = |text: &str| {
        Line::parse(text).is_some_and(|line| line.is_usual() || rules.iter().any(|rule| line.is_allowed_by(rule)))
    };
    list.iter().map(String::as_str).filter(|text| !is_decided(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_decided_or_is_usual_passes() {
        let rules: Vec<LinuxDeviceCgroup> = serde_json::from_str(
            r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"b","major":8,"minor":0,"access":"r"}]"#,
        )
        .unwrap();
        let list =
            ["c 1:3 rwm", "b 8:0 r", "b 8:0 rw", "b 8:1 r", "c *:* m", "a *:* rwm", "c 136:* rwm", "c 8:0 r", "odd"];
        let list = list.map(str::to_owned);
        assert_eq!(undecided(&list, &rules), ["b 8:0 rw", "b 8:1 r", "a *:* rwm", "c 8:0 r", "odd"]);
        assert_eq!(everything(&list), Some("a *:* rwm"));
        assert_eq!(everything(&list[..5]), None);
        assert!(!allow_all(&rules));
        let open: Vec<LinuxDeviceCgroup> = serde_json::from_str(r#"[{"allow":true,"access":"rwm"}]"#).unwrap();
        assert!(allow_all(&open) && undecided(&list[..8], &open).is_empty());
    }
}
