//! What was found of the image that a container is made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::verdict::Verdict;
use crate::task::RootfsMount;

/// What comes of asking for a container's image.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum ImageAnswer {
    /// Nobody asked, since nothing in the policy goes by it.
    #[default]
    NotAsked,
    /// There is nobody to ask: a specification is looked at without its container. Rules about images say nothing.
    Offline,
    /// It could not be found out.
    Unknown(String),
    /// It is known.
    Known(Box<ImageFacts>),
}

/// What containerd has of the image. A newer resolver may tell more than an older shim knows: what is not known is left out. Digests are `sha256:` and 64 digits, and each is that of the bytes that were read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ImageFacts {
    /// Its name in containerd's store.
    pub name: String,
    /// What that name leads to: an index, or a manifest.
    pub digest: String,
    /// The manifest of this platform; empty where it was not read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub manifest: String,
    /// Its configuration; empty where it was not read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub config: String,
    /// The labels of the configuration.
    #[serde(default)]
    pub labels: Looked<BTreeMap<String, String>>,
    /// When it was built, as the configuration says: RFC 3339, empty where it says nothing.
    #[serde(default)]
    pub created: Looked<String>,
    /// The mounts of the container's snapshot, which was found to have the image's layers and nothing else below it.
    #[serde(default)]
    pub mounts: Looked<Vec<ImageMount>>,
    /// What the list of denied digests says of it: an empty text where it only lists it, nothing where it does not.
    #[serde(default)]
    pub denied: Looked<Option<String>>,
    /// Whether the list of allowed digests has it.
    #[serde(default)]
    pub allowed: Looked<bool>,
    /// What scanners say.
    #[serde(default)]
    pub verdicts: Looked<Vec<Verdict>>,
    /// The signatures that hold.
    #[serde(default)]
    pub signatures: Looked<Vec<Signed>>,
}

/// A part of the facts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Looked<T> {
    /// Nobody looked.
    #[default]
    Not,
    /// It is this.
    Seen(T),
    /// It could not be looked at.
    Failed(String),
}

/// One mount of a snapshot (containerd `types.Mount`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageMount {
    /// Filesystem type.
    pub kind: String,
    /// Source.
    pub source: String,
    /// Options.
    pub options: Vec<String>,
}

/// A signature over the image's digest that one of the policy's keys has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The key's name in the policy.
    pub key: String,
    /// The repository that is signed with it; `None` where the form of the signature has no place for it.
    pub repository: Option<String>,
}

/// What is put on record of the image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ImageRecord {
    /// Its name in containerd's store.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What that name leads to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// The manifest of this platform.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifest: String,
    /// The configuration.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub config: String,
    /// Names of the keys that have signed it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signed_by: Vec<String>,
    /// Why nothing is known of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unknown: String,
}

impl ImageAnswer {
    /// The digest of what runs; empty where that is not certain.
    #[must_use]
    pub fn digest_of(&self, rootfs: &[RootfsMount<'_>]) -> String {
        match self {
            Self::Known(facts) if facts.is_made_of(rootfs).is_ok() => facts.digest.clone(),
            Self::Known(_) | Self::NotAsked | Self::Offline | Self::Unknown(_) => String::new(),
        }
    }

    /// For the record; `None` where nobody asked.
    pub(crate) fn record(&self) -> Option<ImageRecord> {
        match self {
            Self::NotAsked | Self::Offline => None,
            Self::Unknown(why) => {
                Some(ImageRecord { unknown: crate::secrets::redact_text(why), ..ImageRecord::default() })
            }
            Self::Known(facts) => Some(facts.record()),
        }
    }
}

impl ImageFacts {
    /// The snapshot that was found to be the image's must be what is mounted.
    pub(crate) fn is_made_of(&self, rootfs: &[RootfsMount<'_>]) -> Result<(), &'static str> {
        let Looked::Seen(mounts) = &self.mounts else { return Err("nobody looked at the container's snapshot") };
        if mounts.is_empty() {
            return Err("the container has no snapshot of an image");
        }
        let same = mounts.len() == rootfs.len() && mounts.iter().zip(rootfs).all(|(seen, asked)| seen.is(asked));
        if same { Ok(()) } else { Err("the root filesystem is another than the container's snapshot") }
    }

    /// The digests by which others may speak of it.
    #[must_use]
    pub fn digests(&self) -> Vec<&str> {
        let all = [&self.digest, &self.manifest, &self.config];
        all.into_iter().map(String::as_str).filter(|digest| !digest.is_empty()).collect()
    }

    fn record(&self) -> ImageRecord {
        let mut signed_by: Vec<String> = match &self.signatures {
            Looked::Seen(all) => all.iter().map(|signed| signed.key.clone()).collect(),
            Looked::Not | Looked::Failed(_) => Vec::new(),
        };
        signed_by.sort();
        signed_by.dedup();
        ImageRecord {
            name: self.name.clone(),
            digest: self.digest.clone(),
            manifest: self.manifest.clone(),
            config: self.config.clone(),
            signed_by,
            unknown: String::new(),
        }
    }
}

impl ImageMount {
    /// containerd's client adds the SELinux label of the container to what the snapshotter says.
    fn is(&self, asked: &RootfsMount<'_>) -> bool {
        let plain = |options: &[String]| -> Vec<String> {
            options.iter().filter(|option| !is_label(option)).cloned().collect()
        };
        self.kind == asked.kind && self.source == asked.source && plain(&self.options) == plain(asked.options)
    }
}

/// One label and nothing behind it. Source: selinux `label.FormatMountLabel`.
fn is_label(option: &str) -> bool {
    let label = option.strip_prefix("context=\"").and_then(|rest| rest.strip_suffix('"'));
    label.is_some_and(|label| !label.contains('"'))
}
