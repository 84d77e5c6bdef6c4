//! The node's files: the one place that reads them, below a root that no link leads out of.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fchmod, fstat, open, openat2, readlinkat};
use rustix::io::Errno;

/// Something that was looked at; else why it could not be.
pub(crate) type Fact<T> = Result<T, String>;

/// Of a file that is read, in bytes: a configuration or the status file of a package manager.
const MAX_TEXT: u64 = 16 << 20;
/// Entries of a directory.
const MAX_ENTRIES: usize = 100_000;
/// Links in one path. Source: path_resolution(7).
const MAX_LINKS: usize = 40;
/// A walk over `..` is given up by the kernel when anything is renamed meanwhile. Source: openat2(2), EAGAIN.
const TURNS: usize = 128;

/// One directory, link's target or file on the way to something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) path: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    pub(crate) kind: FileType,
}

impl Step {
    fn of(path: &Path, stat: &Stat) -> Self {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let path = path.to_string_lossy().into_owned();
        Self { path, uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777, kind }
    }

    /// Whether somebody but root can write it.
    pub(crate) fn others_write(&self) -> bool {
        self.uid != 0 || self.mode & 0o022 != 0
    }
}

/// All steps from the root to the thing itself, which is the last one. None where there is no such thing.
pub(crate) type Way = Fact<Option<Vec<Step>>>;

/// A node's tree of files.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
    path: PathBuf,
}

