//! Why a document was refused before any rule looked at it.

use crate::json::JsonError;
use crate::spec::{MAX_MOUNTS, MAX_SPEC_BYTES};

/// Why a specification, an exec process or a resource update is not read. Each variant names its place
/// as a JSON pointer; none depends on the policy, and no profile switches them off.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The document is larger than [`MAX_SPEC_BYTES`].
    #[error("the document has {size} bytes; at most {MAX_SPEC_BYTES} are read")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// It has more mounts than [`MAX_MOUNTS`].
    #[error("/mounts has {mounts} entries; at most {MAX_MOUNTS} are read")]
    TooManyMounts {
        /// How many.
        mounts: usize,
    },
    /// It is not JSON, or holds invalid UTF-8.
    #[error("not JSON at {pointer:?}")]
    Syntax {
        /// The innermost place reached.
        pointer: String,
        /// What the reader said, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A key appears twice in one object, so that two readers may see two documents.
    #[error("{pointer} appears twice")]
    DuplicateKey {
        /// The second appearance.
        pointer: String,
    },
    /// Nested deeper than any OCI document.
    #[error("{pointer} is nested too deeply")]
    TooDeep {
        /// Where the cap was reached.
        pointer: String,
    },
    /// A number with a fraction or exponent, or beyond 64 bits; no OCI field holds one.
    #[error("{pointer} is not a 64-bit integer")]
    Fraction {
        /// The number.
        pointer: String,
    },
    /// A key that OCI runtime-spec 1.3 for Linux does not define: nobody could say what it would do.
    #[error("{pointer} is not a known key of the OCI runtime specification")]
    UnknownKey {
        /// The key.
        pointer: String,
    },
    /// A section of another platform.
    #[error("{pointer} belongs to another platform than Linux")]
    Foreign {
        /// The section.
        pointer: String,
    },
    /// A capability that is not written as the kernel's headers write it, `CAP_` and upper case.
    #[error("{pointer}: {name:?} is not a capability name such as CAP_CHOWN")]
    CapabilityName {
        /// The entry.
        pointer: String,
        /// What it says.
        name: String,
    },
    /// A value of a form that another reader could take for something else.
    #[error("{pointer} holds a value that is not written in its only form")]
    Ambiguous {
        /// The value.
        pointer: String,
    },
    /// A number below zero where the specification has an unsigned one, which not every reader takes.
    #[error("{pointer} is negative")]
    Negative {
        /// The number.
        pointer: String,
    },
    /// A value of the wrong type, or a word that the specification does not define.
    #[error("{pointer} holds a wrong value ({source})")]
    Value {
        /// The innermost section that could be told.
        pointer: String,
        /// What was expected.
        source: serde_json::Error,
    },
    /// A section without which there is nothing to judge.
    #[error("{pointer} is missing")]
    Missing {
        /// The section.
        pointer: &'static str,
    },
    /// The CRI annotation holds a kind of container that CRI does not define.
    #[error("/annotations/io.kubernetes.cri.container-type is {kind:?}; known are sandbox and container")]
    ContainerKind {
        /// What it says.
        kind: String,
    },
}

impl SpecError {
    /// JSON pointer of the place.
    #[must_use]
    pub fn pointer(&self) -> &str {
        match self {
            Self::TooLarge { .. } => "",
            Self::TooManyMounts { .. } => "/mounts",
            Self::ContainerKind { .. } => "/annotations/io.kubernetes.cri.container-type",
            Self::Missing { pointer } => pointer,
            Self::Syntax { pointer, .. }
            | Self::DuplicateKey { pointer }
            | Self::TooDeep { pointer }
            | Self::Fraction { pointer }
            | Self::UnknownKey { pointer }
            | Self::Foreign { pointer }
            | Self::CapabilityName { pointer, .. }
            | Self::Ambiguous { pointer }
            | Self::Negative { pointer }
            | Self::Value { pointer, .. } => pointer,
        }
    }
}

impl From<JsonError> for SpecError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::TooLarge { size } => Self::TooLarge { size },
            JsonError::DuplicateKey { pointer } => Self::DuplicateKey { pointer },
            JsonError::TooDeep { pointer } => Self::TooDeep { pointer },
            JsonError::Fraction { pointer } => Self::Fraction { pointer },
            JsonError::Syntax { pointer, source } => Self::Syntax { pointer, source },
        }
    }
}
