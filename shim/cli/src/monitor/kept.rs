//! What the monitor keeps over its own restart: its counters, and how far in the log they go. Both in one file, so that they agree.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::live::Seen;
use super::tally::Tally;
use super::tell;
use crate::error::CliError;
use crate::log::Position;

/// Most bytes of the file that are read; one that is longer is none of the monitor's.
const MOST: u64 = 128 << 20;
/// Version of the file.
const VERSION: u32 = 1;

/// The file's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    version: u32,
    pub(super) position: Option<Position>,
    pub(super) tally: Tally,
    pub(super) seen: Seen,
}

impl Default for Kept {
    fn default() -> Self {
        Self { version: VERSION, position: None, tally: Tally::default(), seen: Seen::default() }
    }
}

impl Kept {
    /// As it was kept, or from the beginning. A file that is not understood is told of and left behind: counters may begin anew.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let text = match read_own(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(|source| CliError::Read { path: path.to_owned(), source })?,
        };
        match serde_json::from_slice::<Self>(&text) {
            Ok(mut kept) if kept.version == VERSION => {
                kept.tally.series = kept.tally.series.known();
                Ok(kept)
            }
            _ => {
                tell(&format!("{path:?} is not of this version; counters begin anew"));
                Ok(Self::default())
            }
        }
    }

    /// The file's text.
    pub(super) fn text(&self) -> Result<Vec<u8>, CliError> {
        Ok(serde_json::to_vec(self)?)
    }
}

/// The monitor's own file, and nothing that somebody has put in its place.
fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let mut text = Vec::new();
    file.take(MOST).read_to_end(&mut text)?;
    Ok(text)
}

/// Whoever reads the file gets the one before or this one.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CliError> {
    let fresh = beside(path);
    let write = || {
        let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
        file.write_all(bytes)?;
        fs::rename(&fresh, path)
    };
    write().map_err(|source| CliError::Replace { path: path.to_owned(), source })
}

/// Not ending as the file does: the textfile collector reads each `.prom`.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}
