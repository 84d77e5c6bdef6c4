//! The policy file: the admin's, so root's and nobody else's to write.

use std::env;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use palisade_policy::{Policy, PolicyError, RuntimeChoice};
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Where the policy is, unless containerd's environment names another file.
const DEFAULT_PATH: &str = "/etc/palisade/policy.toml";
/// Variable of containerd's environment, which only the node's admin can set.
pub const CONFIG_VARIABLE: &str = "PALISADE_CONFIG";
/// Upper bound of a policy file, in bytes.
const MAX_POLICY: u64 = 1 << 20;

/// Why there is no policy, and so no container.
#[derive(Debug, Error)]
pub enum PolicyFileError {
    /// It can't be read.
    #[error("palisade: policy file {path:?} can't be read, so nothing is created")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// It is not a regular file of root's that only root can write.
    #[error(
        "palisade: {path:?} must be a regular file or directory of root, not writable by group or others; mend: chown root:root and chmod go-w {path:?}"
    )]
    NotTheAdmins {
        /// The file, or a directory above it.
        path: PathBuf,
    },
    /// It is larger than any policy.
    #[error("palisade: policy file {path:?} has more than {MAX_POLICY} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not a policy.
    #[error("palisade: policy file {path:?} is wrong, so nothing is created")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Line and mend.
        #[source]
        source: PolicyError,
    },
    /// It is not UTF-8.
    #[error("palisade: policy file {path:?} is not UTF-8")]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
}

/// A policy, and the digest of the file that it came from.
#[derive(Debug, Clone)]
pub struct LoadedPolicy {
    policy: Arc<Policy>,
    sha256: Arc<str>,
}

impl LoadedPolicy {
    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// SHA-256 of the file in hex, `builtin` where there is no file.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// Reads the policy, anew only when the file has changed.
#[derive(Debug)]
pub struct PolicySource {
    path: PathBuf,
    /// Whether the admin named the file, so that it must be there.
    named: bool,
    cached: Mutex<Option<(FileIdentity, LoadedPolicy)>>,
}

/// Two files with the same identity have the same content, unless root plays tricks with the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileIdentity {
    Absent,
    Present { dev: u64, ino: u64, size: i64, mtime: i64, mtime_nsec: i64, ctime: i64, ctime_nsec: i64 },
}

impl FileIdentity {
    #[allow(clippy::useless_conversion, reason = "field types differ between libcs")]
    fn of(stat: &Stat) -> Self {
        Self::Present {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: stat.st_size,
            mtime: stat.st_mtime.into(),
            mtime_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
            ctime: stat.st_ctime.into(),
            ctime_nsec: i64::try_from(stat.st_ctime_nsec).unwrap_or(0),
        }
    }
}

impl PolicySource {
    /// The file that `PALISADE_CONFIG` names, else `/etc/palisade/policy.toml`.
    #[must_use]
    pub fn from_env() -> Self {
        match env::var_os(CONFIG_VARIABLE) {
            Some(path) => Self::new(path.into(), true),
            None => Self::new(DEFAULT_PATH.into(), false),
        }
    }

    fn new(path: PathBuf, named: bool) -> Self {
        Self { path, named, cached: Mutex::new(None) }
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The policy as the file is now. The default file may be absent: then the built-in one is in force.
    ///
    /// # Errors
    ///
    /// [`PolicyFileError`]; there is no fallback for a file that is wrong.
    pub fn load(&self) -> Result<LoadedPolicy, PolicyFileError> {
        let opened = self.open()?;
        let identity = opened.as_ref().map_or(FileIdentity::Absent, |(_, identity)| *identity);
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, policy)) = cached.as_ref()
            && *known == identity
        {
            return Ok(policy.clone());
        }
        let policy = match opened {
            Some((file, _)) => self.parse(file)?,
            None => LoadedPolicy { policy: Arc::new(Policy::builtin()), sha256: "builtin".into() },
        };
        *cached = Some((identity, policy.clone()));
        Ok(policy)
    }

    fn open(&self) -> Result<Option<(File, FileIdentity)>, PolicyFileError> {
        // Read-only and without blocking: the path could name a FIFO.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = match open(&self.path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT) if !self.named => return Ok(None),
            Err(rustix::io::Errno::LOOP) => return Err(PolicyFileError::NotTheAdmins { path: self.path.clone() }),
            Err(errno) => return Err(self.unreadable(errno.into())),
        };
        let stat = fstat(&fd).map_err(|errno| self.unreadable(errno.into()))?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !regular || !is_roots_alone(&stat) {
            return Err(PolicyFileError::NotTheAdmins { path: self.path.clone() });
        }
        self.check_directories()?;
        Ok(Some((File::from(fd), FileIdentity::of(&stat))))
    }

    /// Whoever can write a directory above the file can put another file in its place. A sticky directory
    /// (`/tmp`) is safe in that respect: entries of root's stay root's.
    fn check_directories(&self) -> Result<(), PolicyFileError> {
        for dir in self.path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()) {
            let stat = rustix::fs::stat(dir).map_err(|errno| self.unreadable(errno.into()))?;
            let sticky = stat.st_mode & 0o1000 != 0 && stat.st_uid == 0;
            if !sticky && !is_roots_alone(&stat) {
                return Err(PolicyFileError::NotTheAdmins { path: dir.into() });
            }
        }
        Ok(())
    }

    fn parse(&self, file: File) -> Result<LoadedPolicy, PolicyFileError> {
        let mut bytes = Vec::new();
        file.take(MAX_POLICY + 1).read_to_end(&mut bytes).map_err(|source| self.unreadable(source))?;
        if bytes.len() as u64 > MAX_POLICY {
            return Err(PolicyFileError::TooLarge { path: self.path.clone() });
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| PolicyFileError::NotUtf8 { path: self.path.clone() })?;
        let policy =
            Policy::from_toml(text).map_err(|source| PolicyFileError::Wrong { path: self.path.clone(), source })?;
        check_runtime(policy.runtime())?;
        let digest = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Ok(LoadedPolicy { policy: Arc::new(policy), sha256: digest.into() })
    }

    fn unreadable(&self, source: io::Error) -> PolicyFileError {
        PolicyFileError::Read { path: self.path.clone(), source }
    }
}

