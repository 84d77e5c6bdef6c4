//! The daemon's socket: `<dir>/<sha256>`, 0600 in a 0700 directory.
//!
//! A path socket, never an abstract one: those are reachable from a container that shares the host's
//! network namespace (CVE-2020-15257).

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::trusted::is_trusted;

/// Longest path that fits into `sockaddr_un`, with its NUL.
const MAX_PATH: usize = 107;

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The path is longer than an address can be.
    #[error("socket path {0:?} has more than {MAX_PATH} bytes")]
    TooLong(PathBuf),
    /// The directory is writable by others than root.
    #[error("socket directory {0:?} must be root's and not writable by others")]
    Directory(PathBuf),
    /// The kernel refused.
    #[error("{action} {path:?}")]
    Io {
        /// What was done.
        action: &'static str,
        /// To which path.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

/// The address of one group's daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketAddress {
    path: PathBuf,
}

/// What binding an address led to.
#[derive(Debug)]
pub enum Bound {
    /// The address is ours and listening.
    Fresh(UnixListener),
    /// A daemon of the group answers there already.
    Existing,
}

impl SocketAddress {
    /// The address of `group`; containerd's own address is part of the name, so that two containerds on a
    /// machine don't meet in one shim.
    ///
    /// # Errors
    ///
    /// [`SocketError::TooLong`].
    pub fn of_group(dir: &str, containerd: &str, namespace: &str, group: &str) -> Result<Self, SocketError> {
        let digest = Sha256::digest(Path::new(containerd).join(namespace).join(group).as_os_str().as_encoded_bytes());
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = Path::new(dir).join(name);
        if path.as_os_str().len() > MAX_PATH { Err(SocketError::TooLong(path)) } else { Ok(Self { path }) }
    }

    /// As containerd writes it: `unix://` and the path.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// From [`Self::uri`].
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        let path = uri.strip_prefix("unix://").filter(|path| path.starts_with('/'))?;
        Some(Self { path: path.into() })
    }

    /// Binds and listens.
    ///
    /// The socket is made under another name and linked into place when it listens already, so nobody can
    /// see an address that does not answer yet, and of two that race exactly one wins.
    ///
    /// # Errors
    ///
    /// [`SocketError`].
    pub fn bind(&self) -> Result<Bound, SocketError> {
        self.make_directory()?;
        let staged = self.path.with_file_name(format!(".palisade-{}", std::process::id()));
        remove(&staged)?;
        let listener = UnixListener::bind(&staged).map_err(failed("bind", &staged))?;
        fs::set_permissions(&staged, Permissions::from_mode(0o600)).map_err(failed("chmod", &staged))?;
        let placed = self.place(&staged);
        remove(&staged)?;
        Ok(if placed? { Bound::Fresh(listener) } else { Bound::Existing })
    }

    /// Links the listening socket to its address; false when a living daemon holds it.
    ///
    /// The directory is locked meanwhile: of two that find a dead socket, the second must not remove what the
    /// first has just put in its place.
    fn place(&self, staged: &Path) -> Result<bool, SocketError> {
        let directory = self.path.parent().unwrap_or_else(|| Path::new("/"));
        let lock = File::open(directory).map_err(failed("open", directory))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|errno| failed("lock", directory)(errno.into()))?;
        for _ in 0..3 {
            match fs::hard_link(staged, &self.path) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("link", &self.path)(error));
                }
                Err(_) if self.answers() => return Ok(false),
                Err(_) => remove(&self.path)?,
            }
        }
        Err(failed("link", &self.path)(io::ErrorKind::AlreadyExists.into()))
    }

    /// Whether a daemon accepts connections there.
    #[must_use]
    pub fn answers(&self) -> bool {
        UnixStream::connect(&self.path).is_ok()
    }

    /// Removes the socket; one that is not there counts as removed.
    ///
    /// # Errors
    ///
    /// [`SocketError::Io`].
    pub fn remove(&self) -> Result<(), SocketError> {
        remove(&self.path)
    }

    fn make_directory(&self) -> Result<(), SocketError> {
        let Some(dir) = self.path.parent() else { return Ok(()) };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("create", dir))?;
        let seen = fs::metadata(dir).map_err(failed("stat", dir))?;
        if !is_trusted(seen.uid()) || seen.mode() & 0o022 != 0 {
            return Err(SocketError::Directory(dir.into()));
        }
        Ok(())
    }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> SocketError + 'a {
    move |source| SocketError::Io { action, path: path.into(), source }
}

fn remove(path: &Path) -> Result<(), SocketError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> String {
        let dir = std::env::temp_dir().join(format!("palisade-socket-{name}-{}", std::process::id()));
        dir.to_str().unwrap().to_owned()
    }

    #[test]
    fn groups_of_different_containerds_have_different_addresses() {
        let of = |containerd, group| SocketAddress::of_group("/run/s", containerd, "ns", group).unwrap();
        assert_eq!(of("/a", "g"), of("/a", "g"));
        assert_ne!(of("/a", "g"), of("/b", "g"));
        assert_ne!(of("/a", "g"), of("/a", "h"));
        assert_eq!(SocketAddress::from_uri(&of("/a", "g").uri()), Some(of("/a", "g")));
    }

    #[test]
    fn a_second_bind_finds_the_first() {
        let dir = scratch("second");
        let address = SocketAddress::of_group(&dir, "/a", "ns", "g").unwrap();
        let first = address.bind().unwrap();
        assert!(matches!(first, Bound::Fresh(_)));
        let mode = fs::metadata(&address.path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(address.bind().unwrap(), Bound::Existing));
        drop(first);
        assert!(matches!(address.bind().unwrap(), Bound::Fresh(_)), "a dead socket is replaced");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing staged is left");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let dir = scratch("open");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
        let address = SocketAddress::of_group(&dir, "/a", "ns", "g").unwrap();
        assert!(matches!(address.bind(), Err(SocketError::Directory(_))));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_path_that_no_address_can_hold_is_refused() {
        let refused = SocketAddress::of_group(&"/x".repeat(30), "/a", "ns", "g");
        assert!(matches!(refused, Err(SocketError::TooLong(_))));
    }
}
