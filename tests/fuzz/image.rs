//! What comes from registries and scanners: names of images, and reports.

use palisade_policy::{ImageReference, Verdict, is_digest};

/// Any bytes as a name and as a verdict; whether they are a verdict.
pub(crate) fn image(bytes: &[u8]) -> bool {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(name) = ImageReference::parse(text)
    {
        let again = ImageReference::parse(&name.to_string()).unwrap();
        assert_eq!(again, name);
    }
    let Ok(verdict) = Verdict::read(bytes) else { return false };
    assert!(!verdict.digests.is_empty() && verdict.digests.iter().all(|digest| is_digest(digest)));
    let text = serde_json::to_string(&verdict).unwrap();
    // What the shim is told.
    assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
    true
}
