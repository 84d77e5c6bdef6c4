//! What a policy lets through that another did not, beside what its profiles say: which of them judges whom, who is exempt, and the rest of the file.

use std::fmt;

use crate::audit::AuditSettings;
use crate::image::{ImageKey, ImageSettings, OnError};
use crate::node::NodePaths;
use crate::policy::{Policy, RuntimeChoice, SeccompSettings};
use crate::profile::Profile;
use crate::scope::Scope;

/// In what two policies differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyDifference {
    /// What is different, in a line.
    pub what: String,
    /// Whether something may pass, or go unseen, that did not.
    pub looser: bool,
}

impl fmt::Display for PolicyDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.looser { "LOOSER, " } else { "" })?;
        f.write_str(&self.what)
    }
}

/// An entry that selects, or the default, which covers all that is left.
struct Choice<'a> {
    name: &'a str,
    scope: Option<&'a Scope>,
    profile: &'a Profile,
}

impl Policy {
    /// In what this policy differs from an older one beside the content of profiles ([`Policy::looser_than`]). Whether an entry reaches containers that another one covered is
    /// decided entry by entry: what only several others cover together is taken to be reached.
    #[must_use]
    pub fn differences_from(&self, old: &Self) -> Vec<PolicyDifference> {
        let mut all = self.differences_of_choice(old);
        all.extend(self.differences_of_exemptions(old));
        all.extend(self.differences_of_settings(old));
        all
    }

