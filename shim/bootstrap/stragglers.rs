//! Runtime calls that a daemon has left behind when it was killed.
//!
//! Nobody holds them to the deadline any more, and what they go on with would come after the clean-up. They are known by their
//! working directory: [`OciRuntime`](crate::runtime::OciRuntime) runs them in the container's private one, and nobody else is there.

use std::ffi::OsStr;
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
    let wanted = Wanted { name: directory.file_name().unwrap_or_default(), seen: fs::metadata(directory)? };
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
fn kill_if_in(pid: i32, wanted: &Wanted<'_>) -> Result<(), Errno> {
    let Some(target) = Pid::from_raw(pid) else { return Ok(()) };
    let killed = pidfd_open(target, PidfdFlags::empty())
        .and_then(|process| if is_in(pid, wanted) { pidfd_send_signal(process, Signal::KILL) } else { Ok(()) });
    if killed == Err(Errno::SRCH) { Ok(()) } else { killed }
}

/// A directory, and the last part of its name.
struct Wanted<'a> {
    name: &'a OsStr,
    seen: Metadata,
}

/// By device and inode: a container's process can have a directory of any name. By name before: it can also be in one whose
/// filesystem answers nobody (a volume of a server that is gone), and who looks at that one waits for good.
fn is_in(pid: i32, wanted: &Wanted<'_>) -> bool {
    let link = format!("/proc/{pid}/cwd");
    let has_name = fs::read_link(&link).is_ok_and(|path| path.file_name() == Some(wanted.name));
    let is_same = |seen: Metadata| (seen.dev(), seen.ino()) == (wanted.seen.dev(), wanted.seen.ino());
    has_name && fs::metadata(link).is_ok_and(is_same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;
    use std::thread;
    use std::time::Duration;

    use nix::sched::{CloneFlags, unshare};
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

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

    /// A filesystem that lets one process in and answers nothing from then on. Source: fuse(4), linux/fuse.h.
    fn enter_mount_that_hangs(at: &Path) -> fs::File {
        let mut server = fs::File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        mount("none", at, "fuse", MountFlags::empty(), CString::new(options).unwrap().as_c_str()).unwrap();
        let serving = thread::spawn(move || {
            let mut version = [0; 64];
            version[..8].copy_from_slice(&[[7, 0, 0, 0], [31, 0, 0, 0]].concat());
            // FUSE_INIT, then FUSE_ACCESS, which it does not have.
            for (error, body) in [(0, &version[..]), (-libc::ENOSYS, &[])] {
                let mut request = [0; 1 << 17];
                assert!(server.read(&mut request).unwrap() >= 40, "a request has a header");
                let length = u32::try_from(16 + body.len()).unwrap();
                let head = [&length.to_ne_bytes()[..], &error.to_ne_bytes(), &request[8..16]].concat();
                server.write_all(&[&head[..], body].concat()).unwrap();
            }
            server
        });
        std::env::set_current_dir(at).unwrap();
        serving.join().unwrap()
    }

    #[test]
    fn a_process_in_a_volume_that_hangs_keeps_nobody_waiting() {
        let base = std::env::temp_dir().join(format!("palisade-stragglers-hang-{}", std::process::id()));
        let (here, volume) = (base.join("here"), base.join("volume"));
        fs::create_dir_all(&here).unwrap();
        fs::create_dir_all(&volume).unwrap();
        let at = volume.clone();
        // The mount is in a namespace of the thread's, which ends with it and the process.
        let (server, mut process) = thread::spawn(move || {
            unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
            mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).unwrap();
            let server = enter_mount_that_hangs(&at);
            (server, Command::new("sleep").arg("60").spawn().unwrap())
        })
        .join()
        .unwrap();
        let (said, done) = std::sync::mpsc::channel();
        let killer = thread::spawn(move || said.send(kill_in(&here).is_ok()).unwrap());
        let in_time = done.recv_timeout(Duration::from_secs(5));
        process.kill().unwrap();
        process.wait().unwrap();
        // Whoever waits for an answer gets an error now.
        drop(server);
        killer.join().unwrap();
        fs::remove_dir_all(base).unwrap();
        assert_eq!(in_time, Ok(true));
    }
}
