//! The directories that libcontainer 0.7 makes for device nodes such as `/dev/net/tun`. It makes them without a umask, so that
//! every user of the container could put another node or file in the place of one.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Linux;
use rustix::fs::{Mode, OFlags, fchmod, fstat, open};
use rustix::io::Errno;

const DEV: &str = "/dev";
const OPEN_TO_ALL: u32 = 0o777;

/// Gives them the mode 0755, in the mount namespace that the calling thread is in.
pub(in super::super) fn close(directories: &BTreeSet<PathBuf>) -> io::Result<()> {
    directories.iter().try_for_each(|directory| close_one(directory))
}

/// Every directory between `/dev` and a node, each once.
pub(in super::super) fn of(linux: &Linux) -> BTreeSet<PathBuf> {
    let devices = linux.devices().iter().flatten();
    let above = devices.flat_map(|device| device.path().ancestors().skip(1));
    above.filter(|path| path.starts_with(DEV) && *path != Path::new(DEV)).map(Path::to_owned).collect()
}

/// A volume below /dev is the pod's own matter, and so is what a link leads to.
fn close_one(directory: &Path) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match open(directory, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(()),
        opened => opened?,
    };
    let dev = open(DEV, flags, Mode::empty())?;
    let (data, of_dev) = (fstat(&opened)?, fstat(&dev)?);
    if data.st_dev == of_dev.st_dev && data.st_mode & 0o7777 == OPEN_TO_ALL {
        fchmod(&opened, Mode::from_raw_mode(0o755))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_below_dev_count_once() {
        let linux: Linux = serde_json::from_str(
            r#"{"devices":[{"path":"/dev/net/tun","type":"c"},{"path":"/dev/null","type":"c"},
                {"path":"/dev/a/b/c","type":"c"},{"path":"/dev/a/b/d","type":"c"}]}"#,
        )
        .unwrap();
        let found: Vec<_> = of(&linux).into_iter().collect();
        assert_eq!(found, [Path::new("/dev/a"), Path::new("/dev/a/b"), Path::new("/dev/net")]);
    }
}
