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
/// Upper bound of the drop-ins of a policy.
const MAX_DROP_INS: usize = 256;
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
    /// There are more drop-ins than any admin keeps.
    #[error("palisade: {path:?} holds more than {MAX_DROP_INS} policy files")]
    TooMany {
        /// The directory.
        path: PathBuf,
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

    /// SHA-256 in hex: of the file where there is no drop-in, else of one line `<sha256>  <name>` for each of the
    /// files, as sha256sum(1) prints it. `builtin` where there is no file.
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
    cached: Mutex<Option<(Vec<FileIdentity>, LoadedPolicy)>>,
}

/// Two files with the same identity have the same content, unless root plays tricks with the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileIdentity {
    path: PathBuf,
    dev: u64,
    ino: u64,
    size: i64,
    mtime: i64,
    mtime_nsec: i64,
    ctime: i64,
    ctime_nsec: i64,
}

/// A policy file that was found to be the admin's.
struct OpenFile {
    path: PathBuf,
    file: File,
    identity: FileIdentity,
}

/// Its content.
struct ReadFile {
    path: PathBuf,
    text: String,
}

impl FileIdentity {
    #[allow(clippy::useless_conversion, reason = "field types differ between libcs")]
    fn of(path: &Path, stat: &Stat) -> Self {
        Self {
            path: path.into(),
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

    /// The file at `path` with its drop-ins; it must be there.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self::new(path, true)
    }

    fn new(path: PathBuf, named: bool) -> Self {
        Self { path, named, cached: Mutex::new(None) }
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the drop-ins: beside the file, named as it with `.d`.
    fn drop_in_dir(&self) -> PathBuf {
        self.path.with_extension("d")
    }

    /// The policy as the file and its drop-ins are now. The default file may be absent: then the built-in one is in
    /// force, with the drop-ins if there are any.
    ///
    /// # Errors
    ///
    /// [`PolicyFileError`]; there is no fallback for a file that is wrong.
    pub fn load(&self) -> Result<LoadedPolicy, PolicyFileError> {
        let mut files: Vec<OpenFile> = open_file(&self.path, self.named)?.into_iter().collect();
        for path in drop_ins(&self.drop_in_dir())? {
            files.extend(open_file(&path, true)?);
        }
        let identity: Vec<FileIdentity> = files.iter().map(|file| file.identity.clone()).collect();
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, policy)) = cached.as_ref()
            && *known == identity
        {
            return Ok(policy.clone());
        }
        let policy = self.parse(files)?;
        *cached = Some((identity, policy.clone()));
        Ok(policy)
    }

    fn parse(&self, files: Vec<OpenFile>) -> Result<LoadedPolicy, PolicyFileError> {
        if files.is_empty() {
            return Ok(LoadedPolicy { policy: Arc::new(Policy::builtin()), sha256: "builtin".into() });
        }
        let read = files.into_iter().map(read_file).collect::<Result<Vec<_>, _>>()?;
        let name = |file: &ReadFile| file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let names: Vec<String> = read.iter().map(name).collect();
        let mut texts: Vec<(&str, &str)> =
            names.iter().zip(&read).map(|(name, file)| (name.as_str(), file.text.as_str())).collect();
        // The first text is the policy file's own, whose entries records call without a file name.
        let shift = usize::from(read.first().is_some_and(|file| file.path != self.path));
        if shift == 1 {
            texts.insert(0, ("", ""));
        }
        let policy = Policy::from_files(&texts).map_err(|error| PolicyFileError::Wrong {
            path: read
                .get(error.index.saturating_sub(shift))
                .map_or_else(|| self.path.clone(), |file| file.path.clone()),
            source: error.source,
        })?;
        check_runtime(policy.runtime())?;
        Ok(LoadedPolicy { policy: Arc::new(policy), sha256: digest(&read, &names).into() })
    }
}

/// Opens a file, if it is root's and nobody else can put another in its place. One that need not be there may be
/// absent.
fn open_file(path: &Path, required: bool) -> Result<Option<OpenFile>, PolicyFileError> {
    // Read-only and without blocking: the path could name a FIFO.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = match open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT) if !required => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(PolicyFileError::NotTheAdmins { path: path.into() }),
        Err(errno) => return Err(unreadable(path, errno.into())),
    };
    let stat = fstat(&fd).map_err(|errno| unreadable(path, errno.into()))?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !regular || !is_roots_alone(&stat) {
        return Err(PolicyFileError::NotTheAdmins { path: path.into() });
    }
    check_directories(path)?;
    Ok(Some(OpenFile { path: path.into(), file: File::from(fd), identity: FileIdentity::of(path, &stat) }))
}

