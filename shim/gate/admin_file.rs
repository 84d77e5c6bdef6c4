//! Files that are the admin's: root's, and nobody else's to write or to exchange.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open};

use super::source::PolicyFileError;
use crate::trusted::is_trusted;

/// Upper bound of the files in one of a policy's directories.
pub(super) const MAX_DROP_INS: usize = 256;
/// Upper bound of a policy file, in bytes.
pub(super) const MAX_POLICY: u64 = 1 << 20;

/// Two files with the same identity have the same content, unless root plays tricks with the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileIdentity {
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
pub(super) struct OpenFile {
    path: PathBuf,
    file: File,
    pub(super) identity: FileIdentity,
}

/// Its content.
pub(super) struct ReadFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl ReadFile {
    /// Its name without the directory.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The same without the extension.
    pub(super) fn stem(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }
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

/// Opens a file, if it is root's and nobody else can put another in its place. One that need not be there may be
/// absent.
pub(super) fn open_file(path: &Path, required: bool) -> Result<Option<OpenFile>, PolicyFileError> {
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
        let sticky = stat.st_mode & 0o1000 != 0 && is_trusted(stat.st_uid);
        if !sticky && !is_roots_alone(&stat) {
            return Err(PolicyFileError::NotTheAdmins { path: dir.into() });
        }
    }
    Ok(())
}

/// The files of a directory with that extension, in the order of their names. A directory that others can write could
/// lose an entry without a trace, so it must be root's even when it is sticky.
pub(super) fn files_of(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, PolicyFileError> {
    list(dir, |path| path.extension().is_some_and(|found| found == extension))
}

fn list(dir: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, PolicyFileError> {
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
        if wanted(&path) {
            paths.push(path);
        }
        if paths.len() > MAX_DROP_INS {
            return Err(PolicyFileError::TooMany { path: dir.into() });
        }
    }
    paths.sort();
    Ok(paths)
}

/// Opens a program, if it is root's and nobody else can put another in its place.
///
/// # Errors
///
/// [`PolicyFileError`].
pub fn open_program(path: &Path) -> Result<OwnedFd, PolicyFileError> {
    let missing = || unreadable(path, io::ErrorKind::NotFound.into());
    Ok(open_file(path, true)?.ok_or_else(missing)?.file.into())
}

/// Reads a file of at most `most` bytes beside the policy, under the same conditions as the policy; `None` if it is not there.
///
/// # Errors
///
/// [`PolicyFileError`].
pub fn admins_file(path: &Path, most: u64) -> Result<Option<Vec<u8>>, PolicyFileError> {
    open_file(path, false)?.map(|open| read_bytes(open, most)).transpose()
}

/// The files of a directory whose names begin with `prefix`, at most 256, in the order of their names. The directory must be root's alone.
///
/// # Errors
///
/// [`PolicyFileError`].
pub fn admins_files(dir: &Path, prefix: &str) -> Result<Vec<PathBuf>, PolicyFileError> {
    let wanted =
        |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
    list(dir, wanted)
}

fn read_bytes(open: OpenFile, most: u64) -> Result<Vec<u8>, PolicyFileError> {
    let OpenFile { path, file, .. } = open;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|source| unreadable(&path, source))?;
    if bytes.len() as u64 > most { Err(PolicyFileError::TooLarge { path, most }) } else { Ok(bytes) }
}

pub(super) fn read_file(open: OpenFile) -> Result<ReadFile, PolicyFileError> {
    let path = open.path.clone();
    match String::from_utf8(read_bytes(open, MAX_POLICY)?) {
        Ok(text) => Ok(ReadFile { path, text }),
        Err(_) => Err(PolicyFileError::NotUtf8 { path }),
    }
}

fn unreadable(path: &Path, source: io::Error) -> PolicyFileError {
    PolicyFileError::Read { path: path.into(), source }
}

pub(super) fn is_roots_alone(stat: &Stat) -> bool {
    is_trusted(stat.st_uid) && stat.st_mode & 0o022 == 0
}
