//! Runtime calls that a daemon has left behind when it was killed.
//!
//! Nobody holds them to the deadline any more, and what they go on with would come after the clean-up. They are known by their
//! working directory: [`OciRuntime`](crate::runtime::OciRuntime) runs them in the container's private one, and nobody else is there.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Kills every process that has this directory as its working directory.
///
/// # Errors
///
/// The directory or `/proc` can't be read. A process that can't be looked at is passed over.
pub(super) fn kill_in(directory: &Path) -> io::Result<()> {
    let wanted = fs::metadata(directory)?;
    let own = std::process::id().cast_signed();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if pid != own
            && is_in(pid, &wanted)
            && let Err(errno) = kill_if_in(pid, &wanted)
        {
            crate::warn!("kill the OCI runtime's process {pid}: {errno}");
        }
    }
    Ok(())
}

/// The pid may be another process's by the time that it is opened, so what was opened is looked at again.
fn kill_if_in(pid: i32, wanted: &Metadata) -> Result<(), Errno> {
    let Some(target) = Pid::from_raw(pid) else { return Ok(()) };
    let killed = pidfd_open(target, PidfdFlags::empty())
        .and_then(|process| if is_in(pid, wanted) { pidfd_send_signal(process, Signal::KILL) } else { Ok(()) });
    if killed == Err(Errno::SRCH) { Ok(()) } else { killed }
}

/// By device and inode: a container's process can have a directory of any name.
fn is_in(pid: i32, wanted: &Metadata) -> bool {
    let seen = fs::metadata(format!("/proc/{pid}/cwd"));
    seen.is_ok_and(|seen| (seen.dev(), seen.ino()) == (wanted.dev(), wanted.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    #[test]
    fn only_who_is_in_the_directory_is_killed() {
        let base = std::env::temp_dir().join(format!("palisade-stragglers-{}", std::process::id()));
        let (here, elsewhere) = (base.join("here"), base.join("elsewhere"));
        fs::create_dir_all(&here).unwrap();
        fs::create_dir_all(&elsewhere).unwrap();
        let spawn = |directory: &Path| Command::new("sleep").arg("60").current_dir(directory).spawn().unwrap();
        let (mut straggler, mut other) = (spawn(&here), spawn(&elsewhere));
        kill_in(&here).unwrap();
        assert_eq!(straggler.wait().unwrap().signal(), Some(9));
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
        fs::remove_dir_all(base).unwrap();
    }
}