impl Tree {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: open(path, flags, Mode::empty())?, path: path.to_owned() })
    }

    /// Whether it is the tree of the machine that this runs on.
    pub(crate) fn is_live(&self) -> bool {
        self.path == Path::new("/")
    }

    fn at(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let attempt = || openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
        let is_final = |opened: &Result<OwnedFd, Errno>| !matches!(opened, Err(Errno::AGAIN | Errno::INTR));
        std::iter::repeat_with(attempt).take(TURNS).find(is_final).unwrap_or(Err(Errno::AGAIN))
    }

    /// A regular file's content, up to a number of bytes.
    pub(crate) fn bytes(&self, path: impl AsRef<Path>, most: u64) -> Fact<Option<Vec<u8>>> {
        let path = path.as_ref();
        // Without blocking: it could be a FIFO.
        let Some(file) = present(path, self.at(path, OFlags::RDONLY | OFlags::NONBLOCK))? else { return Ok(None) };
        let stat = fstat(&file).map_err(|errno| failed(path, &errno.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(format!("{} is no file", path.display()));
        }
        let mut bytes = Vec::new();
        File::from(file).take(most).read_to_end(&mut bytes).map_err(|error| failed(path, &error))?;
        Ok(Some(bytes))
    }

    /// A file's text.
    pub(crate) fn text(&self, path: impl AsRef<Path>) -> Fact<Option<String>> {
        let path = path.as_ref();
        let Some(bytes) = self.bytes(path, MAX_TEXT + 1)? else { return Ok(None) };
        if bytes.len() as u64 > MAX_TEXT {
            return Err(format!("{} is too large", path.display()));
        }
        String::from_utf8(bytes).map(Some).map_err(|_| format!("{} is no text", path.display()))
    }

    /// A directory, to change what is in it.
    pub(crate) fn open_directory(&self, path: &Path) -> io::Result<OwnedFd> {
        Ok(self.at(path, OFlags::RDONLY | OFlags::DIRECTORY)?)
    }

    /// Anything, as a place that a path in /proc leads to.
    pub(crate) fn open_path(&self, path: &Path) -> io::Result<OwnedFd> {
        Ok(self.at(path, OFlags::PATH)?)
    }

    /// The names in a directory, sorted.
    pub(crate) fn list(&self, path: impl AsRef<Path>) -> Fact<Option<Vec<String>>> {
        let path = path.as_ref();
        let opened = self.at(path, OFlags::RDONLY | OFlags::DIRECTORY);
        let Some(directory) = present(path, opened)? else { return Ok(None) };
        let read = || -> io::Result<Vec<String>> {
            let entries = Dir::read_from(&directory)?.take(MAX_ENTRIES);
            let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            names.collect()
        };
        let mut names = read().map_err(|error| failed(path, &error))?;
        names.retain(|name| name != "." && name != "..");
        names.sort();
        Ok(Some(names))
    }

    /// Where a link points to, magic ones of /proc as well: as a text, nothing is opened behind it.
    pub(crate) fn link(&self, path: impl AsRef<Path>) -> Option<String> {
        let link = self.at(path.as_ref(), OFlags::PATH | OFlags::NOFOLLOW).ok()?;
        Some(readlinkat(&link, "", Vec::new()).ok()?.to_string_lossy().into_owned())
    }

    /// Everything that decides what is found at a path: whoever can write one of the directories, or a link's, can put something else there.
    pub(crate) fn way(&self, path: impl AsRef<Path>) -> Way {
        let path = path.as_ref();
        let mut todo: Vec<PathBuf> = parts(path);
        let mut here = PathBuf::from("/");
        let root = fstat(&self.root).map_err(|errno| failed(Path::new("/"), &errno.into()))?;
        let mut steps = vec![Step::of(&here, &root)];
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == Path::new("..") {
                here.pop();
                continue;
            }
            let next = here.join(&part);
            let Some(file) = present(&next, self.at(&next, OFlags::PATH | OFlags::NOFOLLOW))? else {
                return Ok(None);
            };
            let stat = fstat(&file).map_err(|errno| failed(&next, &errno.into()))?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                steps.push(Step::of(&next, &stat));
                here = next;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(failed(path, &Errno::LOOP.into()));
            }
            let target = readlinkat(&file, "", Vec::new()).map_err(|errno| failed(&next, &errno.into()))?;
            let target = PathBuf::from(target.to_string_lossy().into_owned());
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            todo.extend(parts(&target));
        }
        Ok(Some(steps))
    }

    /// A directory under a path by which others can open it, within the tree as it is here. It lives as long as the descriptor.
    pub(crate) fn directory(&self, path: &Path) -> Fact<Option<(OwnedFd, PathBuf)>> {
        let opened = self.at(path, OFlags::PATH | OFlags::DIRECTORY);
        let Some(directory) = present(path, opened)? else { return Ok(None) };
        use std::os::fd::AsRawFd as _;
        let by = PathBuf::from(format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd()));
        Ok(Some((directory, by)))
    }

    /// Takes group's and others' right to write away from a file or directory of root's.
    pub(crate) fn take_writing(&self, path: &Path) -> io::Result<()> {
        let file = self.at(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
        let stat = fstat(&file)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if stat.st_uid != 0 || !matches!(kind, FileType::RegularFile | FileType::Directory) {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        Ok(fchmod(&file, Mode::from_raw_mode(stat.st_mode & 0o7755))?)
    }
}

/// Writes a setting of the running kernel.
pub(crate) fn write_setting(name: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/{name}");
    let file = openat2(CWD, &path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    rustix::io::write(&file, value.as_bytes())?;
    Ok(())
}

/// The parts of a path, the first one last.
fn parts(path: &Path) -> Vec<PathBuf> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(part).collect()
}

/// What is not there is no failure.
fn present<T>(path: &Path, opened: Result<T, Errno>) -> Fact<Option<T>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(failed(path, &errno.into())),
    }
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the value that it has, so that nothing changes; where /proc/sys can't be written at all, that is the answer.
    #[test]
    fn a_setting_is_written_and_nothing_else() {
        let tree = Tree::open(Path::new("/")).unwrap();
        let value = tree.text("/proc/sys/fs/protected_hardlinks").unwrap().unwrap();
        match write_setting("fs/protected_hardlinks", value.trim()) {
            Ok(()) => assert_eq!(tree.text("/proc/sys/fs/protected_hardlinks").unwrap().unwrap(), value),
            Err(error) => {
                assert!(matches!(error.raw_os_error(), Some(libc::EROFS | libc::EACCES | libc::EPERM)), "{error}")
            }
        }
        assert!(write_setting("fs/nosuch", "1").is_err());
    }
}
