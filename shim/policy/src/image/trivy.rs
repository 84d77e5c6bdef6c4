//! Trivy's JSON report of an image. Source: Trivy `pkg/types/report.go`, schema version 2.

use serde::Deserialize;
use serde_json::Value;

use super::verdict::{Outcome, Verdict, VerdictError, day_of, digest_of, severity, vulnerable};

#[derive(Deserialize)]
struct Report {
    #[serde(rename = "SchemaVersion")]
    schema: u32,
    #[serde(rename = "CreatedAt")]
    created: Option<String>,
    #[serde(rename = "ArtifactType")]
    kind: String,
    #[serde(rename = "Metadata")]
    metadata: Metadata,
    #[serde(rename = "Results", default)]
    results: Vec<Part>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "ImageID", default)]
    image: String,
    #[serde(rename = "RepoDigests", default)]
    digests: Vec<String>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "Vulnerabilities", default)]
    vulnerabilities: Vec<Found>,
    #[serde(rename = "Secrets", default)]
    secrets: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(alias = "VulnerabilityID", rename = "RuleID")]
    id: String,
    #[serde(rename = "Severity")]
    severity: String,
}

pub(super) fn read(document: Value) -> Result<Verdict, VerdictError> {
    let report: Report = serde_json::from_value(document)?;
    if report.schema != 2 || report.kind != "container_image" {
        return Err(VerdictError::Form);
    }
    let mut digests: Vec<String> = Some(report.metadata.image).filter(|id| !id.is_empty()).into_iter().collect();
    digests.extend(report.metadata.digests.iter().filter_map(|name| digest_of(name)));
    let found = report.results.into_iter().flat_map(|part| part.vulnerabilities.into_iter().chain(part.secrets));
    let found = found.map(|found| Ok((found.id, severity(&found.severity)?)));
    Ok(Verdict {
        scanner: "trivy".to_owned(),
        digests,
        made: report.created.map(|moment| day_of(&moment)).transpose()?,
        until: None,
        outcome: Outcome::Found(vulnerable(found.collect::<Result<Vec<_>, VerdictError>>()?)),
    })
}
