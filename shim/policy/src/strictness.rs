//! Whether one profile is at least as strict as another: computed from what they do, never declared.

use palisade_seccomp::SeccompProfile;

use crate::action::{Action, Mode};
use crate::profile::{AllowedPath, Ceiling, NumberSet, Profile, Settings};
use crate::rules::ScanSettings;

impl Profile {
    /// The first thing in which this profile is looser than `other`, or cannot be compared with it. `None`: every
    /// container that it lets through is one that `other` would have let through as well, and is seen by at least
    /// as much.
    pub(crate) fn looser_than(&self, other: &Self) -> Option<String> {
        if self.mode() == Mode::Audit && other.mode() == Mode::Enforce {
            return Some("it only audits".to_owned());
        }
        let pairs = self.actions().zip(other.actions());
        for ((rule, ours), (_, theirs)) in pairs {
            if rank(ours) < rank(theirs) {
                return Some(format!("rule {} is {ours} there", rule.id));
            }
        }
        // A setting counts only where the other profile acts by it: what it lets through anyway is no measure.
        let acts = |rule: &str| other.actions().any(|(known, action)| known.id.as_str() == rule && rank(action) >= 2);
        let loosened = looser_settings(&self.settings, &other.settings);
        loosened
            .into_iter()
            .find(|(rules, looser)| *looser && rules.iter().any(|rule| acts(rule)))
            .map(|(rules, _)| format!("its settings of {} allow more", rules.join(" and ")))
    }
}

/// A container that passes `deny` has nothing to mend, so `deny` lets through a part of what `mutate` does.
fn rank(action: Action) -> u8 {
    match action {
        Action::Off => 0,
        Action::Audit => 1,
        Action::Mutate => 2,
        Action::Deny => 3,
    }
}

/// Each setting, the rules that go by it, and whether it is looser. Taken apart by name, so that a new setting
/// does not compile before it is compared.
fn looser_settings(ours: &Settings, theirs: &Settings) -> Vec<(&'static [&'static str], bool)> {
    let Settings {
        user,
        capabilities,
        seccomp,
        architectures,
        host_paths,
        mount_types,
        devices,
        hooks,
        annotations,
        sysctls,
        secret_variables,
        apparmor,
        selinux,
        rootfs,
        stdio,
        loggers,
        memory,
        memory_high,
        oom_group,
        cpu,
        pids,
        cpus,
        mems,
        huge_pages,
        disks,
        disk_weight,
        tmpfs,
        image_repositories,
        image_labels,
        image_signers,
        image_scan,
        image_age,
    } = ours;
    vec![
        // Another user is no stricter one: the two cannot be compared.
        (&["user.non-root", "user.root-group"], *user != theirs.user),
        (&["caps.allow-list", "caps.never"], !capabilities.is_subset(&theirs.capabilities)),
        (&["linux.seccomp"], looser_calls(seccomp, &theirs.seccomp).is_some()),
        (&["linux.seccomp.arch", "linux.seccomp"], beyond(architectures, &theirs.architectures, PartialEq::eq)),
        (&["mount.host-path"], beyond(host_paths, &theirs.host_paths, is_within)),
        (&["mount.type"], beyond(mount_types, &theirs.mount_types, PartialEq::eq)),
        (&["linux.devices"], beyond(devices, &theirs.devices, PartialEq::eq)),
        (&["hooks"], beyond(hooks, &theirs.hooks, PartialEq::eq)),
        (&["annotations", "update.annotations"], beyond(annotations, &theirs.annotations, is_named_by)),
        (&["linux.sysctl"], beyond(sysctls, &theirs.sysctls, PartialEq::eq)),
        (&["secret.env", "secret.args"], beyond(secret_variables, &theirs.secret_variables, is_named_by)),
        // Here an empty list lets any profile pass.
        (
            &["process.apparmor"],
            !theirs.apparmor.is_empty() && (apparmor.is_empty() || beyond(apparmor, &theirs.apparmor, PartialEq::eq)),
        ),
        (&["process.selinux", "linux.mount-label"], beyond(selinux, &theirs.selinux, PartialEq::eq)),
        (&["task.rootfs"], beyond(rootfs, &theirs.rootfs, |one, other| one.starts_with(other))),
        (&["task.stdio"], beyond(stdio, &theirs.stdio, |one, other| one.starts_with(other))),
        (&["task.stdio"], beyond(loggers, &theirs.loggers, PartialEq::eq)),
        (&["res.memory", "res.unified"], is_higher(*memory, theirs.memory)),
        (&["res.cpu", "res.unified"], is_higher(*cpu, theirs.cpu)),
        (&["res.pids", "res.unified", "process.rlimits"], is_higher(*pids, theirs.pids)),
        (&["res.memory"], theirs.memory_high.is_some_and(|most| memory_high.is_none_or(|high| high.exceeds(most)))),
        // To end one process or all of them: neither is the stricter.
        (&["res.memory"], theirs.oom_group.is_some() && *oom_group != theirs.oom_group),
        (&["res.cpuset"], is_wider(cpus.as_ref(), theirs.cpus.as_ref())),
        (&["res.cpuset"], is_wider(mems.as_ref(), theirs.mems.as_ref())),
        (
            &["res.hugepages"],
            theirs.huge_pages.is_some_and(|most| huge_pages.is_none_or(|pages| is_higher(pages, most))),
        ),
        (&["res.io", "res.unified"], disks.exceeds(&theirs.disks)),
        (
            &["res.io", "res.unified"],
            theirs.disk_weight.is_some_and(|most| disk_weight.is_none_or(|weight| weight > most)),
        ),
        (&["mount.size"], is_higher(*tmpfs, theirs.tmpfs)),
        (
            &["image.registry"],
            beyond(image_repositories, &theirs.image_repositories, |one, other| other.covers_all_of(one)),
        ),
        // Here each entry takes something away.
        (&["image.labels"], beyond(&theirs.image_labels, image_labels, PartialEq::eq)),
        (
            &["image.signature"],
            !theirs.image_signers.is_empty()
                && (image_signers.is_empty() || beyond(image_signers, &theirs.image_signers, PartialEq::eq)),
        ),
        (&["image.scan"], is_laxer(image_scan, &theirs.image_scan)),
        (&["image.age"], is_older(*image_age, theirs.image_age)),
    ]
}

