//! Overlay mounts whose list of layers is longer than the page that mount(2) takes.
//!
//! containerd's layers have a common directory, so relative names make the list short enough for every image that
//! containerd can unpack (128 layers). The working directory belongs to the process, so a thread of its own, with a
//! working directory of its own, does it. The newer fsconfig(2) takes layers one by one, but only from Linux 6.8.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::mount::mount;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::chdir;

use super::MountError;
use super::options::MountOptions;
use super::target::Target;

/// What mount(2) copies on every architecture, its terminating zero included.
const PAGE: usize = 4096;

/// Whether the options fit as they are.
pub(super) fn fits(options: &[String]) -> bool {
    length(options) < PAGE
}

/// In bytes, with the commas between and the zero at the end.
pub(super) fn length(options: &[String]) -> usize {
    options.iter().map(|option| option.len() + 1).sum()
}

/// Mounts an overlay on `target` with its layers named from their common directory. The inner result is mount(2)'s.
///
/// # Errors
///
/// [`MountError::OptionsTooLong`] if even that does not fit, [`MountError::Io`] if no thread can be had for it.
pub(super) fn mount_from_common_directory(
    target: &OwnedFd,
    options: &MountOptions,
) -> Result<Result<(), Errno>, MountError> {
    let (directory, relative) = relative_layers(&options.filesystem)
        .filter(|(_, relative)| fits(relative))
        .ok_or_else(|| MountError::OptionsTooLong { bytes: length(&options.filesystem) })?;
    let data = relative.join(",");
    let in_thread = || -> Result<(), Errno> {
        unshare(CloneFlags::CLONE_FS)?;
        chdir(&directory)?;
        // Of the new thread: it has the same fds.
        let target = Target::by_fd(target);
        mount(Some("overlay"), &target, Some("overlay"), options.flags, Some(data.as_str()))
    };
    let failed = |source: io::Error| MountError::Io { action: "mount", path: directory.clone(), source };
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, in_thread).map_err(failed)?;
        thread.join().map_err(|_| failed(io::Error::other("the mounting thread panicked")))
    })
}

/// The options with the layers named relative to the directory that all of them are in, and that directory; `None` if there is none.
fn relative_layers(options: &[String]) -> Option<(PathBuf, Vec<String>)> {
    let at = options.iter().position(|option| option.starts_with("lowerdir="))?;
    let lower = options.get(at)?.strip_prefix("lowerdir=")?;
    // A backslash escapes a colon inside a name, which is not worth taking apart.
    if lower.contains('\\') {
        return None;
    }
    let layers: Vec<&Path> = lower.split(':').map(Path::new).collect();
    let common = layers.iter().skip(1).try_fold(layers.first()?.parent()?, |common, layer| {
        // Never the layer itself, whose relative name would be empty.
        common.ancestors().find(|ancestor| layer.parent().is_some_and(|parent| parent.starts_with(ancestor)))
    })?;
    let names: Option<Vec<&str>> = layers.iter().map(|layer| layer.strip_prefix(common).ok()?.to_str()).collect();
    let mut relative = options.to_vec();
    *relative.get_mut(at)? = format!("lowerdir={}", names?.join(":"));
    (common.is_absolute()).then(|| (common.to_path_buf(), relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relative(options: &[&str]) -> Option<(PathBuf, Vec<String>)> {
        relative_layers(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn layers_lose_their_common_directory_and_nothing_else_changes() {
        let (directory, options) =
            relative(&["index=off", "lowerdir=/v/s/2/fs:/v/s/1/fs", "upperdir=/v/s/3/fs", "workdir=/v/s/3/work"])
                .unwrap();
        assert_eq!(directory, Path::new("/v/s"));
        assert_eq!(options, ["index=off", "lowerdir=2/fs:1/fs", "upperdir=/v/s/3/fs", "workdir=/v/s/3/work"]);
    }

    #[test]
    fn a_layer_is_never_its_own_common_directory() {
        assert_eq!(relative(&["lowerdir=/a/b"]).unwrap(), (PathBuf::from("/a"), vec!["lowerdir=b".to_owned()]));
        assert_eq!(relative(&["lowerdir=/a/b:/a/b/c"]).unwrap().1, ["lowerdir=b:b/c"]);
        assert_eq!(relative(&["lowerdir=/a/b/c:/a/b"]).unwrap().1, ["lowerdir=b/c:b"]);
        assert_eq!(relative(&["lowerdir=/a/x:/b/x"]).unwrap().1, ["lowerdir=a/x:b/x"]);
    }

    #[test]
    fn what_cannot_be_shortened_is_left() {
        assert_eq!(relative(&["upperdir=/a"]), None);
        assert_eq!(relative(&["lowerdir=a:b"]), None);
        assert_eq!(relative(&["lowerdir=/a\\:b:/a/c"]), None);
        assert_eq!(relative(&["lowerdir=/a/b:relative"]), None);
    }

    #[test]
    fn the_limit_counts_the_commas_and_the_zero() {
        assert!(fits(&["x".repeat(PAGE - 2)]));
        assert!(!fits(&["x".repeat(PAGE - 1)]));
        assert!(!fits(&["x".repeat(PAGE / 2), "x".repeat(PAGE / 2 - 1)]));
    }
}
