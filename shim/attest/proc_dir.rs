//! `/proc/<pid>` of one process, held open: once that process is gone every read fails, whoever has its pid then.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open, openat, readlinkat};
use std::os::unix::ffi::OsStringExt as _;

use super::mounts::Place;
use super::seen::Unreadable;
use crate::ticks::Stat;

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
            _ => Err(Unreadable::by_kernel(format!("/proc/{pid}"), io::ErrorKind::NotFound.into())),
        }
    }

    pub(super) fn own() -> Result<Self, Unreadable> {
        Self::named("self".into())
    }

    fn named(name: String) -> Result<Self, Unreadable> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = open(Path::new("/proc").join(&name), flags, Mode::empty());
        let directory = opened.map_err(|errno| Unreadable::by_kernel(format!("/proc/{name}"), errno.into()))?;
        Ok(Self { directory, name })
    }

    /// In clock ticks since boot.
    fn start_time(&self) -> Result<u64, Unreadable> {
        let stat = Stat::parse(&self.text("stat")?);
        stat.map(|stat| stat.began.since_boot()).ok_or_else(|| self.unreadable("stat")("has no start time"))
    }

    pub(super) fn unreadable<E: std::fmt::Display>(&self, file: &str) -> impl FnOnce(E) -> Unreadable {
        let path = format!("/proc/{}/{file}", self.name);
        move |why| Unreadable::new(path, why)
    }

    fn kernel<E: Into<io::Error>>(&self, file: &str) -> impl FnOnce(E) -> Unreadable {
        let path = format!("/proc/{}/{file}", self.name);
        move |error| Unreadable::by_kernel(path, error.into())
    }

    /// The text of `status`, to be read before anything is waited for.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn status(&self) -> Result<String, Unreadable> {
        self.text("status")
    }

    /// Whether it has ended or begun to: it runs nothing of its own any more, and the kernel takes away what it had.
    ///
    /// A flag tells that before anything is gone: from then on hierarchies of cgroup v1 show `/` for it, while its memory is still there.
    /// Sources: proc_pid_stat(5), field 9; Linux `do_exit` and `proc_cgroup_show`.
    pub(super) fn is_ending(&self) -> bool {
        match self.text("stat") {
            Ok(stat) => is_exiting(&stat),
            Err(error) => error.is_gone(),
        }
    }

    /// A file's text. A process's own name is in some, and can hold any byte.
    pub(super) fn text(&self, file: &str) -> Result<String, Unreadable> {
        let opened = self.open_file(file, OFlags::RDONLY)?;
        let mut bytes = Vec::with_capacity(4096);
        File::from(opened).take(MAX_TEXT).read_to_end(&mut bytes).map_err(self.kernel(file))?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|odd| String::from_utf8_lossy(odd.as_bytes()).into_owned()))
    }

    /// A file, or what a magic link leads to.
    pub(super) fn open_file(&self, file: &str, how: OFlags) -> Result<OwnedFd, Unreadable> {
        openat(&self.directory, file, how | OFlags::CLOEXEC, Mode::empty()).map_err(self.kernel(file))
    }

    /// The file that it runs.
    pub(super) fn program(&self) -> Result<Place, Unreadable> {
        Place::of(self.open_file("exe", OFlags::PATH)?).map_err(self.unreadable("exe"))
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

/// `PF_EXITING`. Source: Linux `include/linux/sched.h`.
const EXITING: u64 = 0x4;

/// The ninth field of `stat`, the seventh after the name, which can hold anything.
fn is_exiting(stat: &str) -> bool {
    let flags = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(6)?.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & EXITING != 0)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::process::Command;

    use super::*;

    /// A program gives itself a name by that of its file, which an image can hold.
    #[test]
    fn a_process_whose_name_is_no_text_is_read_like_others() {
        let folder = std::env::temp_dir().join(format!("palisade-odd-name-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let program = folder.join(OsStr::from_bytes(b"odd\xff) R 1"));
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let mut child = Command::new(&program).arg("60").spawn().unwrap();
        let process = ProcDir::open(child.id()).unwrap();
        let begun = process.start_time().unwrap();
        let (there, another) = (ProcDir::of_process(child.id(), begun), ProcDir::of_process(child.id(), begun + 1));
        let status = process.status().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(there.is_ok() && another.unwrap_err().is_gone() && status.contains("NoNewPrivs:"), "{status}");
        assert!(process.status().unwrap_err().is_gone(), "it is gone, whoever has its pid");
    }

    /// One that is about to end is still running and has its memory, and is in no cgroup of v1 any more.
    #[test]
    fn one_that_has_begun_to_end_is_known_by_its_flag() {
        let stat =
            |flags: u64| format!("7 (odd) R 1) R 1 7 7 0 -1 {flags} 100 0 0 0 1 1 0 0 20 0 1 0 52024 1000000 200\n");
        assert!(is_exiting(&stat(0x0040_0104)), "its memory and all is there");
        assert!(!is_exiting(&stat(0x0040_0100)) && !is_exiting("7 (odd"));
        assert!(!ProcDir::own().unwrap().is_ending());
        let mut child = Command::new("/bin/true").spawn().unwrap();
        let process = ProcDir::open(child.id()).unwrap();
        rustix::process::waitid(
            rustix::process::WaitId::Pid(rustix::process::Pid::from_child(&child)),
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
        )
        .unwrap();
        let not_waited_for = process.is_ending();
        child.wait().unwrap();
        assert!(not_waited_for && process.is_ending());
    }
}
