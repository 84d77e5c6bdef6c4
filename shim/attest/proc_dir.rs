//! `/proc/<pid>` of one process, held open: once that process is gone every read fails, whoever has its pid then.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open, openat, readlinkat};
use std::os::unix::ffi::OsStringExt as _;

use super::identities::FileId;
use super::seen::Unreadable;

/// Most bytes of one file that are read.
const MAX_TEXT: u64 = 4 << 20;

/// One process's directory.
#[derive(Debug)]
pub struct ProcDir {
    directory: OwnedFd,
    name: String,
}

impl ProcDir {
    /// That of the process that has this pid now. Of a child that was not waited for it is certain which one that is.
    ///
    /// # Errors
    ///
    /// The kernel's, if there is none.
    pub fn open(pid: u32) -> Result<Self, Unreadable> {
        Self::named(pid.to_string())
    }

    /// That of the process with this pid and start time, in clock ticks since boot.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn of_process(pid: u32, start_time: u64) -> Result<Self, Unreadable> {
        let opened = Self::open(pid)?;
        match opened.start_time()? {
            there if there == start_time => Ok(opened),
            _ => Err(Unreadable::new(format!("/proc/{pid}"), "another process has this pid")),
        }
    }

    pub(super) fn own() -> Result<Self, Unreadable> {
        Self::named("self".into())
    }

    fn named(name: String) -> Result<Self, Unreadable> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = open(Path::new("/proc").join(&name), flags, Mode::empty());
        let directory = opened.map_err(|errno| Unreadable::new(format!("/proc/{name}"), io::Error::from(errno)))?;
        Ok(Self { directory, name })
    }

    /// Field 22 of `stat`. Source: proc_pid_stat(5).
    fn start_time(&self) -> Result<u64, Unreadable> {
        let text = self.text("stat")?;
        let fields = text.rsplit_once(") ").map(|(_, fields)| fields);
        let field = fields.and_then(|fields| fields.split(' ').nth(19)?.parse().ok());
        field.ok_or_else(|| self.unreadable("stat")("has no start time"))
    }

    pub(super) fn unreadable<E: std::fmt::Display>(&self, file: &str) -> impl FnOnce(E) -> Unreadable {
        let path = format!("/proc/{}/{file}", self.name);
        move |why| Unreadable::new(path, why)
    }

    fn kernel(&self, file: &str) -> impl FnOnce(rustix::io::Errno) -> Unreadable {
        let failed = self.unreadable(file);
        move |errno| failed(io::Error::from(errno))
    }

    /// The text of `status`, to be read before anything is waited for.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn status(&self) -> Result<String, Unreadable> {
        self.text("status")
    }

    /// A file's text.
    pub(super) fn text(&self, file: &str) -> Result<String, Unreadable> {
        let opened = self.open_file(file, OFlags::RDONLY)?;
        let mut text = String::with_capacity(4096);
        let read = File::from(opened).take(MAX_TEXT).read_to_string(&mut text);
        read.map_err(self.unreadable(file))?;
        Ok(text)
    }

    /// A file, or what a magic link leads to.
    pub(super) fn open_file(&self, file: &str, how: OFlags) -> Result<OwnedFd, Unreadable> {
        openat(&self.directory, file, how | OFlags::CLOEXEC, Mode::empty()).map_err(self.kernel(file))
    }

    /// The file that it runs.
    pub(super) fn program(&self) -> Result<FileId, Unreadable> {
        FileId::of_open(self.open_file("exe", OFlags::PATH)?).map_err(self.unreadable("exe"))
    }

    /// What a link says.
    pub(super) fn link(&self, file: &str) -> Result<OsString, Unreadable> {
        let link = readlinkat(&self.directory, file, Vec::new()).map_err(self.kernel(file))?;
        Ok(OsString::from_vec(link.into_bytes()))
    }

    /// The names in a directory.
    pub(super) fn names(&self, directory: &str) -> Result<Vec<String>, Unreadable> {
        let opened = self.open_file(directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(opened).map_err(self.kernel(directory))? {
            let entry = entry.map_err(self.kernel(directory))?;
            names.extend(entry.file_name().to_str().ok().filter(|name| !name.starts_with('.')).map(str::to_owned));
        }
        Ok(names)
    }

    /// Whether it is this very process that a link of `/proc` names.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}
