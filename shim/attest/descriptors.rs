//! Open descriptors above the streams. Source: proc_pid_fd(5), proc_pid_fdinfo(5).

use rustix::fs::OFlags;

use super::proc_dir::ProcDir;
use super::seen::Unreadable;

/// The first descriptor that is no stream.
const FIRST: u32 = 3;

/// One.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) number: u32,
    pub(super) target: String,
    pub(super) closed_at_execve: bool,
    /// The mount through which it was opened.
    pub(super) mount: u64,
}

impl Descriptor {
    /// Whether it is of a file that has a name: no pipe, socket or anonymous memory.
    pub(super) fn has_a_path(&self) -> bool {
        self.target.starts_with('/') && !self.target.starts_with("/memfd:")
    }
}

/// Most that are read. A runtime leaves a few open, and a program opens few while it begins; each takes time and memory of the shim's.
const MOST: usize = 4096;

/// Reads them. One that is closed while they are read is left out.
pub(super) fn of(process: &ProcDir) -> Result<Vec<Descriptor>, Unreadable> {
    let numbers = process.names("fd")?.into_iter().filter_map(|name| name.parse().ok());
    let mut open = Vec::new();
    for number in numbers.filter(|number| *number >= FIRST) {
        match one(process, number) {
            Ok(_) if open.len() == MOST => return Err(process.unreadable("fd")("there are too many")),
            Ok(descriptor) => open.push(descriptor),
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(open)
}

fn one(process: &ProcDir, number: u32) -> Result<Descriptor, Unreadable> {
    let file = format!("fdinfo/{number}");
    let text = process.text(&file)?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    // The flags are octal.
    let flags = field("flags:").and_then(|flags| u32::from_str_radix(flags, 8).ok());
    let mount = field("mnt_id:").and_then(|mount| mount.parse().ok());
    let (Some(flags), Some(mount)) = (flags, mount) else { return Err(process.unreadable(&file)("is not understood")) };
    let target = process.link(&format!("fd/{number}"))?.to_string_lossy().into_owned();
    Ok(Descriptor { number, target, closed_at_execve: flags & OFlags::CLOEXEC.bits() != 0, mount })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_survives_an_execve_is_told_apart() {
        let kept = std::fs::File::open("/proc/self/status").unwrap();
        let number = u32::try_from(std::os::fd::AsRawFd::as_raw_fd(&kept)).unwrap();
        let seen = || one(&ProcDir::own().unwrap(), number).unwrap();
        assert!(seen().closed_at_execve && seen().has_a_path() && seen().target.ends_with("/status"));
        rustix::io::fcntl_setfd(&kept, rustix::io::FdFlags::empty()).unwrap();
        assert!(!seen().closed_at_execve);
    }

    /// Its number may be another file's by the time that anybody asks why.
    #[test]
    fn one_that_is_closed_meanwhile_is_gone() {
        assert!(one(&ProcDir::own().unwrap(), 1_000_000).unwrap_err().is_gone());
    }
}