/// A runtime binary runs as root for every container, so it has to be as well guarded as the policy.
fn check_runtime(choice: &RuntimeChoice) -> Result<(), PolicyFileError> {
    let RuntimeChoice::Binary(path) = choice else { return Ok(()) };
    let stat =
        rustix::fs::stat(path).map_err(|errno| PolicyFileError::Read { path: path.clone(), source: errno.into() })?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if path.is_absolute() && regular && is_roots_alone(&stat) {
        Ok(())
    } else {
        Err(PolicyFileError::NotTheAdmins { path: path.clone() })
    }
}

fn is_roots_alone(stat: &Stat) -> bool {
    stat.st_uid == 0 && stat.st_mode & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = env::temp_dir().join(format!("palisade-source-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
            Self(dir)
        }

        fn source(&self, text: &str) -> PolicySource {
            fs::write(self.0.join("policy.toml"), text).unwrap();
            PolicySource::new(self.0.join("policy.toml"), true)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn no_file_means_the_builtin_policy_and_a_named_one_must_be_there() {
        let scratch = Scratch::new("absent");
        let absent = scratch.0.join("none.toml");
        assert_eq!(PolicySource::new(absent.clone(), false).load().unwrap().sha256(), "builtin");
        assert!(matches!(PolicySource::new(absent, true).load(), Err(PolicyFileError::Read { .. })));
    }

    #[test]
    fn a_change_of_the_file_counts_at_once() {
        let scratch = Scratch::new("change");
        let source = scratch.source("version = 1\n");
        let first = source.load().unwrap();
        assert_eq!(first.sha256(), source.load().unwrap().sha256());
        let _rewritten = scratch.source("version = 1\nprofile = \"baseline\"\n");
        assert_ne!(first.sha256(), source.load().unwrap().sha256());
    }

    #[test]
    fn a_wrong_file_is_no_policy_even_if_an_earlier_one_was_right() {
        let scratch = Scratch::new("wrong");
        let source = scratch.source("version = 1\n");
        source.load().unwrap();
        let _rewritten = scratch.source("version = 1\nprofle = \"baseline\"\n");
        let wrong = source.load().unwrap_err();
        assert!(matches!(wrong, PolicyFileError::Wrong { .. }));
        assert!(crate::log::chain(&wrong).contains("profle"), "{}", crate::log::chain(&wrong));
    }

    #[test]
    fn a_file_that_others_can_write_or_a_link_is_not_the_admins() {
        let scratch = Scratch::new("open");
        let source = scratch.source("version = 1\n");
        fs::set_permissions(source.path(), fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(source.load(), Err(PolicyFileError::NotTheAdmins { .. })));
        fs::set_permissions(source.path(), fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(source.path(), Some(1000), None).unwrap();
        assert!(matches!(source.load(), Err(PolicyFileError::NotTheAdmins { .. })));
        std::os::unix::fs::chown(source.path(), Some(0), None).unwrap();
        source.load().unwrap();
        let link = scratch.0.join("link.toml");
        std::os::unix::fs::symlink(source.path(), &link).unwrap();
        assert!(matches!(PolicySource::new(link, true).load(), Err(PolicyFileError::NotTheAdmins { .. })));
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(source.load(), Err(PolicyFileError::NotTheAdmins { .. })));
    }
}
