//! Where and how decisions are recorded.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Where records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditSink {
    /// The audit log, a file.
    #[default]
    File,
    /// systemd's journal.
    Journald,
    /// Both; a record has to reach both.
    Both,
}

impl AuditSink {
    /// Whether the file is written.
    #[must_use]
    pub fn has_file(self) -> bool {
        matches!(self, Self::File | Self::Both)
    }

    /// Whether the journal is.
    #[must_use]
    pub fn has_journal(self) -> bool {
        matches!(self, Self::Journald | Self::Both)
    }
}

/// The policy file's `[audit]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    pub(crate) path: PathBuf,
    pub(crate) max_bytes: u64,
    pub(crate) keep: u32,
    pub(crate) sink: AuditSink,
    pub(crate) chain: bool,
    pub(crate) sync: bool,
    pub(crate) attested: bool,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/var/log/palisade/audit.jsonl"),
            max_bytes: 64 << 20,
            keep: 4,
            sink: AuditSink::File,
            chain: false,
            sync: false,
            attested: false,
        }
    }
}

impl AuditSettings {
    /// Absolute path of the log; `/var/log/palisade/audit.jsonl` by default.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size in bytes at which the log is rotated; 64 MiB by default.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// How many rotated files are kept; 4 by default, never 0.
    #[must_use]
    pub fn keep(&self) -> u32 {
        self.keep
    }

    /// Where records go; into the file by default.
    #[must_use]
    pub fn sink(&self) -> AuditSink {
        self.sink
    }

    /// Whether each line of the file holds the digest of the one before it; not by default.
    #[must_use]
    pub fn is_chained(&self) -> bool {
        self.chain
    }

    /// Whether each line is on disk before what it records is done; not by default.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.sync
    }

    /// Whether processes that are what was decided are recorded as well; not by default.
    #[must_use]
    pub fn records_attested(&self) -> bool {
        self.attested
    }
}