    fn choices(&self) -> Vec<Choice<'_>> {
        let entries = self.selectors.iter().map(|selector| Choice {
            name: &selector.name,
            scope: Some(&selector.scope),
            profile: self.find(&selector.profile),
        });
        entries.chain([Choice { name: "profile", scope: None, profile: self.selected() }]).collect()
    }

    fn differences_of_choice(&self, old: &Self) -> Vec<PolicyDifference> {
        let (now, before) = (self.choices(), old.choices());
        let mut found = Vec::new();
        for (i, ours) in now.iter().enumerate() {
            for (j, theirs) in before.iter().enumerate() {
                // What a profile of the same name has become is told of that profile.
                if ours.profile.name() == theirs.profile.name() || !meet(ours, theirs) {
                    continue;
                }
                let earlier = now.iter().take(i).chain(before.iter().take(j));
                if earlier.into_iter().any(|other| covers_both(other, ours, theirs)) {
                    continue;
                }
                let why = ours.profile.looser_than(theirs.profile);
                found.push(PolicyDifference {
                    what: format!(
                        "{} ({}): {} -> {}{}",
                        ours.name,
                        shown(ours, theirs),
                        theirs.profile.name(),
                        ours.profile.name(),
                        why.as_deref().map(|why| format!(", {why}")).unwrap_or_default()
                    ),
                    looser: why.is_some(),
                });
            }
        }
        found
    }

    fn differences_of_exemptions(&self, old: &Self) -> Vec<PolicyDifference> {
        let is_among = |policy: &Self, one: &crate::exemption::Exemption| {
            let mut all = policy.exemptions.iter();
            all.any(|other| other.rule == one.rule && other.scope == one.scope && one.expires <= other.expires)
        };
        let told = |one: &crate::exemption::Exemption, verb: &str, looser| PolicyDifference {
            what: format!("exemption from {} for {} until {}: {verb}", one.rule, one.scope, one.expires),
            looser,
        };
        let new = self.exemptions.iter().filter(|one| !is_among(old, one)).map(|one| told(one, "new", true));
        let gone = old.exemptions.iter().filter(|one| !is_among(self, one)).map(|one| told(one, "gone", false));
        new.chain(gone).collect()
    }

    fn differences_of_settings(&self, old: &Self) -> Vec<PolicyDifference> {
        // What is added to these has to be compared here before it compiles. Library and mitigations show in the profiles.
        let Self { runtime: _, runtime_deadline: _, audit, seccomp, node, images, .. } = self;
        let AuditSettings { path: _, max_bytes: _, keep: _, sink: _, chain: _, sync: _, attested: _ } = audit;
        let SeccompSettings { report: _, records: _ } = seccomp;
        let NodePaths { containerd_roots: _, kubelet_roots: _ } = node;
        let ImageSettings {
            record: _,
            resolver: _,
            deadline: _,
            on_error: _,
            denied: _,
            allowed: _,
            verdicts: _,
            signatures: _,
            signed_repository: _,
            keys: _,
            verifier: _,
        } = images;
        let runtime = |policy: &Self| match &policy.runtime {
            RuntimeChoice::Embedded => "embedded".to_owned(),
            RuntimeChoice::Binary(path) => path.display().to_string(),
        };
        let were = &old.audit;
        let had = &old.images;
        let is_new =
            |now: &[std::path::PathBuf], before: &[std::path::PathBuf]| now.iter().any(|one| !before.contains(one));
        let roots = |policy: &Self| (policy.node.containerd_roots.clone(), policy.node.kubelet_roots.clone());
        let has_new_root = is_new(&self.node.containerd_roots, &old.node.containerd_roots)
            || is_new(&self.node.kubelet_roots, &old.node.kubelet_roots);
        let lists = |policy: &Self| {
            let images = &policy.images;
            [images.denied.clone(), images.allowed.clone(), images.verdicts.clone(), images.signatures.clone()]
        };
        let lost =
            (were.sink.has_file() && !audit.sink.has_file()) || (were.sink.has_journal() && !audit.sink.has_journal());
        // With what: as it was, as it is, and whether the second may let more pass or leaves less to see.
        [
            changed("runtime.binary", &runtime(old), &runtime(self), self.runtime != RuntimeChoice::Embedded),
            changed("runtime.deadline", &old.runtime_deadline, &self.runtime_deadline, false),
            // Whoever reads the one may not read the other.
            changed("audit.path", &were.path, &audit.path, were.sink.has_file()),
            changed("audit.sink", &were.sink, &audit.sink, lost),
            changed("audit.max_bytes", &were.max_bytes, &audit.max_bytes, audit.max_bytes < were.max_bytes),
            changed("audit.keep", &were.keep, &audit.keep, audit.keep < were.keep),
            changed("audit.chain", &were.chain, &audit.chain, were.chain),
            changed("audit.sync", &were.sync, &audit.sync, were.sync),
            changed("audit.attested", &were.attested, &audit.attested, were.attested),
            changed("seccomp.records", &old.seccomp.records, &self.seccomp.records, false),
            changed("seccomp.report", &old.seccomp.report, &self.seccomp.report, old.seccomp.report),
            changed("node roots", &roots(old), &roots(self), has_new_root),
            changed("images.record", &had.record, &images.record, had.record),
            changed("images.deadline", &had.deadline, &images.deadline, false),
            changed("images.resolver", &had.resolver, &images.resolver, true),
            changed("images.on_error", &had.on_error, &images.on_error, images.on_error == OnError::Audit),
            changed(
                "images.signed_repository",
                &had.signed_repository,
                &images.signed_repository,
                had.signed_repository,
            ),
            changed("images' lists", &lists(old), &lists(self), true),
            changed_keys(&images.keys, &had.keys),
            changed("images.verifier", &had.verifier, &images.verifier, true),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn changed<T: PartialEq + fmt::Debug>(key: &str, before: &T, now: &T, looser: bool) -> Option<PolicyDifference> {
    (before != now).then(|| PolicyDifference { what: format!("{key}: {before:?} -> {now:?}"), looser })
}

/// By their names: a key itself says nothing to a reader.
fn changed_keys(now: &[ImageKey], before: &[ImageKey]) -> Option<PolicyDifference> {
    let names = |keys: &[ImageKey]| keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>().join(", ");
    (now != before).then(|| PolicyDifference {
        what: format!("images.keys: {} -> {}", names(before), names(now)),
        looser: now.iter().any(|key| !before.contains(key)),
    })
}

/// Whether a container can be covered by both.
fn meet(one: &Choice<'_>, other: &Choice<'_>) -> bool {
    match (one.scope, other.scope) {
        (Some(one), Some(other)) => one.meets(other),
        _ => true,
    }
}

/// Whether an entry covers every container that both of the others cover.
fn covers_both(entry: &Choice<'_>, one: &Choice<'_>, other: &Choice<'_>) -> bool {
    entry.scope.is_none_or(|scope| scope.covers_all_of([one.scope, other.scope]))
}

fn shown(one: &Choice<'_>, other: &Choice<'_>) -> String {
    match (one.scope, other.scope) {
        (Some(one), Some(other)) if one != other => format!("{one}, {other}"),
        (Some(scope), _) | (None, Some(scope)) => scope.to_string(),
        (None, None) => "all others".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::{ContainerKind, Identity};
    use crate::scope::Candidate;

    fn policy(text: &str) -> Policy {
        Policy::from_toml(text).unwrap()
    }

    fn told(old: &str, new: &str) -> Vec<(bool, String)> {
        let found = policy(new).differences_from(&policy(old));
        found.into_iter().map(|difference| (difference.looser, difference.what)).collect()
    }

    #[test]
    fn another_default_is_told() {
        let found = told("", "profile = \"baseline\"");
        assert!(
            matches!(found.as_slice(), [(true, what)] if what.starts_with("profile (all others): restricted -> baseline, ")),
            "{found:?}"
        );
        let found = told("profile = \"baseline\"", "");
        assert_eq!(found, [(false, "profile (all others): baseline -> restricted".to_owned())]);
        assert_eq!(told("", ""), []);
    }

    #[test]
    fn who_gets_another_profile_is_told() {
        let entry = |namespace: &str, profile: &str| {
            format!("[[select]]\nnamespace = \"{namespace}\"\nprofile = \"{profile}\"\n")
        };
        let (old, new) = (entry("a-*", "baseline"), entry("a-1", "privileged") + &entry("a-*", "baseline"));
        let found = told(&old, &new);
        assert!(
            matches!(found.as_slice(), [(true, what)] if what.contains("namespace=a-1") && what.contains("baseline -> privileged")),
            "{found:?}"
        );
        assert!(told(&new, &old).iter().all(|(looser, _)| !looser));
        assert_eq!(told(&old, &old), []);
        // What goes away falls to the default.
        let found = told(&entry("a", "restricted"), "profile = \"restricted\"");
        assert_eq!(found, []);
    }

    #[test]
    fn exemptions_and_settings_are_told() {
        let exempt = |day: &str| {
            format!("[[exempt]]\nrule = \"linux.sysctl\"\nnamespace = \"db\"\nreason = \"r\"\nexpires = \"{day}\"\n")
        };
        let (sooner, later) = (exempt("2027-01-01"), exempt("2027-02-01"));
        assert!(told(&sooner, &later).iter().any(|(looser, what)| *looser && what.contains("2027-02-01")));
        assert!(told(&later, &sooner).iter().all(|(looser, _)| !looser));
        for (old, new, looser) in [
            ("[audit]\nchain = true", "", true),
            ("", "[audit]\nchain = true", false),
            ("", "[audit]\npath = \"/srv/a.jsonl\"", true),
            ("[audit]\nsink = \"both\"", "[audit]\nsink = \"file\"", true),
            ("", "[audit]\nsink = \"both\"", false),
            ("", "[runtime]\ndeadline = 30", false),
            ("", "[seccomp]\nrecords = \"/srv/calls\"", false),
            ("", "[runtime]\nbinary = \"/usr/sbin/runc\"", true),
            ("", "[images]\non_error = \"audit\"", true),
            ("", "[node]\nkubelet_roots = [\"/srv/kubelet\"]", true),
            ("[seccomp]\nreport = true", "[seccomp]\nreport = false", true),
        ] {
            let found = told(old, new);
            assert!(matches!(found.as_slice(), [(is, _)] if *is == looser), "{new}: {found:?}");
        }
    }

    /// Entries as text, and everybody whom they can be about.
    fn file() -> impl Strategy<Value = String> {
        let pattern = prop_oneof![Just("a"), Just("a*"), Just("ab"), Just("ab*"), Just("b"), Just("*")];
        let profile = prop_oneof![Just("restricted"), Just("baseline"), Just("privileged")];
        let sandbox = prop_oneof![Just(""), Just("sandbox = true\n"), Just("sandbox = false\n")];
        let entry = (pattern.clone(), prop::option::of(pattern), sandbox, profile.clone());
        (profile, prop::collection::vec(entry, 0..4)).prop_map(|(default, entries)| {
            let entries = entries.into_iter().map(|(namespace, pod, sandbox, profile)| {
                let pod = pod.map(|pod| format!("pod = \"{pod}\"\n")).unwrap_or_default();
                format!("[[select]]\nnamespace = \"{namespace}\"\n{pod}{sandbox}profile = \"{profile}\"\n")
            });
            format!("profile = \"{default}\"\n{}", entries.collect::<String>())
        })
    }

    proptest! {
        /// Whatever was not told to be looser is looser for nobody.
        #[test]
        fn nobody_gets_more_unseen((old, new) in (file(), file())) {
            let (before, now) = (policy(&old), policy(&new));
            let looser = now.differences_from(&before).iter().any(|difference| difference.looser);
            let mut is = false;
            for namespace in ["", "a", "ab", "abc", "b", "c"] {
                for pod in ["", "a", "ab", "b", "c"] {
                    for kind in [ContainerKind::Sandbox, ContainerKind::Container] {
                        let identity = Identity { kind, pod_namespace: namespace.to_owned(), pod_name: pod.to_owned(), ..Identity::default() };
                        let candidate = Candidate::of_grant(&identity);
                        let (was, gets) = (before.select(candidate).profile, now.select(candidate).profile);
                        is |= gets.looser_than(&was).is_some();
                    }
                }
            }
            prop_assert!(looser || !is, "{old}\n{new}");
        }

        #[test]
        fn a_policy_differs_in_nothing_from_itself(file in file()) {
            prop_assert_eq!(policy(&file).differences_from(&policy(&file)), []);
        }
    }
}
