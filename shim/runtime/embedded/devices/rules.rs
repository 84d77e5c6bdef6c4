//! Device rules with one meaning: for each of reading, writing and making a node the last rule that speaks of it
//! decides, and what no rule speaks of is denied.
//!
//! Source: OCI runtime-spec config-linux.md "Allowed Device list"; the kernel's cgroup-v1/devices.rst.

use std::ops::Not;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::DeviceFilterError;

/// What is done to a device, with the kernel's numbers of linux/bpf.h (`BPF_DEVCG_ACC_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access(u32);

impl Access {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self(7);
    const LETTERS: [(char, u32); 3] = [('m', 1), ('r', 2), ('w', 4)];

    fn of_letters(letters: &str) -> Option<Self> {
        let bit = |letter| Self::LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, bit)| *bit);
        letters.chars().map(bit).try_fold(0, |bits, bit| Some(bits | bit?)).map(Self)
    }

    pub(super) fn letters(self) -> String {
        Self::LETTERS.iter().filter(|(_, bit)| self.0 & bit != 0).map(|(letter, _)| *letter).collect()
    }

    pub(super) const fn bits(self) -> u32 {
        self.0
    }
}

impl Not for Access {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0 & Self::ALL.0)
    }
}

/// Kinds of device nodes, with the kernel's numbers (`BPF_DEVCG_DEV_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeviceType {
    Block = 1,
    Character = 2,
}

/// One rule; what is `None` is every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) allow: bool,
    pub(super) kind: Option<DeviceType>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) access: Access,
}

/// Rules in the spec's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    pub(super) fn of_spec(spec: &[LinuxDeviceCgroup]) -> Result<Self, DeviceFilterError> {
        let rule = |(index, rule)| Rule::of_spec(rule).map_err(|reason| DeviceFilterError::Rule { index, reason });
        spec.iter().enumerate().map(rule).collect::<Result<_, _>>().map(Self)
    }

    /// With what every container may do, as in runc 1.2: make nodes (opening them is another matter), and use the
    /// harmless devices that the runtime itself puts into `/dev`.
    pub(super) fn with_defaults(mut self) -> Self {
        let make = [DeviceType::Character, DeviceType::Block].map(|kind| Rule {
            allow: true,
            kind: Some(kind),
            major: None,
            minor: None,
            access: Access(1),
        });
        // null, zero, full, random, urandom, tty, ptmx, pts. Source: the kernel's devices.txt. Not the console, 5:1: that of
        // a container is a pts, the node of that number is the host's.
        let numbers = [
            (1, Some(3)),
            (1, Some(5)),
            (1, Some(7)),
            (1, Some(8)),
            (1, Some(9)),
            (5, Some(0)),
            (5, Some(2)),
            (136, None),
        ];
        let usual = numbers.map(|(major, minor)| Rule {
            allow: true,
            kind: Some(DeviceType::Character),
            major: Some(major),
            minor,
            access: Access::ALL,
        });
        self.0.extend(make);
        self.0.extend(usual);
        self
    }

    /// The rules, the last one first.
    pub(super) fn last_first(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter().rev()
    }

    /// What may be done to one device.
    pub(super) fn allowed(&self, kind: DeviceType, major: u32, minor: u32) -> Access {
        let (mut open, mut allowed) = (Access::ALL.0, 0);
        for rule in self.last_first().filter(|rule| rule.matches(kind, major, minor)) {
            if rule.allow {
                allowed |= open & rule.access.0;
            }
            open &= !rule.access.0;
        }
        Access(allowed)
    }
}

impl Rule {
    fn of_spec(rule: &LinuxDeviceCgroup) -> Result<Self, &'static str> {
        let allow = rule.allow();
        let kind = match rule.typ() {
            None | Some(LinuxDeviceType::A) => None,
            Some(LinuxDeviceType::B) => Some(DeviceType::Block),
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(DeviceType::Character),
            Some(LinuxDeviceType::P) => return Err("a FIFO is no device; a, b, c is allowed"),
        };
        let access = match rule.access().as_deref() {
            // Where nothing is said, nothing is allowed and everything denied.
            None | Some("") if allow => Access::NONE,
            None | Some("") => Access::ALL,
            Some(letters) => Access::of_letters(letters).ok_or("access is not of r, w, m")?,
        };
        // The kernel's own lists take a denial of type `a` for all devices, whatever its numbers.
        let everything = kind.is_none() && !allow;
        let (major, minor) = (number(rule.major())?, number(rule.minor())?);
        Ok(Self { allow, kind, major: major.filter(|_| !everything), minor: minor.filter(|_| !everything), access })
    }

    fn matches(&self, kind: DeviceType, major: u32, minor: u32) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind)
            && self.major.is_none_or(|wanted| wanted == major)
            && self.minor.is_none_or(|wanted| wanted == minor)
    }
}

/// -1 stands for all, as in runc.
fn number(number: Option<i64>) -> Result<Option<u32>, &'static str> {
    match number {
        None | Some(-1) => Ok(None),
        Some(number) => u32::try_from(number).map(Some).map_err(|_| "a device number is below -1 or above 2^32-1"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn rules(json: &str) -> Result<Rules, DeviceFilterError> {
        let spec: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
        Rules::of_spec(&spec)
    }

    #[test]
    fn the_last_rule_that_speaks_of_an_access_decides() {
        let rules = rules(
            r#"[{"allow":false,"access":"rwm"},
                {"allow":true,"type":"c","major":1,"access":"rw"},
                {"allow":false,"type":"c","major":1,"minor":5,"access":"w"}]"#,
        )
        .unwrap();
        assert_eq!(rules.allowed(DeviceType::Character, 1, 3).letters(), "rw");
        assert_eq!(rules.allowed(DeviceType::Character, 1, 5).letters(), "r");
        assert_eq!(rules.allowed(DeviceType::Block, 8, 0), Access::NONE);
    }

    #[test]
    fn nothing_is_allowed_unless_a_rule_says_so() {
        assert_eq!(rules("[]").unwrap().allowed(DeviceType::Block, 8, 0), Access::NONE);
        let defaults = rules("[]").unwrap().with_defaults();
        assert_eq!(defaults.allowed(DeviceType::Character, 1, 3), Access::ALL);
        assert_eq!(defaults.allowed(DeviceType::Character, 10, 200).letters(), "m");
        assert_eq!(defaults.allowed(DeviceType::Character, 5, 1).letters(), "m");
        assert_eq!(defaults.allowed(DeviceType::Block, 8, 0).letters(), "m");
    }

    #[test]
    fn rules_without_meaning_are_refused() {
        for rule in [
            r#"[{"allow":true,"type":"p"}]"#,
            r#"[{"allow":true,"access":"x"}]"#,
            r#"[{"allow":true,"major":-2,"access":"r"}]"#,
        ] {
            assert!(rules(rule).is_err(), "{rule}");
        }
    }
}
