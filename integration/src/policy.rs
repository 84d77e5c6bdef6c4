//! The policy file that the private containerd's palisade reads.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::containerd::Layout;

/// The text of a policy file; the audit log is put under the run's folder.
#[derive(Clone, Debug)]
pub struct PolicyFile {
    text: String,
    audit: Option<PathBuf>,
    auditing: String,
}

impl PolicyFile {
    /// The built-in defaults.
    #[must_use]
    pub fn defaults() -> Self {
        Self::of("")
    }

    /// These lines of TOML, which must not have an `[audit]` table.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self { text: text.to_owned(), audit: None, auditing: String::new() }
    }

    /// With the audit log at another path.
    #[must_use]
    pub fn audited_at(self, path: &Path) -> Self {
        Self { audit: Some(path.to_owned()), ..self }
    }

    /// With more lines in the `[audit]` table.
    #[must_use]
    pub fn auditing(self, lines: &str) -> Self {
        Self { auditing: lines.to_owned(), ..self }
    }

    /// Writes it, as an admin's: owned by root, mode 0644. The next container is judged by it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, layout: &Layout) -> Result<(), Failure> {
        let path = layout.policy();
        let audit = self.audit.clone().unwrap_or_else(|| layout.audit());
        let text = format!("{}\n[audit]\npath = \"{}\"\n{}\n", self.text, audit.display(), self.auditing);
        let fresh = path.with_extension("new");
        fs::write(&fresh, text).map_err(Failure::io("write", &fresh))?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644)).map_err(Failure::io("change", &fresh))?;
        fs::rename(&fresh, &path).map_err(Failure::io("replace", &path))
    }
}
