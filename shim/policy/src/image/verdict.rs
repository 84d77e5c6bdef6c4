//! What scanners say of an image: this project's own form, and the reports of Trivy and Grype.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::reference::is_digest;
use super::{grype, trivy};
use crate::day::Day;

/// Vulnerabilities that are told one by one, the worst first.
const MAX_VULNERABILITIES: usize = 512;
/// Longest name, id or reason that is taken over, in bytes.
const MAX_TEXT: usize = 120;

/// What one file says of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Who says it.
    pub scanner: String,
    /// The digests that it is about.
    pub digests: Vec<String>,
    /// The day on which it was made, `2027-03-01`; `None` where it says nothing.
    pub made: Option<String>,
    /// The last day on which it counts; `None` where it says nothing.
    pub until: Option<String>,
    /// What it says.
    pub outcome: Outcome,
}

/// What a verdict says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The image may run.
    Pass,
    /// It may not, for this reason.
    Fail(String),
    /// It has these.
    Found(Vulnerable),
}

/// The vulnerabilities of an image.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Vulnerable {
    /// The worst ones, each id once.
    pub worst: Vec<Vulnerability>,
    /// The severity of the worst one that is not among them.
    pub beyond: Option<Severity>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vulnerability {
    /// `CVE-2024-1234`, or a scanner's own id.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
}

/// In the order of what they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The scanner does not know.
    Unknown,
    /// Of no consequence.
    Negligible,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

/// Why a file is no verdict.
#[derive(Debug, Error)]
pub enum VerdictError {
    /// It is not JSON, or not of the form that it begins with.
    #[error("is not understood")]
    Json(#[from] serde_json::Error),
    /// It is of none of the forms.
    #[error("is no verdict, and no report of Trivy or Grype about an image")]
    Form,
    /// It names no image.
    #[error("names no digest")]
    NoDigest,
    /// A severity that no scanner has.
    #[error("has a severity that is not known")]
    Severity,
    /// A date that is none.
    #[error("has a date that is none")]
    Date,
}

/// This project's own form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    digest: OneOrMore,
    verdict: Word,
    until: String,
    #[serde(default)]
    made: Option<String>,
    scanner: String,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Pass,
    Fail,
}

impl Verdict {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`VerdictError`]; what is not understood is no verdict.
    pub fn read(bytes: &[u8]) -> Result<Self, VerdictError> {
        let document: Value = serde_json::from_slice(bytes)?;
        let verdict = match &document {
            Value::Object(keys) if keys.contains_key("verdict") => own(serde_json::from_value(document)?)?,
            Value::Object(keys) if keys.contains_key("SchemaVersion") => trivy::read(document)?,
            Value::Object(keys) if keys.contains_key("matches") => grype::read(document)?,
            _ => return Err(VerdictError::Form),
        };
        if verdict.digests.is_empty() || !verdict.digests.iter().all(|digest| is_digest(digest)) {
            return Err(VerdictError::NoDigest);
        }
        Ok(verdict)
    }
}

fn own(own: Own) -> Result<Verdict, VerdictError> {
    let day = |text: String| Day::from_iso(&text).map(|_| text).ok_or(VerdictError::Date);
    Ok(Verdict {
        scanner: short(&own.scanner),
        digests: match own.digest {
            OneOrMore::One(digest) => vec![digest],
            OneOrMore::More(digests) => digests,
        },
        made: own.made.map(day).transpose()?,
        until: Some(day(own.until)?),
        outcome: match own.verdict {
            Word::Pass => Outcome::Pass,
            Word::Fail => Outcome::Fail(short(&own.reason)),
        },
    })
}

/// The day, in UTC, of a moment as RFC 3339 has it.
pub(super) fn day_of(moment: &str) -> Result<String, VerdictError> {
    let moment = DateTime::parse_from_rfc3339(moment).map_err(|_| VerdictError::Date)?;
    Ok(moment.to_utc().format("%Y-%m-%d").to_string())
}

pub(super) fn severity(word: &str) -> Result<Severity, VerdictError> {
    match word.to_ascii_lowercase().as_str() {
        "unknown" | "" => Ok(Severity::Unknown),
        "negligible" => Ok(Severity::Negligible),
        "low" => Ok(Severity::Low),
        "medium" => Ok(Severity::Medium),
        "high" => Ok(Severity::High),
        "critical" => Ok(Severity::Critical),
        _ => Err(VerdictError::Severity),
    }
}

/// The digest at the end of `repository@digest`.
pub(super) fn digest_of(reference: &str) -> Option<String> {
    reference.rsplit_once('@').map(|(_, digest)| digest.to_owned())
}

/// What was found, each id with the worst severity that it has in any package.
pub(super) fn vulnerable(found: impl IntoIterator<Item = (String, Severity)>) -> Vulnerable {
    let mut by_id: BTreeMap<String, Severity> = BTreeMap::new();
    for (id, severity) in found {
        let known = by_id.entry(short(&id)).or_insert(severity);
        *known = severity.max(*known);
    }
    let mut all: Vec<Vulnerability> = by_id.into_iter().map(|(id, severity)| Vulnerability { id, severity }).collect();
    all.sort_by(|one, other| other.severity.cmp(&one.severity).then_with(|| one.id.cmp(&other.id)));
    let beyond = all.get(MAX_VULNERABILITIES).map(|next| next.severity);
    all.truncate(MAX_VULNERABILITIES);
    Vulnerable { worst: all, beyond }
}

pub(super) fn short(text: &str) -> String {
    crate::decision::crop(text, MAX_TEXT)
}

