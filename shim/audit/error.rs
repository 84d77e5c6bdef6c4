//! Why something is not on record.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why something is not on record.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The log can't be opened or written.
    #[error("palisade: {action} audit log {path:?}, so nothing is done; mend: make room or set [audit] path")]
    Io {
        /// What failed.
        action: &'static str,
        /// The log.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The journal does not take the record.
    #[error(
        "palisade: send a record to the journal at {path:?}, so nothing is done; mend: start systemd-journald or set [audit] sink"
    )]
    Journal {
        /// Its socket.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The record can't be written as JSON.
    #[error("encode an audit record")]
    Encode(#[source] serde_json::Error),
}
