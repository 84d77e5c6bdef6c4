//! What a cluster hands to its nodes beside the admin's own files: one set of them, which is in force as a whole or not at all.
//!
//! `palisade policy sync` lays each set in a directory of its own, `cluster/set-…` beside the policy file, and then exchanges the link
//! `cluster/current` by one rename. The link is read and never followed, so a reader has one set from the first file to the last, and
//! asks at the end whether it is still the one in force: one that was replaced may be removed while it is read.

use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, lstat, readlink};
use rustix::io::Errno;

use super::admin_file::is_roots_alone;
use super::source::PolicyFileError;

/// Directory beside the policy file with the sets, and nothing else.
pub const CLUSTER: &str = "cluster";
/// Link in it, to the name of the set that is in force.
pub const CURRENT: &str = "current";

/// The set that is in force, by its path; none where nothing was ever handed to this node.
pub(super) fn in_force(cluster: &Path) -> Result<Option<PathBuf>, PolicyFileError> {
    let link = cluster.join(CURRENT);
    let unreadable = |errno: Errno| PolicyFileError::Read { path: link.clone(), source: errno.into() };
    let name = match readlink(&link, Vec::new()) {
        Ok(name) => name.into_string().map_err(|_| not_the_admins(&link))?,
        Err(Errno::NOENT) => return Ok(None),
        // A file or a directory of that name.
        Err(Errno::INVAL | Errno::NOTDIR) => return Err(not_the_admins(&link)),
        Err(errno) => return Err(unreadable(errno)),
    };
    if !is_plain(&name) {
        return Err(not_the_admins(&link));
    }
    let set = cluster.join(name);
    for directory in [cluster, set.as_path()] {
        check(directory)?;
    }
    Ok(Some(set))
}

/// Whether that set is the one that the link names.
pub(super) fn is_in_force(cluster: &Path, set: &Path) -> bool {
    let name = readlink(cluster.join(CURRENT), Vec::new());
    name.is_ok_and(|name| set.file_name().is_some_and(|set| set.as_encoded_bytes() == name.as_bytes()))
}

/// One name, which leads nowhere else.
fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only.as_encoded_bytes() == name.as_bytes())
}

/// Whoever can write the directory could put another link there, so it must be root's even when it is sticky. A set that is not there is
/// no empty one: its policy would be looser.
fn check(directory: &Path) -> Result<(), PolicyFileError> {
    let unreadable = |source: io::Error| PolicyFileError::Read { path: directory.into(), source };
    let stat = lstat(directory).map_err(|errno| unreadable(errno.into()))?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if is_directory && is_roots_alone(&stat) { Ok(()) } else { Err(not_the_admins(directory)) }
}

fn not_the_admins(path: &Path) -> PolicyFileError {
    PolicyFileError::NotTheAdmins { path: path.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_plain_name_is_a_set() {
        for name in ["set-1-ab", "x"] {
            assert!(is_plain(name), "{name}");
        }
        for name in ["", ".", "..", "/etc", "a/b", "../a", "a/", "./a"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
