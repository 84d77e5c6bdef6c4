//! What was judged, held open until the runtime has it.
//!
//! A path says what stands there now, not what will stand there when a runtime resolves it again; whoever can write a
//! directory on the way can exchange it in between (CWE-367). An open descriptor stays what it is.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use oci_spec::runtime::LinuxNamespaceType;

/// The files of one create request that its facts were taken from. Each is open with `O_PATH`.
#[derive(Debug, Default)]
pub struct Pins {
    /// (index in `/mounts`, the source of that bind mount).
    pub(crate) sources: Vec<(usize, OwnedFd)>,
    /// (kind, the namespace to be joined).
    pub(crate) namespaces: Vec<(LinuxNamespaceType, OwnedFd)>,
}

impl Pins {
    /// The source of a bind mount, by its index in `/mounts`.
    pub(super) fn source(&self, mount: usize) -> Option<BorrowedFd<'_>> {
        self.sources.iter().find(|(of, _)| *of == mount).map(|(_, file)| file.as_fd())
    }
}
