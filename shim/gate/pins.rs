//! What was judged, held open until the runtime has it.
//!
//! A path says what stands there now, not what will stand there when a runtime resolves it again; whoever can write a
//! directory on the way can exchange it in between (CWE-367). An open descriptor stays what it is.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::LinuxNamespaceType;

use crate::attest::{FileId, Identities};

/// The files of one create request that its facts were taken from. Each is open with `O_PATH`.
#[derive(Debug, Default)]
pub struct Pins {
    /// (index in `/mounts`, the source of that bind mount).
    pub(crate) sources: Vec<(usize, OwnedFd)>,
    /// (kind, the namespace to be joined).
    pub(crate) namespaces: Vec<(LinuxNamespaceType, OwnedFd)>,
    /// (index in `/mounts`, the mount of the container's secrets, which stands nowhere yet).
    pub(crate) secrets: Option<(usize, OwnedFd)>,
}

impl Pins {
    /// What they are, to be known again. `root` is the root filesystem's directory, mounted.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn identities(&self, root: &Path) -> io::Result<Identities> {
        let mut identities = Identities { root: Some(FileId::at(root)?), ..Identities::default() };
        for (mount, file) in self.sources.iter().chain(&self.secrets) {
            let (id, owner) = FileId::and_owner(file)?;
            identities.sources.insert(*mount, id);
            identities.owners.insert(*mount, owner);
        }
        for (kind, namespace) in &self.namespaces {
            identities.join(*kind, namespace)?;
        }
        Ok(identities)
    }

    /// The source of a bind mount, by its index in `/mounts`.
    pub(super) fn source(&self, mount: usize) -> Option<BorrowedFd<'_>> {
        self.sources.iter().find(|(of, _)| *of == mount).map(|(_, file)| file.as_fd())
    }
}
