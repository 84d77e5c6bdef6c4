//! `<bundle>/palisade`: what the runtime gets, and what a later `shim delete` needs to clean up.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use palisade_policy::{Grant, HardenedSpec};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::trusted::is_trusted;

/// Name of the private directory inside containerd's bundle.
const DIRECTORY: &str = "palisade";

/// Name of the directory that only a runtime sees anything in.
const VIEW: &str = "palisade-view";
/// The runtime's spec.
pub(crate) const CONFIG: &str = "config.json";

/// Why the private directory cannot be used.
#[derive(Debug, Error)]
pub enum PrivateDirError {
    /// A file or the directory could not be written or read.
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
    /// The directory is there already, so this container is or was there.
    #[error("{path:?} exists: the container was created before")]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The directory is not root's alone.
    #[error("{path:?} is not a 0700 directory of root")]
    NotPrivate {
        /// The directory.
        path: PathBuf,
    },
    /// A record is not what the shim wrote.
    #[error("{path:?} does not parse")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The place in it.
        #[source]
        source: serde_json::Error,
    },
}

/// The 0700 directory of one container, below containerd's bundle.
#[derive(Debug, Clone)]
pub struct PrivateDir {
    path: PathBuf,
}

impl PrivateDir {
    /// Makes the directory.
    ///
    /// # Errors
    ///
    /// [`PrivateDirError::Exists`] when there is one, so a second create can't touch a running container.
    pub fn create(bundle: &Path) -> Result<Self, PrivateDirError> {
        let path = bundle.join(DIRECTORY);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self { path }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(PrivateDirError::Exists { path }),
            Err(source) => Err(PrivateDirError::Io { action: "create", path, source }),
        }
    }

    /// Opens the directory of a container that was created before.
    ///
    /// # Errors
    ///
    /// [`PrivateDirError::Io`] when there is none, [`PrivateDirError::NotPrivate`] when others can write it.
    pub fn open(bundle: &Path) -> Result<Self, PrivateDirError> {
        let path = bundle.join(DIRECTORY);
        let seen = fs::symlink_metadata(&path).map_err(|source| PrivateDirError::Io {
            action: "open",
            path: path.clone(),
            source,
        })?;
        if !seen.is_dir() || !is_trusted(seen.uid()) || seen.mode() & 0o077 != 0 {
            return Err(PrivateDirError::NotPrivate { path });
        }
        Ok(Self { path })
    }

    /// The directory itself, which is the runtime's bundle.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The runtime's state directory (`--root`).
    #[must_use]
    pub fn runtime_root(&self) -> PathBuf {
        self.path.join("runtime")
    }

    /// The directory beside this one in which the runtime finds what is to be mounted. Whoever may look into containerd's
    /// bundle may look into it, such as a container's process that is in its user namespace already.
    #[must_use]
    pub fn view(&self) -> PathBuf {
        self.path.with_file_name(VIEW)
    }

    /// Removes that directory, which is empty on the host; one that is not there counts as removed. Not while a runtime
    /// uses it: the mounts on it would go along.
    ///
    /// # Errors
    ///
    /// [`PrivateDirError::Io`].
    pub fn remove_view(&self) -> Result<(), PrivateDirError> {
        let path = self.view();
        match fs::remove_dir(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(PrivateDirError::Io { action: "remove", path, source }),
        }
    }

    /// Writes a file of mode 0600 that must not be there yet.
    ///
    /// # Errors
    ///
    /// [`PrivateDirError::Io`].
    pub fn write_new(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, PrivateDirError> {
        let path = self.path.join(name);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(bytes));
        match written {
            Ok(()) => Ok(path),
            Err(source) => Err(PrivateDirError::Io { action: "write", path, source }),
        }
    }

    /// Writes a record as JSON, replacing an older one as a whole.
    ///
    /// # Errors
    ///
    /// [`PrivateDirError::Io`], [`PrivateDirError::Parse`] when the record can't be written as JSON.
    pub fn write_record<T: Serialize>(&self, name: &str, record: &T) -> Result<(), PrivateDirError> {
        let path = self.path.join(name);
        let bytes =
            serde_json::to_vec(record).map_err(|source| PrivateDirError::Parse { path: path.clone(), source })?;
        let fresh = format!("{name}.new");
        self.remove(&fresh)?;
        let staged = self.write_new(&fresh, &bytes)?;
        fs::rename(&staged, &path).map_err(|source| PrivateDirError::Io { action: "rename", path, source })
    }

    /// Reads a record that [`Self::write_record`] wrote.
    ///
    /// # Errors
    ///
    /// [`PrivateDirError::Io`] when it is missing, [`PrivateDirError::Parse`] when it is damaged.
    pub fn read_record<T: DeserializeOwned>(&self, name: &str) -> Result<T, PrivateDirError> {
        let path = self.path.join(name);
        let bytes =
            fs::read(&path).map_err(|source| PrivateDirError::Io { action: "read", path: path.clone(), source })?;
        serde_json::from_slice(&bytes).map_err(|source| PrivateDirError::Parse { path, source })
    }

    /// Removes a file; one that is not there counts as removed.
    ///
    /// # Errors
    ///
    /// [`PrivateDirError::Io`].
    pub fn remove(&self, name: &str) -> Result<(), PrivateDirError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(PrivateDirError::Io { action: "remove", path, source }),
        }
    }

    /// Removes the directory with all that is in it.
    ///
    /// # Errors
    ///
    /// [`PrivateDirError::Io`].
    pub fn destroy(self) -> Result<(), PrivateDirError> {
        match fs::remove_dir_all(&self.path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(PrivateDirError::Io { action: "remove", path: self.path, source }),
        }
    }
}

/// A bundle that holds a spec which passed the gate. Only this can be handed to a runtime.
#[derive(Debug)]
pub struct HardenedBundle {
    dir: PrivateDir,
    spec: HardenedSpec,
}

impl HardenedBundle {
    /// Writes the hardened spec as the private bundle's `config.json`.
    ///
    /// # Errors
    ///
    /// [`PrivateDirError`]; the directory is gone again then.
    pub fn write(bundle: &Path, spec: HardenedSpec) -> Result<Self, PrivateDirError> {
        let dir = PrivateDir::create(bundle)?;
        let written = dir.write_new(CONFIG, spec.as_bytes()).and_then(|_| dir.write_record("grant.json", spec.grant()));
        match written {
            Ok(()) => Ok(Self { dir, spec }),
            Err(error) => {
                dir.destroy()?;
                Err(error)
            }
        }
    }

    /// The private directory.
    #[must_use]
    pub fn dir(&self) -> &PrivateDir {
        &self.dir
    }

    /// What the container was given.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        self.spec.grant()
    }

    /// The spec that the runtime will read.
    #[must_use]
    pub fn spec(&self) -> &HardenedSpec {
        &self.spec
    }
}