impl Severity {
    /// As the policy file writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Negligible => "negligible",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn read(document: &Value) -> Result<Verdict, VerdictError> {
        Verdict::read(document.to_string().as_bytes())
    }

    fn ids(verdict: &Verdict) -> Vec<(&str, Severity)> {
        let Outcome::Found(found) = &verdict.outcome else { panic!("{verdict:?}") };
        found.worst.iter().map(|one| (one.id.as_str(), one.severity)).collect()
    }

    #[test]
    fn the_own_form_is_strict() {
        let whole = json!({"digest": digest('a'), "verdict": "pass", "until": "2027-01-31", "scanner": "ci"});
        let verdict = read(&whole).unwrap();
        assert_eq!((verdict.until.as_deref(), &verdict.outcome), (Some("2027-01-31"), &Outcome::Pass));
        let fail = json!({"digest": [digest('a'), digest('b')], "verdict": "fail", "until": "2027-01-31", "scanner": "ci", "reason": "no"});
        assert_eq!(read(&fail).unwrap().outcome, Outcome::Fail("no".into()));
        for (key, value) in [
            ("until", json!("soon")),
            ("until", json!(null)),
            ("digest", json!("sha256:0")),
            ("digest", json!([])),
            ("verdict", json!("PASS")),
            ("verdicts", json!(1)),
            ("scanner", json!(null)),
        ] {
            let mut changed = whole.clone();
            changed[key] = value;
            assert!(read(&changed).is_err(), "{changed}");
        }
        assert!(Verdict::read(b"{").is_err());
        assert!(read(&json!([])).is_err());
    }

    #[test]
    fn a_report_of_trivy_is_read_as_it_is() {
        // Source of the form: Trivy `pkg/types/report.go`.
        let report = json!({
            "SchemaVersion": 2,
            "CreatedAt": "2026-11-20T23:30:00.5-05:00",
            "ArtifactName": "registry.example/app:1",
            "ArtifactType": "container_image",
            "Metadata": {"OS": {"Family": "debian"}, "ImageID": digest('c'), "RepoDigests": [format!("registry.example/app@{}", digest('d'))]},
            "Results": [
                {"Target": "app (debian)", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": [
                    {"VulnerabilityID": "CVE-2026-1", "PkgName": "a", "InstalledVersion": "1", "FixedVersion": "2", "Severity": "LOW"},
                    {"VulnerabilityID": "CVE-2026-1", "PkgName": "b", "InstalledVersion": "1", "Severity": "HIGH"}]},
                {"Target": "key.pem", "Class": "secret", "Secrets": [{"RuleID": "private-key", "Severity": "CRITICAL", "Match": "***"}]},
                {"Target": "app/go.mod", "Class": "lang-pkgs"}
            ]
        });
        let verdict = read(&report).unwrap();
        assert_eq!((verdict.scanner.as_str(), verdict.made.as_deref()), ("trivy", Some("2026-11-21")));
        assert_eq!(verdict.digests, [digest('c'), digest('d')]);
        assert_eq!(ids(&verdict), [("private-key", Severity::Critical), ("CVE-2026-1", Severity::High)]);
        let mut filesystem = report.clone();
        filesystem["ArtifactType"] = json!("filesystem");
        assert!(matches!(read(&filesystem), Err(VerdictError::Form)));
        let mut strange = report.clone();
        strange["Results"][0]["Vulnerabilities"][0]["Severity"] = json!("SEVERE");
        assert!(matches!(read(&strange), Err(VerdictError::Severity)));
        let mut nameless = report;
        nameless["Metadata"] = json!({});
        assert!(matches!(read(&nameless), Err(VerdictError::NoDigest)));
    }

    #[test]
    fn a_report_of_grype_is_read_as_it_is() {
        // Source of the form: Grype `grype/presenter/models/document.go`.
        let report = json!({
            "matches": [
                {"vulnerability": {"id": "CVE-2026-2", "severity": "Negligible", "fix": {"versions": [], "state": "unknown"}}, "artifact": {"name": "a"}},
                {"vulnerability": {"id": "GHSA-x", "severity": "Critical", "fix": {"versions": ["2"], "state": "fixed"}}, "artifact": {"name": "b"}}],
            "ignoredMatches": [{"vulnerability": {"id": "CVE-2026-3", "severity": "Critical"}}],
            "source": {"type": "image", "target": {"userInput": "registry.example/app:1", "imageID": digest('c'), "manifestDigest": digest('e'),
                "repoDigests": [format!("registry.example/app@{}", digest('d'))]}},
            "descriptor": {"name": "grype", "version": "0.90.0", "timestamp": "2026-11-20T10:00:00Z"}
        });
        let verdict = read(&report).unwrap();
        assert_eq!((verdict.scanner.as_str(), verdict.made.as_deref()), ("grype", Some("2026-11-20")));
        assert_eq!(verdict.digests, [digest('c'), digest('e'), digest('d')]);
        assert_eq!(ids(&verdict), [("GHSA-x", Severity::Critical), ("CVE-2026-2", Severity::Negligible)]);
        let mut directory = report;
        directory["source"] = json!({"type": "directory", "target": "/srv"});
        assert!(read(&directory).is_err());
    }

    #[test]
    fn what_is_left_off_is_told_by_its_worst() {
        let many = (0..600).map(|at| (format!("CVE-{at}"), if at < 520 { Severity::High } else { Severity::Low }));
        let found = vulnerable(many);
        assert_eq!((found.worst.len(), found.beyond), (512, Some(Severity::High)));
        assert_eq!(vulnerable([]).beyond, None);
    }
}
