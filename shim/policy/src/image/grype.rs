//! Grype's JSON report of an image. Source: Grype `grype/presenter/models/document.go`.

use serde::Deserialize;
use serde_json::Value;

use super::verdict::{Outcome, Verdict, VerdictError, day_of, digest_of, severity, vulnerable};

#[derive(Deserialize)]
struct Report {
    matches: Vec<Match>,
    source: Source,
    descriptor: Descriptor,
}

#[derive(Deserialize)]
struct Match {
    vulnerability: Found,
}

#[derive(Deserialize)]
struct Found {
    id: String,
    severity: String,
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "type")]
    kind: String,
    target: Value,
}

#[derive(Deserialize)]
struct Target {
    #[serde(rename = "imageID", default)]
    image: String,
    #[serde(rename = "manifestDigest", default)]
    manifest: String,
    #[serde(rename = "repoDigests", default)]
    digests: Vec<String>,
}

#[derive(Deserialize)]
struct Descriptor {
    name: String,
    timestamp: Option<String>,
}

pub(super) fn read(document: Value) -> Result<Verdict, VerdictError> {
    let report: Report = serde_json::from_value(document)?;
    if report.source.kind != "image" || report.descriptor.name != "grype" {
        return Err(VerdictError::Form);
    }
    let target: Target = serde_json::from_value(report.source.target)?;
    let mut digests: Vec<String> = [target.image, target.manifest].into_iter().filter(|id| !id.is_empty()).collect();
    digests.extend(target.digests.iter().filter_map(|name| digest_of(name)));
    let found =
        report.matches.into_iter().map(|one| Ok((one.vulnerability.id, severity(&one.vulnerability.severity)?)));
    Ok(Verdict {
        scanner: report.descriptor.name,
        digests,
        made: report.descriptor.timestamp.map(|moment| day_of(&moment)).transpose()?,
        until: None,
        outcome: Outcome::Found(vulnerable(found.collect::<Result<Vec<_>, VerdictError>>()?)),
    })
}
