//! One cgroup directory, held open, and the text of its files.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use rustix::fs::{Dir, FileType};

use super::CgroupError;

/// A cgroup directory by `O_PATH` fd, so that what is read and written stays this cgroup even if another one takes its name.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    fd: OwnedFd,
}

/// The text of one file of a cgroup.
pub(super) struct CgroupFile {
    path: PathBuf,
    text: String,
}

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// Most cgroup files fit; bigger ones grow the buffer.
const BUFFER: usize = 2048;

impl Directory {
    pub(super) fn open(path: PathBuf) -> Result<Self, CgroupError> {
        match open(&path, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Self { path, fd }),
            Err(Errno::ENOENT) => Err(CgroupError::Gone { path }),
            Err(errno) => Err(CgroupError::io("open", path, errno)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The same directory by a descriptor that more can be done with than to name it.
    pub(super) fn for_reading(&self) -> Result<OwnedFd, CgroupError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat(&self.fd, ".", flags, Mode::empty()).map_err(|errno| CgroupError::io("open", self.path.clone(), errno))
    }

    /// Whether the kernel has removed this cgroup. Every cgroup has this file for as long as it lives.
    pub(super) fn is_gone(&self) -> Result<bool, CgroupError> {
        match openat(&self.fd, "cgroup.procs", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(_) => Ok(false),
            Err(Errno::ENOENT) => Ok(true),
            Err(errno) => Err(CgroupError::io("open", self.path.join("cgroup.procs"), errno)),
        }
    }

    /// Reads a file whole; `None` if this kernel or hierarchy does not have it.
    ///
    /// A removed cgroup has no files at all: callers ask [`Self::is_gone`] first where the difference matters.
    pub(super) fn read(&self, name: &str) -> Result<Option<CgroupFile>, CgroupError> {
        let failed = |source: io::Error| CgroupError::io("read", self.path.join(name), source);
        let mut file = match openat(&self.fd, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(fd) => File::from(fd),
            // EOPNOTSUPP is how pressure files answer where the kernel was started without PSI.
            Err(Errno::ENOENT | Errno::EOPNOTSUPP) => return Ok(None),
            // A cgroup that is just being removed.
            Err(Errno::ENODEV) => {
                return Err(CgroupError::Gone { path: self.path.clone() });
            }
            Err(errno) => return Err(failed(errno.into())),
        };
        let mut text = String::with_capacity(BUFFER);
        match file.read_to_string(&mut text) {
            Ok(_) => Ok(Some(CgroupFile { path: self.path.join(name), text })),
            Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => Ok(None),
            Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => {
                Err(CgroupError::Gone { path: self.path.clone() })
            }
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        openat(&self.fd, name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).is_ok()
    }

    /// Reads a file that holds one number; `None` if there is no such file.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, CgroupError> {
        self.read(name)?.map(|file| file.number()).transpose()
    }

    /// Reads a file that holds a number or `max`, which becomes `unlimited`; `None` if there is no such file.
    pub(super) fn limit(&self, name: &str, unlimited: u64) -> Result<Option<u64>, CgroupError> {
        self.read(name)?.map(|file| if file.text() == "max" { Ok(unlimited) } else { file.number() }).transpose()
    }

    /// Writes a value in one write(2), as the kernel wants it.
    pub(super) fn write(&self, name: &str, value: &str) -> Result<(), CgroupError> {
        let flags = OFlag::O_WRONLY | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
        let mut file = match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENODEV) => {
                return Err(CgroupError::Gone { path: self.path.clone() });
            }
            Err(Errno::ENOENT) if self.is_gone()? => {
                return Err(CgroupError::Gone { path: self.path.clone() });
            }
            Err(Errno::ENOENT) => {
                return Err(CgroupError::NoSuchLimit { path: self.path.join(name) });
            }
            Err(errno) => return Err(CgroupError::io("write", self.path.join(name), errno)),
        };
        match file.write_all(value.as_bytes()) {
            Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => {
                Err(CgroupError::Gone { path: self.path.clone() })
            }
            written => written.map_err(|source| CgroupError::io("write", self.path.join(name), source)),
        }
    }

    /// The names in this directory, of sub-cgroups or of files. Empty when the cgroup is gone. A container names its sub-cgroups as it
    /// likes, in bytes that are no text as well.
    pub(super) fn names(&self, kind: FileType) -> Result<Vec<OsString>, CgroupError> {
        let failed = |source: io::Error| CgroupError::io("list", self.path.clone(), source);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let listing = match openat(&self.fd, ".", flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(Vec::new()),
            opened => opened.map_err(|errno| failed(errno.into()))?,
        };
        let mut names = Vec::new();
        for entry in Dir::new(listing).map_err(|errno| failed(errno.into()))? {
            let entry = entry.map_err(|errno| failed(errno.into()))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if entry.file_type() == kind && name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// A sub-cgroup; `None` if it has vanished. Its path is for messages.
    pub(super) fn child(&self, name: &OsStr) -> Result<Option<Self>, CgroupError> {
        let path = self.path.join(name);
        match openat(&self.fd, name, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { path, fd })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(CgroupError::io("open", path, errno)),
        }
    }

    /// The cgroup above; `None` if this one is gone.
    pub(super) fn parent(&self) -> Result<Option<Self>, CgroupError> {
        let path = self.path.parent().unwrap_or(&self.path).to_owned();
        match openat(&self.fd, "..", DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { path, fd })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(CgroupError::io("open", path, errno)),
        }
    }

    /// Removes a sub-cgroup; one that is gone, or in use, is passed over.
    pub(super) fn remove_child(&self, name: &OsStr) -> Result<(), CgroupError> {
        match unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT | Errno::EBUSY | Errno::ENOTEMPTY) => Ok(()),
            Err(errno) => Err(CgroupError::io("remove", self.path.join(name), errno)),
        }
    }
}

