//! Versions of programs and kernels, as distributions write them too.

use std::cmp::Ordering;
use std::fmt;

/// How far a release is from being one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Alpha(u64),
    Beta(u64),
    Candidate(u64),
    Release,
}

/// `major.minor.patch`, a pre-release, and what a distribution puts behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    numbers: [u64; 3],
    stage: Stage,
    /// Of a packager: fixes may have been carried over that the numbers don't show.
    pub(crate) packaged: bool,
    text: String,
}

impl Version {
    /// Reads `1.1.5+ds1-1+deb12u1`, `v2.1.0-rc.1`, `1.0.0~rc93+ds1`, `1.21`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // Debian's epoch.
        let plain =
            text.split_once(':').filter(|(epoch, _)| epoch.parse::<u8>().is_ok()).map_or(text, |(_, rest)| rest);
        let mut rest = plain.strip_prefix('v').unwrap_or(plain);
        let mut numbers = [0; 3];
        let mut read = 0;
        for number in &mut numbers {
            let Some((value, behind)) = leading_number(rest) else { break };
            *number = value;
            read += 1;
            rest = behind;
            let Some(next) = rest.strip_prefix('.').filter(|next| next.starts_with(|c: char| c.is_ascii_digit()))
            else {
                break;
            };
            if read < 3 {
                rest = next;
            }
        }
        if read < 2 {
            return None;
        }
        let (stage, rest) = stage(rest);
        Some(Self { numbers, stage, packaged: !rest.is_empty(), text: plain.to_owned() })
    }

    /// The first word of a program's output that is a version. A packager's own, which Debian's runc gives as its commit, tells more.
    pub(crate) fn in_output(output: &str) -> Option<Self> {
        let words = output
            .split_whitespace()
            .filter(|word| word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()));
        let mut versions = words.filter_map(|word| Self::parse(word.trim_end_matches(',')));
        let first = versions.next()?;
        let same =
            |other: &Self| other.packaged && other.numbers == first.numbers && other.text.len() > first.text.len();
        Some(versions.find(same).unwrap_or(first))
    }

    /// `1.7` of 1.7.33.
    fn line(&self) -> [u64; 2] {
        let [major, minor, _] = self.numbers;
        [major, minor]
    }

    pub(crate) fn major(&self) -> u64 {
        let [major, ..] = self.numbers;
        major
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some((self.numbers, self.stage).cmp(&(other.numbers, other.stage)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

/// A pre-release, and what is behind it. `-1` and `~ds1` are a packager's.
fn stage(text: &str) -> (Stage, &str) {
    let Some(word) = text.strip_prefix(['-', '~', '_']).or(Some(text)).filter(|_| !text.is_empty()) else {
        return (Stage::Release, text);
    };
    for (name, stage) in [
        ("alpha", Stage::Alpha as fn(u64) -> Stage),
        ("beta", Stage::Beta as fn(u64) -> Stage),
        ("rc", Stage::Candidate as fn(u64) -> Stage),
    ] {
        if let Some(behind) = word.strip_prefix(name) {
            let behind = behind.strip_prefix('.').unwrap_or(behind);
            let (number, rest) = leading_number(behind).unwrap_or((0, behind));
            return (stage(number), rest);
        }
    }
    (Stage::Release, text)
}

/// A flaw, and the first version of each line that has the fix.
#[derive(Debug)]
pub(crate) struct Flaw {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    /// Versions before it don't have it; empty where all do.
    pub(crate) since: &'static str,
    pub(crate) fixed: &'static [&'static str],
}

/// Whether a version has a flaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fixed,
    Open,
    /// Its line is older than every one that has a fix in the table.
    Older,
    /// Its line is not in the table, and lines before and after it are: fixed or not, the table doesn't say.
    NotListed,
}

impl Flaw {
    pub(crate) fn of(&self, version: &Version) -> Verdict {
        if Version::parse(self.since).is_some_and(|since| *version < since) {
            return Verdict::Fixed;
        }
        let fixed: Vec<Version> = self.fixed.iter().filter_map(|text| Version::parse(text)).collect();
        if let Some(of_line) = fixed.iter().find(|fixed| fixed.line() == version.line()) {
            return if version >= of_line { Verdict::Fixed } else { Verdict::Open };
        }
        if fixed.iter().all(|fixed| fixed.line() < version.line()) {
            Verdict::Fixed
        } else if fixed.iter().all(|fixed| fixed.line() > version.line()) {
            Verdict::Older
        } else {
            Verdict::NotListed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        for (text, numbers, packaged) in [
            ("1.1.5", [1, 1, 5], false),
            ("v2.3.4", [2, 3, 4], false),
            ("1.21", [1, 21, 0], false),
            ("1.1.5+ds1-1+deb12u1", [1, 1, 5], true),
            ("1:1.7.24~ds1-6+deb13u1", [1, 7, 24], true),
            ("2.2.1-0ubuntu1~24.04.3", [2, 2, 1], true),
            ("v2.3.2-k3s2", [2, 3, 2], true),
            ("2.1.9+unknown", [2, 1, 9], true),
            ("6.1.0-31-amd64", [6, 1, 0], true),
            ("5.14.0-427.13.1.el9_4.x86_64", [5, 14, 0], true),
            ("6.12.85", [6, 12, 85], false),
            ("6.12.5.1", [6, 12, 5], true),
        ] {
            let found = version(text);
            assert_eq!((found.numbers, found.packaged), (numbers, packaged), "{text}");
            assert_eq!(found.stage, Stage::Release, "{text}");
        }
        for no in ["", "runc", "1", "v", "x1.2", "-1.2"] {
            assert_eq!(Version::parse(no), None, "{no:?}");
        }
    }

    #[test]
    fn a_pre_release_is_before_its_release() {
        let order = ["1.0.0-rc6", "1.0.0-rc.9", "1.0.0~rc93+ds1", "1.0.0-rc95", "1.0.0", "1.0.1", "1.1.0-alpha.1"];
        for pair in order.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        assert!(version("2.4.0-beta.0") < version("2.4.0-rc.1"));
        assert!(version("1.0.0~rc93+ds1").packaged && !version("1.0.0-rc93").packaged);
    }

    #[test]
    fn a_programs_output_is_looked_through() {
        let runc =
            "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\ngo: go1.19.8\nlibseccomp: 2.5.4\n";
        assert_eq!(Version::in_output(runc).unwrap().to_string(), "1.1.5+ds1-1+deb12u1");
        let plain = "runc version 1.3.0\ncommit: v1.3.0-0-g4ca628d1\nspec: 1.2.1\n";
        assert_eq!(Version::in_output(plain).unwrap().numbers, [1, 3, 0]);
        let containerd =
            "containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7193e4e490e9fbdc236c0e811ccaba3376";
        assert_eq!(Version::in_output(containerd).unwrap(), version("v2.1.4"));
        let crun =
            "crun version 1.21\ncommit: 10269840aa07fb7e6b7e1acff6198692d8ff5c88\nrundir: /run/crun\nspec: 1.0.0\n";
        assert_eq!(Version::in_output(crun).unwrap().to_string(), "1.21");
        assert_eq!(Version::in_output("usage: runc"), None);
    }

    #[test]
    fn a_flaw_is_fixed_by_lines() {
        let flaw = Flaw { id: "x", what: "", since: "1.0.0-rc93", fixed: &["1.2.8", "1.3.3", "1.4.0-rc.3"] };
        for (text, verdict) in [
            ("1.0.0-rc92", Verdict::Fixed),
            ("1.0.0-rc93", Verdict::Older),
            ("1.1.15", Verdict::Older),
            ("1.2.7", Verdict::Open),
            ("1.2.8", Verdict::Fixed),
            ("1.3.2", Verdict::Open),
            ("1.3.3", Verdict::Fixed),
            ("1.4.0-rc.2", Verdict::Open),
            ("1.4.0-rc.3", Verdict::Fixed),
            ("1.4.0", Verdict::Fixed),
            ("1.5.0-rc.1", Verdict::Fixed),
            ("2.0.0", Verdict::Fixed),
        ] {
            assert_eq!(flaw.of(&version(text)), verdict, "{text}");
        }
        let gap = Flaw { id: "x", what: "", since: "", fixed: &["1.7.32", "2.0.9", "2.2.4"] };
        assert_eq!(gap.of(&version("2.1.9")), Verdict::NotListed);
    }
}