/// The first system call in which one profile is looser than another; a profile that cannot be read is no stricter one.
pub(crate) fn looser_calls(ours: &SeccompProfile, theirs: &SeccompProfile) -> Option<String> {
    ours.looser_than(theirs).unwrap_or_else(|error| Some(error.to_string()))
}

/// Whether one of `ours` is within none of `theirs`.
fn beyond<T>(ours: &[T], theirs: &[T], within: impl Fn(&T, &T) -> bool) -> bool {
    ours.iter().any(|one| !theirs.iter().any(|other| within(one, other)))
}

fn is_within(one: &AllowedPath, other: &AllowedPath) -> bool {
    other.covers(&one.path) && (one.read_only || !other.read_only)
}

/// `a*` stands for every annotation that begins so.
fn is_named_by(one: &String, other: &String) -> bool {
    one == other || other.strip_suffix('*').is_some_and(|beginning| one.starts_with(beginning))
}

/// Without a set of their own, all CPUs or nodes are theirs.
fn is_wider(ours: Option<&NumberSet>, theirs: Option<&NumberSet>) -> bool {
    theirs.is_some_and(|theirs| ours.is_none_or(|ours| !ours.is_within(theirs)))
}

fn is_laxer(ours: &ScanSettings, theirs: &ScanSettings) -> bool {
    ours.severity > theirs.severity
        || beyond(&ours.ignore, &theirs.ignore, PartialEq::eq)
        || is_older(ours.max_age, theirs.max_age)
}

/// Without a number of days, any age will do.
fn is_older(ours: Option<u32>, theirs: Option<u32>) -> bool {
    theirs.is_some_and(|most| ours.is_none_or(|days| days > most))
}

fn is_higher(ours: Ceiling, theirs: Ceiling) -> bool {
    ours.max > theirs.max || ours.default > theirs.default
}
