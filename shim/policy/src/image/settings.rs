//! The table `[images]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// What the policy says of images as a whole; what is demanded of them the rules of a profile say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSettings {
    /// Whether images are looked up and put on record where no rule asks for them.
    pub record: bool,
    /// Absolute path of the program that asks containerd.
    pub resolver: PathBuf,
    /// Longest time that it may take.
    pub deadline: Duration,
    /// What becomes of an image that could not be looked at.
    pub on_error: OnError,
    /// File of denied digests.
    pub denied: Option<PathBuf>,
    /// File of allowed digests.
    pub allowed: Option<PathBuf>,
    /// Directory of scanners' verdicts.
    pub verdicts: Option<PathBuf>,
    /// Directory of signatures, beside those in containerd's store.
    pub signatures: Option<PathBuf>,
    /// Whether a signature must name the repository.
    pub signed_repository: bool,
    /// The keys that signatures are held against.
    pub keys: Vec<ImageKey>,
    /// The profile whose rules containerd's image verifier goes by; `None` for the default profile.
    pub verifier: Option<String>,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageKey {
    /// Its name, by which rules and records call it.
    pub name: String,
    /// PEM, `PUBLIC KEY`.
    pub pem: String,
}

/// What becomes of an image that could not be looked at, where a rule asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The container is refused, as far as the rule would.
    #[default]
    Deny,
    /// That is put on record.
    Audit,
}

impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            record: false,
            resolver: PathBuf::from("/usr/local/bin/palisade"),
            deadline: Duration::from_secs(2),
            on_error: OnError::default(),
            denied: None,
            allowed: None,
            verdicts: None,
            signatures: None,
            signed_repository: true,
            keys: Vec::new(),
            verifier: None,
        }
    }
}
