//! What was judged, held open until the runtime has it.
//!
//! A path says what stands there now, not what will stand there when a runtime resolves it again; whoever can write a
//! directory on the way can exchange it in between (CWE-367). An open descriptor stays what it is.

use std::os::fd::OwnedFd;

/// The files of one create request that its facts were taken from. Each is open with `O_PATH`.
#[derive(Debug, Default)]
pub struct Pins {
    /// (index in `/mounts`, the source of that bind mount).
    pub(super) sources: Vec<(usize, OwnedFd)>,
}

impl Pins {
    /// Whether there is nothing to hand on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Each bind source with the index of its mount.
    #[must_use]
    pub fn into_sources(self) -> Vec<(usize, OwnedFd)> {
        self.sources
    }
}