impl CgroupFile {
    /// The content without the newline at its end.
    pub(super) fn text(&self) -> &str {
        self.text.trim_end()
    }

    pub(super) fn malformed(&self, line: &str) -> CgroupError {
        CgroupError::malformed(&self.path, line)
    }

    pub(super) fn number(&self) -> Result<u64, CgroupError> {
        self.parsed(self.text(), self.text())
    }

    /// A number that is a part of `line`, which the error shows.
    pub(super) fn parsed<T: std::str::FromStr>(&self, digits: &str, line: &str) -> Result<T, CgroupError> {
        digits.parse().map_err(|_| self.malformed(line))
    }

    /// The `key value` lines of a flat-keyed file (cgroup-v2.rst, Interface Files).
    pub(super) fn keyed(&self) -> impl Iterator<Item = Result<(&str, u64), CgroupError>> {
        self.text().lines().map(|line| {
            let (key, value) = line.split_once(' ').ok_or_else(|| self.malformed(line))?;
            Ok((key, self.parsed(value, line)?))
        })
    }

    /// The value of one key of a flat-keyed file; `None` if the kernel does not list it.
    pub(super) fn value(&self, wanted: &str) -> Result<Option<u64>, CgroupError> {
        let mut found = None;
        for entry in self.keyed() {
            let (key, value) = entry?;
            if key == wanted {
                found = Some(value);
            }
        }
        Ok(found)
    }

    /// Copies the counters that `field` has a place for into `counters`.
    pub(super) fn fill<T>(
        &self,
        counters: &mut T,
        field: for<'c> fn(&'c mut T, &str) -> Option<&'c mut u64>,
    ) -> Result<(), CgroupError> {
        for entry in self.keyed() {
            let (key, value) = entry?;
            if let Some(place) = field(counters, key) {
                *place = value;
            }
        }
        Ok(())
    }
}
