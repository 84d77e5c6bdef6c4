//! Images: how they are named, what was found of the one that a container is made of, and what the policy says of all of them.

mod facts;
mod grype;
mod pattern;
mod reference;
mod settings;
mod trivy;
mod verdict;

pub use facts::{ImageAnswer, ImageFacts, ImageMount, ImageRecord, Looked, Signed};
pub(crate) use pattern::RepositoryPattern;
pub use reference::{ImageReference, ReferenceError, is_digest};
pub use settings::{ImageKey, ImageSettings, OnError};
pub use verdict::{Outcome as VerdictOutcome, Severity, Verdict, VerdictError, Vulnerability, Vulnerable};
