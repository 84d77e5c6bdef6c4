//! Writing a profile: OCI seccomp JSON, with the reason beside each entry.

use std::collections::BTreeSet;

use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};
use serde::{Deserialize, Serialize};

use super::base::UNASKED;
use super::seen::{Deciding, Seen, deciding};
use crate::architecture::{Architecture, UnsupportedArchitecture};
use crate::tighten::{TightenError, tighten};

/// ENOSYS: callers of `clone3` fall back to `clone`, whose flags a filter can see.
const ENOSYS: u32 = 38;
/// EPERM.
const EPERM: u32 = 1;

/// `int` and `unsigned int` arguments: the kernel looks at this half alone.
const LOWER_HALF: u64 = 0xffff_ffff;

/// Why no profile can be made of what was seen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearnError {
    /// It can't be combined with the profile that was in force.
    #[error("combine with the profile that was in force")]
    Tighten(#[from] TightenError),
    /// There is no filter for this machine.
    #[error(transparent)]
    Architecture(#[from] UnsupportedArchitecture),
    /// It can't be written.
    #[error("write the profile")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    #[serde(default)]
    comment: String,
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    architectures: Vec<Arch>,
    syscalls: Vec<Entry>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    comment: String,
    names: Vec<String>,
    action: LinuxSeccompAction,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    args: Vec<Argument>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: usize,
    /// The mask, with SCMP_CMP_MASKED_EQ.
    value: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_two: Option<u64>,
    op: LinuxSeccompOperator,
}

impl Seen {
    /// A profile that allows what was seen, with the base set, on the architectures that calls were made of, and nothing else. `comment` says of what.
    /// `within` are the profiles that were in force: what they refused, with other arguments than those seen, stays refused.
    ///
    /// # Errors
    ///
    /// A profile that was in force is not understood, or there are no filters for this machine.
    pub fn profile(&self, comment: &str, within: &[LinuxSeccomp]) -> Result<String, LearnError> {
        let mut profile: LinuxSeccomp = serde_json::from_value(serde_json::to_value(self.alone()?)?)?;
        for other in within {
            profile = tighten(other, &profile)?;
        }
        let mut written = Profile::of(&profile)?;
        written.comment = comment.to_owned();
        Ok(serde_json::to_string_pretty(&written)? + "\n")
    }

    fn alone(&self) -> Result<Profile, UnsupportedArchitecture> {
        let base = UNASKED.iter().copied().chain(self.whole());
        let mut syscalls = vec![allow(base.map(str::to_owned).collect())];
        for (name, deciding, values) in self.by_argument() {
            syscalls.extend(
                values
                    .iter()
                    .map(|value| Entry { args: vec![argument(deciding, *value)], ..allow(vec![name.to_owned()]) }),
            );
        }
        if !self.has("clone3") {
            let refused = allow(vec!["clone3".to_owned()]);
            syscalls.push(Entry { action: LinuxSeccompAction::ScmpActErrno, errno_ret: Some(ENOSYS), ..refused });
        }
        Ok(Profile {
            comment: String::new(),
            default_action: LinuxSeccompAction::ScmpActErrno,
            default_errno_ret: Some(EPERM),
            architectures: [Architecture::native()?].into_iter().chain(self.others()).map(Architecture::oci).collect(),
            syscalls,
        })
    }

    /// The names whose arguments don't matter, or had too many values.
    fn whole(&self) -> impl Iterator<Item = &str> {
        let whole = self.calls().filter(|(name, values)| deciding(name).is_none() || values.listed().is_none());
        whole.map(|(name, _)| name).filter(|name| !UNASKED.contains(name))
    }

    fn by_argument(&self) -> impl Iterator<Item = (&str, Deciding, &BTreeSet<u32>)> {
        self.calls().filter_map(|(name, values)| Some((name, deciding(name)?, values.listed()?)))
    }

    fn has(&self, wanted: &str) -> bool {
        self.calls().any(|(name, _)| name == wanted)
    }
}

impl Profile {
    /// With a reason for each entry: what was seen apart from what every such profile has.
    fn of(profile: &LinuxSeccomp) -> Result<Self, serde_json::Error> {
        let entries = profile.syscalls().iter().flatten().map(entry);
        let reasoned = entries.flat_map(|entry| {
            let (base, seen): (Vec<String>, Vec<String>) =
                entry.names.iter().cloned().partition(|name| UNASKED.contains(&name.as_str()));
            let reason = match (entry.action, entry.args.is_empty()) {
                (LinuxSeccompAction::ScmpActAllow, true) => "Seen.",
                (LinuxSeccompAction::ScmpActAllow, false) => "Seen, with this.",
                _ => "Refused so that callers fall back, or as in the profile that was in force.",
            };
            let base_reason = "What starting and ending a program and its busiest calls take, seen or not.";
            [(base, base_reason), (seen, reason)]
                .into_iter()
                .filter(|(names, _)| !names.is_empty())
                .map(move |(names, comment)| Entry { names, comment: comment.to_owned(), ..entry.clone() })
        });
        Ok(Self {
            comment: String::new(),
            default_action: profile.default_action(),
            default_errno_ret: profile.default_errno_ret(),
            architectures: profile.architectures().clone().unwrap_or_default(),
            syscalls: reasoned.collect(),
        })
    }
}

fn entry(entry: &LinuxSyscall) -> Entry {
    let args = entry.args().iter().flatten();
    Entry {
        comment: String::new(),
        names: entry.names().clone(),
        action: entry.action(),
        errno_ret: entry.errno_ret(),
        args: args.map(condition).collect(),
    }
}

fn condition(arg: &LinuxSeccompArg) -> Argument {
    Argument { index: arg.index(), value: arg.value(), value_two: arg.value_two(), op: arg.op() }
}

fn allow(names: Vec<String>) -> Entry {
    let action = LinuxSeccompAction::ScmpActAllow;
    Entry { comment: String::new(), names, action, errno_ret: None, args: Vec::new() }
}

fn argument(deciding: Deciding, value: u32) -> Argument {
    let value_two = Some(u64::from(value & deciding.mask));
    let mask = LOWER_HALF & u64::from(deciding.mask);
    Argument { index: deciding.index, value: mask, value_two, op: LinuxSeccompOperator::ScmpCmpMaskedEq }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Capabilities;

    use super::*;
    use crate::compile::{Call, compile};
    use crate::filter::verdicts;
    use crate::profile::{BuiltinProfile, profile_for};
    use crate::verdict::Verdict;

    fn seen(calls: &[(&str, [u64; 6])]) -> Seen {
        let mut seen = Seen::default();
        for (name, arguments) in calls {
            seen.add(&Call::native(name, *arguments).unwrap());
        }
        seen
    }

    fn profile(seen: &Seen) -> LinuxSeccomp {
        serde_json::from_str(&seen.profile("a test", &[]).unwrap()).unwrap()
    }

    const INET: [u64; 6] = [2, 1, 0, 0, 0, 0];
    const TCGETS: [u64; 6] = [0, 0x5401, 0xdead_beef, 0, 0, 0];

    #[test]
    fn what_was_seen_runs_and_nothing_else_does() {
        let seen = seen(&[
            ("socket", INET),
            ("ioctl", TCGETS),
            ("listen", [3, 128, 0, 0, 0, 0]),
            ("clone", [0x11, 0, 0, 0, 0, 0]),
            ("clone", [0x003d_0f00, 0, 0, 0, 0, 0]),
        ]);
        let profile = profile(&seen);
        compile(&profile).unwrap();
        let judge = verdicts(&profile).unwrap();
        for (name, arguments) in [
            ("socket", INET),
            ("socket", [2, 0x80001, 6, 0, 0, 0]),
            ("ioctl", TCGETS),
            ("ioctl", [7, 0x5401, 0, 0, 0, 0]),
            ("listen", [9; 6]),
            ("clone", [0x11, 7, 7, 7, 7, 7]),
            ("read", [0; 6]),
            ("exit_group", [0; 6]),
        ] {
            assert_eq!(judge(name, arguments), Verdict::Allow, "{name} {arguments:?}");
        }
        for (name, arguments) in [
            ("socket", [1, 1, 0, 0, 0, 0]),
            ("socket", [38, 1, 0, 0, 0, 0]),
            // The kernel would take the lower half.
            ("socket", [0x1_0000_0026, 1, 0, 0, 0, 0]),
            ("ioctl", [0, 0x5412, 0, 0, 0, 0]),
            ("clone", [0x1000_0011, 0, 0, 0, 0, 0]),
            ("unshare", [0; 6]),
            ("bind", [0; 6]),
        ] {
            assert_eq!(judge(name, arguments), Verdict::Errno(1), "{name} {arguments:?}");
        }
        assert_eq!(judge("clone3", [0; 6]), Verdict::Errno(38));
    }

    #[test]
    fn two_containers_make_one_profile() {
        let (mut one, other) = (seen(&[("socket", INET)]), seen(&[("socket", [1, 1, 0, 0, 0, 0]), ("bind", [0; 6])]));
        one.merge(other);
        let profile = profile(&one);
        let judge = verdicts(&profile).unwrap();
        for (name, first) in [("socket", 1), ("socket", 2), ("bind", 3)] {
            assert_eq!(judge(name, [first, 0, 0, 0, 0, 0]), Verdict::Allow, "{name} {first}");
        }
        assert_eq!(judge("socket", [10, 0, 0, 0, 0, 0]), Verdict::Errno(1));
    }

    #[test]
    fn more_values_than_a_list_is_for_are_no_list() {
        let mut seen = Seen::default();
        let requests = (0..65).filter(|request| seen.add(&Call::native("ioctl", [0, *request, 0, 0, 0, 0]).unwrap()));
        assert_eq!(requests.count(), 65);
        assert!(!seen.add(&Call::native("ioctl", [0, 999, 0, 0, 0, 0]).unwrap()));
        let profile = profile(&seen);
        assert_eq!(verdicts(&profile).unwrap()("ioctl", [0, 12345, 0, 0, 0, 0]), Verdict::Allow);
        let text = serde_json::to_string(&seen).unwrap();
        assert_eq!(text, r#"{"calls":{"ioctl":{"any":true}}}"#);
        assert_eq!(serde_json::from_str::<Seen>(&text).unwrap(), seen);
    }

    #[test]
    fn a_workload_that_calls_nothing_more_has_a_profile_too() {
        let profile = profile(&Seen::default());
        let judge = verdicts(&profile).unwrap();
        assert_eq!((judge("write", [1; 6]), judge("socket", INET)), (Verdict::Allow, Verdict::Errno(1)));
    }

    /// Whether a descriptor may be opened with a mode is the policy's, though opening is in the base set.
    #[test]
    fn what_the_profile_in_force_refused_stays_refused() {
        let within = profile_for(BuiltinProfile::Strict, &Capabilities::new()).unwrap();
        let text = seen(&[("socket", INET), ("fchmod", [3, 0o644, 0, 0, 0, 0])])
            .profile("a test", &[within.clone(), within])
            .unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(
            json["syscalls"]
                .as_array()
                .unwrap()
                .iter()
                .all(|entry| entry["comment"].as_str().is_some_and(|c| c.len() > 4))
        );
        let profile: LinuxSeccomp = serde_json::from_str(&text).unwrap();
        compile(&profile).unwrap();
        let judge = verdicts(&profile).unwrap();
        for (name, allowed, refused) in [
            ("openat", [0, 0, 0o100, 0o644, 0, 0], [0, 0, 0o100, 0o4755, 0, 0]),
            ("fchmod", [3, 0o755, 0, 0, 0, 0], [3, 0o4755, 0, 0, 0, 0]),
            ("socket", INET, [1, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(judge(name, allowed), Verdict::Allow, "{name}");
            assert!(!judge(name, refused).runs(), "{name}");
        }
        assert_eq!(judge("clone3", [0; 6]), Verdict::Errno(38));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_workload_of_another_architecture_has_a_profile_with_it() {
        let mut seen = seen(&[("listen", [0; 6])]);
        let socket = Call { architecture: 0x4000_0003, number: 359, arguments: INET };
        assert!(seen.add(&socket) && !seen.add(&socket));
        let profile = profile(&seen);
        assert_eq!(profile.architectures().as_deref(), Some([Arch::ScmpArchX86_64, Arch::ScmpArchX86].as_slice()));
        let filter = compile(&profile).unwrap();
        let verdict = |call: &Call| filter.answer(call).map(|answer| answer.verdict);
        assert_eq!(verdict(&socket), Some(Verdict::Allow));
        assert_eq!(verdict(&Call { arguments: [1; 6], ..socket }), Some(Verdict::Errno(1)));
        assert_eq!(verdict(&Call { architecture: 0xc000_00b7, ..socket }), Some(Verdict::KillProcess));
    }
}
