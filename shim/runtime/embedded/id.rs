//! The name of a container, which is also the name of its state directory.

use std::fmt;
use std::path::Path;

use thiserror::Error;

/// Longest name, in bytes: NAME_MAX, because it becomes a directory.
const MAX_BYTES: usize = 255;

/// A container id that is safe as one path component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContainerId(String);

/// Why a string is no container id.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("container id {id:?} must be 1 to 255 of [A-Za-z0-9_+.-] and not . or ..")]
pub(super) struct InvalidId {
    id: String,
}

impl ContainerId {
    /// The alphabet is runc's.
    pub(super) fn new(id: &str) -> Result<Self, InvalidId> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
        let well_formed = !id.is_empty() && id.len() <= MAX_BYTES && id.bytes().all(legal);
        if !well_formed || id == "." || id == ".." {
            return Err(InvalidId { id: id.to_owned() });
        }
        Ok(Self(id.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<Path> for ContainerId {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_path_component() {
        for id in ["", ".", "..", "a/b", "../x", "a b", "ä", "a\0", &"x".repeat(256)] {
            assert!(ContainerId::new(id).is_err(), "{id:?}");
        }
        for id in ["a", "k8s_+-.x", "...", &"x".repeat(255)] {
            assert_eq!(ContainerId::new(id).unwrap().as_str(), id);
        }
    }
}
