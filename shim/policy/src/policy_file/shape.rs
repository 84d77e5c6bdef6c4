//! The file's tables. An unknown key anywhere is an error.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use crate::action::{Action, Mode};
use crate::audit::AuditSink;
use crate::image::{OnError, Severity};
use crate::rules::Setting;

type Words = Spanned<Vec<Spanned<String>>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) version: Option<Spanned<u32>>,
    pub(super) profile: Option<Spanned<String>>,
    pub(super) mitigations: Option<Words>,
    #[serde(default)]
    pub(super) runtime: RuntimeTable,
    #[serde(default)]
    pub(super) audit: AuditTable,
    #[serde(default)]
    pub(super) seccomp: SeccompTable,
    #[serde(default)]
    pub(super) images: ImagesTable,
    #[serde(default)]
    pub(super) node: NodeTable,
    #[serde(default)]
    pub(super) profiles: BTreeMap<Spanned<String>, ProfileTable>,
    #[serde(default)]
    pub(super) select: Vec<Spanned<SelectTable>>,
    #[serde(default)]
    pub(super) exempt: Vec<Spanned<ExemptTable>>,
}

/// An entry of `[[select]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SelectTable {
    pub(super) namespace: Option<Spanned<String>>,
    pub(super) pod: Option<Spanned<String>>,
    pub(super) container: Option<Spanned<String>>,
    pub(super) image: Option<Spanned<String>>,
    pub(super) sandbox: Option<bool>,
    pub(super) profile: Spanned<String>,
}

/// An entry of `[[exempt]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExemptTable {
    pub(super) rule: Spanned<String>,
    pub(super) namespace: Option<Spanned<String>>,
    pub(super) pod: Option<Spanned<String>>,
    pub(super) container: Option<Spanned<String>>,
    pub(super) image: Option<Spanned<String>>,
    pub(super) sandbox: Option<bool>,
    pub(super) reason: Spanned<String>,
    pub(super) expires: Spanned<Date>,
}

/// A date, as a text or as TOML's own.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a date such as \"2027-03-01\"")]
pub(super) enum Date {
    Text(String),
    Toml(toml::value::Datetime),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuntimeTable {
    pub(super) binary: Option<Spanned<String>>,
    pub(super) deadline: Option<Spanned<Quantity>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditTable {
    pub(super) path: Option<Spanned<String>>,
    pub(super) max_bytes: Option<Spanned<Quantity>>,
    pub(super) keep: Option<Spanned<u32>>,
    pub(super) sink: Option<Spanned<AuditSink>>,
    pub(super) chain: Option<Spanned<bool>>,
    pub(super) sync: Option<Spanned<bool>>,
    pub(super) attested: Option<Spanned<bool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeccompTable {
    pub(super) report: Option<Spanned<bool>>,
    pub(super) records: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImagesTable {
    pub(super) record: Option<Spanned<bool>>,
    pub(super) resolver: Option<Spanned<String>>,
    pub(super) deadline: Option<Spanned<Quantity>>,
    pub(super) on_error: Option<Spanned<OnError>>,
    pub(super) denied: Option<Spanned<String>>,
    pub(super) allowed: Option<Spanned<String>>,
    pub(super) verdicts: Option<Spanned<String>>,
    pub(super) signatures: Option<Spanned<String>>,
    pub(super) signed_repository: Option<Spanned<bool>>,
    pub(super) verifier: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) keys: BTreeMap<Spanned<String>, Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeTable {
    pub(super) containerd_roots: Option<Words>,
    pub(super) kubelet_roots: Option<Words>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileTable {
    pub(super) extends: Option<Spanned<String>>,
    pub(super) mode: Option<Mode>,
    pub(super) learn: Option<bool>,
    #[serde(default)]
    pub(super) rules: BTreeMap<Spanned<String>, RuleTable>,
}

/// The keys of all rules together; which of them a rule takes, the rule says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleTable {
    pub(super) action: Option<Spanned<Action>>,
    pub(super) allow: Option<Words>,
    pub(super) uid: Option<Spanned<u32>>,
    pub(super) gid: Option<Spanned<u32>>,
    pub(super) capabilities: Option<Words>,
    pub(super) default: Option<Spanned<Quantity>>,
    pub(super) max: Option<Spanned<Quantity>>,
    pub(super) profile: Option<Spanned<String>>,
    pub(super) high: Option<Spanned<Quantity>>,
    pub(super) oom_group: Option<Spanned<bool>>,
    pub(super) cpus: Option<Spanned<String>>,
    pub(super) mems: Option<Spanned<String>>,
    pub(super) limits: Option<Words>,
    pub(super) weight: Option<Spanned<u16>>,
    pub(super) severity: Option<Spanned<Severity>>,
    pub(super) ignore: Option<Words>,
    pub(super) max_age: Option<Spanned<Quantity>>,
    pub(super) labels: Option<Words>,
}

/// A number, or one with a unit.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a number, or a text such as \"512MiB\" or \"1500m\"")]
pub(super) enum Quantity {
    Number(u64),
    Text(String),
}

impl RuleTable {
    /// The settings that are there, and where.
    pub(super) fn present(&self) -> Vec<(Setting, Range<usize>)> {
        let all = [
            (Setting::Allow, self.allow.as_ref().map(Spanned::span)),
            (Setting::Uid, self.uid.as_ref().map(Spanned::span)),
            (Setting::Gid, self.gid.as_ref().map(Spanned::span)),
            (Setting::Capabilities, self.capabilities.as_ref().map(Spanned::span)),
            (Setting::Default, self.default.as_ref().map(Spanned::span)),
            (Setting::Max, self.max.as_ref().map(Spanned::span)),
            (Setting::Profile, self.profile.as_ref().map(Spanned::span)),
            (Setting::High, self.high.as_ref().map(Spanned::span)),
            (Setting::OomGroup, self.oom_group.as_ref().map(Spanned::span)),
            (Setting::Cpus, self.cpus.as_ref().map(Spanned::span)),
            (Setting::Mems, self.mems.as_ref().map(Spanned::span)),
            (Setting::Limits, self.limits.as_ref().map(Spanned::span)),
            (Setting::Weight, self.weight.as_ref().map(Spanned::span)),
            (Setting::Severity, self.severity.as_ref().map(Spanned::span)),
            (Setting::Ignore, self.ignore.as_ref().map(Spanned::span)),
            (Setting::MaxAge, self.max_age.as_ref().map(Spanned::span)),
            (Setting::Labels, self.labels.as_ref().map(Spanned::span)),
        ];
        all.into_iter().filter_map(|(setting, span)| Some((setting, span?))).collect()
    }
}
