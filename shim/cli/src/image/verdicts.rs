//! The directory of scanners' verdicts. A file is called after the digest that it is about, `sha256-<hex>.json` or `sha256-<hex>.<word>.json`, so
//! that a directory of thousands costs no more than its listing; that it is about that image, its content has to say as well.

use std::path::Path;

use palisade::gate::{admins_file, admins_files};
use palisade_policy::{ImageFacts, ImageSettings, Looked, Verdict};

use super::error::{ImageError, shown};

/// Longest report, in bytes.
const MAX_REPORT: u64 = 32 << 20;
/// Most files about one image.
const MAX_FILES: usize = 8;

pub(super) fn look(facts: &mut ImageFacts, settings: &ImageSettings) {
    let Some(dir) = &settings.verdicts else { return };
    facts.verdicts = match verdicts_in(dir, &facts.digests()) {
        Ok(verdicts) => Looked::Seen(verdicts),
        Err(error) => Looked::Failed(error.chain()),
    };
}

fn verdicts_in(dir: &Path, digests: &[&str]) -> Result<Vec<Verdict>, ImageError> {
    if !dir.is_dir() {
        return Err(ImageError::Missing { path: shown(dir) });
    }
    let mut verdicts = Vec::new();
    for digest in digests {
        let prefix = format!("{}.", digest.replace(':', "-"));
        for path in admins_files(dir, &prefix)? {
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let verdict = read(&path)?;
            if !verdict.digests.iter().any(|about| digests.contains(&about.as_str())) {
                return Err(ImageError::OtherImage { path: shown(&path) });
            }
            verdicts.push(verdict);
            if verdicts.len() > MAX_FILES {
                return Err(ImageError::TooMany { what: "verdicts", most: MAX_FILES });
            }
        }
    }
    Ok(verdicts)
}

fn read(path: &Path) -> Result<Verdict, ImageError> {
    let shown = || shown(path);
    let bytes = admins_file(path, MAX_REPORT)?.ok_or_else(|| ImageError::Missing { path: shown() })?;
    let mut verdict = Verdict::read(&bytes).map_err(|source| ImageError::Verdict { path: shown(), source })?;
    // A report can name many more than are asked about.
    verdict.digests.truncate(MAX_FILES);
    Ok(verdict)
}
