//! Streams that are `/dev/null`, for a process inside a container.
//!
//! A runtime that is started without a stream has the host's device there. A container's root that gets it can change the mode and
//! the owner of the host's node, for everybody on the host. libcontainer 0.7 replaces it for init, by a descriptor that can only be
//! read, so that what init writes to it fails. Source: runc `libcontainer/init_linux.go`, `reOpenDevNull`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, fstat, major, minor, open};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout};

const PATH: &str = "/dev/null";
/// Source: kernel `Documentation/admin-guide/devices.txt`.
const NUMBERS: (u32, u32) = (1, 3);

/// Gives every stream that is a null device the container's own. For a process that has the container's root already.
///
/// # Errors
///
/// What stands at `/dev/null` there is something else, or the kernel's reason.
pub(super) fn replace() -> io::Result<()> {
    let wanted = [is_null(stdin())?, is_null(stdout())?, is_null(stderr())?];
    if wanted == [false; 3] {
        return Ok(());
    }
    let own = open_own()?;
    let [first, second, third] = wanted;
    if first {
        dup2_stdin(&own)?;
    }
    if second {
        dup2_stdout(&own)?;
    }
    if third {
        dup2_stderr(&own)?;
    }
    Ok(())
}

/// The container may have put anything there.
fn open_own() -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let own = open(PATH, flags, Mode::empty())?;
    if is_null(&own)? { Ok(own) } else { Err(io::Error::other("/dev/null of the container is another file")) }
}

fn is_null(stream: impl AsFd) -> io::Result<bool> {
    let seen = fstat(stream)?;
    let is_device = FileType::from_raw_mode(seen.st_mode) == FileType::CharacterDevice;
    Ok(is_device && (major(seen.st_rdev), minor(seen.st_rdev)) == NUMBERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_is_known_by_its_numbers() {
        let open = |path: &str| std::fs::File::open(path).unwrap();
        assert!(is_null(open("/dev/null")).unwrap());
        assert!(!is_null(open("/dev/zero")).unwrap());
        assert!(!is_null(open("/proc/self/status")).unwrap());
        assert!(is_null(open_own().unwrap()).unwrap());
    }
}