/// Whoever can write a directory above the file can put another file in its place. A sticky directory
/// (`/tmp`) is safe in that respect: entries of root's stay root's.
fn check_directories(path: &Path) -> Result<(), PolicyFileError> {
    for dir in path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()) {
        let stat = rustix::fs::stat(dir).map_err(|errno| unreadable(path, errno.into()))?;
        let sticky = stat.st_mode & 0o1000 != 0 && stat.st_uid == 0;
        if !sticky && !is_roots_alone(&stat) {
            return Err(PolicyFileError::NotTheAdmins { path: dir.into() });
        }
    }
    Ok(())
}

/// The `.toml` files of the drop-in directory in the order of their names. A directory that others can write could
/// lose an entry without a trace, so it must be root's even when it is sticky.
fn drop_ins(dir: &Path) -> Result<Vec<PathBuf>, PolicyFileError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(unreadable(dir, source)),
    };
    let stat = rustix::fs::lstat(dir).map_err(|errno| unreadable(dir, errno.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory || !is_roots_alone(&stat) {
        return Err(PolicyFileError::NotTheAdmins { path: dir.into() });
    }
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| unreadable(dir, source))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
        if paths.len() > MAX_DROP_INS {
            return Err(PolicyFileError::TooMany { path: dir.into() });
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_file(open: OpenFile) -> Result<ReadFile, PolicyFileError> {
    let OpenFile { path, file, .. } = open;
    let mut bytes = Vec::new();
    file.take(MAX_POLICY + 1).read_to_end(&mut bytes).map_err(|source| unreadable(&path, source))?;
    if bytes.len() as u64 > MAX_POLICY {
        return Err(PolicyFileError::TooLarge { path });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(ReadFile { path, text }),
        Err(_) => Err(PolicyFileError::NotUtf8 { path }),
    }
}

fn digest(files: &[ReadFile], names: &[String]) -> String {
    let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match files {
        [only] => hex(only.text.as_bytes()),
        all => {
            let lines = all.iter().zip(names).map(|(file, name)| format!("{}  {name}\n", hex(file.text.as_bytes())));
            hex(lines.collect::<String>().as_bytes())
        }
    }
}

fn unreadable(path: &Path, source: io::Error) -> PolicyFileError {
    PolicyFileError::Read { path: path.into(), source }
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
    fn drop_ins_add_up_in_the_order_of_their_names_and_a_wrong_one_is_named() {
        let scratch = Scratch::new("dropins");
        let source = scratch.source("version = 1\n");
        let alone = source.load().unwrap();
        let dir = scratch.0.join("policy.d");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.join("10-team.toml"), "[profiles.team]\nextends = \"baseline@1\"\n").unwrap();
        fs::write(dir.join("20-use.toml"), "profile = \"team\"\n").unwrap();
        fs::write(dir.join("notes.txt"), "not a policy").unwrap();
        let both = source.load().unwrap();
        assert_eq!((alone.policy().profile(), both.policy().profile()), ("restricted", "team"));
        assert_ne!(alone.sha256(), both.sha256());
        fs::write(dir.join("20-use.toml"), "profile = \"teem\"\n").unwrap();
        let wrong = source.load().unwrap_err();
        assert!(matches!(&wrong, PolicyFileError::Wrong { path, .. } if path.ends_with("20-use.toml")), "{wrong:?}");
        fs::remove_file(dir.join("20-use.toml")).unwrap();
        fs::set_permissions(dir.join("10-team.toml"), fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(source.load(), Err(PolicyFileError::NotTheAdmins { .. })));
        fs::remove_file(dir.join("10-team.toml")).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(matches!(source.load(), Err(PolicyFileError::NotTheAdmins { path }) if path == dir));
    }

    #[test]
    fn drop_ins_count_without_a_policy_file() {
        let scratch = Scratch::new("only-dropins");
        let dir = scratch.0.join("policy.d");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a.toml"), "profile = \"baseline\"\n").unwrap();
        let source = PolicySource::new(scratch.0.join("policy.toml"), false);
        assert_eq!(source.load().unwrap().policy().profile(), "baseline");
        fs::write(dir.join("a.toml"), "profile = 1\n").unwrap();
        assert!(matches!(source.load(), Err(PolicyFileError::Wrong { path, .. }) if path.ends_with("a.toml")));
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
