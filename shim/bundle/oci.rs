//! containerd's bundle: a directory that holds the OCI `config.json` and the `rootfs`.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use thiserror::Error;

/// Upper bound of a `config.json` that is read, in bytes. A CRI spec has 20 to 60 KiB.
const MAX_CONFIG: u64 = 4 << 20;

/// Why a bundle cannot be used.
#[derive(Debug, Error)]
pub enum BundleError {
    /// The path is relative, has `..` in it, or is not `<dir>/<namespace>/<id>`.
    #[error("bundle path {path:?} is not the absolute path of container {id:?} in namespace {namespace:?}")]
    Misplaced {
        /// The path as requested.
        path: PathBuf,
        /// The container.
        id: String,
        /// containerd's namespace.
        namespace: String,
    },
    /// A component is missing, a symbolic link, or not readable.
    #[error("open {path:?}")]
    Open {
        /// What was opened.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// `config.json` is larger than is ever read.
    #[error("{path:?} has more than {MAX_CONFIG} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// A bundle directory, held open, so that what is checked and what is used are the same directory.
#[derive(Debug)]
pub struct OciBundle {
    dir: OwnedFd,
    path: PathBuf,
}

impl OciBundle {
    /// Opens the bundle of container `id`.
    ///
    /// containerd names a bundle `<state>/<namespace>/<id>`; the path in a request is the caller's, so it
    /// has to have that form, and no component of it may be a symbolic link.
    ///
    /// # Errors
    ///
    /// [`BundleError::Misplaced`] for another form, [`BundleError::Open`] when it can't be opened.
    pub fn open(path: &Path, namespace: &str, id: &str) -> Result<Self, BundleError> {
        let mut tail = path.components().rev();
        let plain = path.is_absolute() && path.components().all(|part| part != Component::ParentDir);
        let names_it = tail.next() == Some(Component::Normal(id.as_ref()))
            && tail.next() == Some(Component::Normal(namespace.as_ref()));
        if !plain || !names_it {
            return Err(BundleError::Misplaced { path: path.into(), id: id.into(), namespace: namespace.into() });
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS)
            .or_else(|errno| open_below_links(path, errno, flags))
            .map_err(|errno| BundleError::Open { path: path.into(), source: errno.into() })?;
        Ok(Self { dir, path: path.into() })
    }

    /// The absolute path, for programs that take no file descriptor.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where containerd's rootfs mounts go: `<bundle>/rootfs`.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    /// The bytes of `config.json`, read once: what is judged is what is handed on.
    ///
    /// # Errors
    ///
    /// [`BundleError::Open`] when it is missing or a link, [`BundleError::TooLarge`] over 4 MiB.
    pub fn read_config(&self) -> Result<Vec<u8>, BundleError> {
        let path = self.path.join("config.json");
        let failed = |source: io::Error| BundleError::Open { path: path.clone(), source };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            openat2(&self.dir, "config.json", flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
                .map_err(|errno| failed(errno.into()))?;
        let mut bytes = Vec::new();
        let file = File::from(fd);
        (&file).take(MAX_CONFIG + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_CONFIG {
            return Err(BundleError::TooLarge { path: self.path.join("config.json") });
        }
        Ok(bytes)
    }
}

/// `/run` itself is a link on some distributions (`/var/run`): a bundle below a link that only root can
/// change is accepted when the resolved path is used from then on; the last two components may not be links.
fn open_below_links(path: &Path, errno: rustix::io::Errno, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let (Some(namespace_dir), Some(id)) = (path.parent(), path.file_name()) else { return Err(errno) };
    let (Some(state), Some(namespace)) = (namespace_dir.parent(), namespace_dir.file_name()) else { return Err(errno) };
    if errno != rustix::io::Errno::LOOP {
        return Err(errno);
    }
    let state = openat2(CWD, state, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
    let below = Path::new(namespace).join(id);
    openat2(&state, &below, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

impl AsFd for OciBundle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("palisade-bundle-{name}-{}", std::process::id()));
            std::fs::create_dir_all(dir.join("ns/c1")).unwrap();
            Self(dir)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn reads_the_config_of_a_well_placed_bundle() {
        let scratch = Scratch::new("reads");
        std::fs::write(scratch.0.join("ns/c1/config.json"), b"{}").unwrap();
        let bundle = OciBundle::open(&scratch.0.join("ns/c1"), "ns", "c1").unwrap();
        assert_eq!(bundle.read_config().unwrap(), b"{}");
    }

    #[test]
    fn refuses_a_path_that_is_not_the_containers() {
        let scratch = Scratch::new("misplaced");
        for path in [scratch.0.join("ns"), scratch.0.join("ns/c1/../c1"), PathBuf::from("ns/c1")] {
            let refused = OciBundle::open(&path, "ns", "c1");
            assert!(matches!(refused, Err(BundleError::Misplaced { .. })), "{path:?}: {refused:?}");
        }
        assert!(matches!(OciBundle::open(&scratch.0.join("ns/c1"), "other", "c1"), Err(BundleError::Misplaced { .. })));
    }

    #[test]
    fn refuses_links_in_place_of_the_bundle_and_of_the_config() {
        let scratch = Scratch::new("links");
        symlink(scratch.0.join("ns/c1"), scratch.0.join("ns/c2")).unwrap();
        assert!(matches!(OciBundle::open(&scratch.0.join("ns/c2"), "ns", "c2"), Err(BundleError::Open { .. })));
        symlink("/etc/passwd", scratch.0.join("ns/c1/config.json")).unwrap();
        let bundle = OciBundle::open(&scratch.0.join("ns/c1"), "ns", "c1").unwrap();
        assert!(matches!(bundle.read_config(), Err(BundleError::Open { .. })));
    }

    #[test]
    fn refuses_a_config_that_is_too_large() {
        let scratch = Scratch::new("large");
        let file = File::create(scratch.0.join("ns/c1/config.json")).unwrap();
        file.set_len(MAX_CONFIG + 1).unwrap();
        let bundle = OciBundle::open(&scratch.0.join("ns/c1"), "ns", "c1").unwrap();
        assert!(matches!(bundle.read_config(), Err(BundleError::TooLarge { .. })));
    }
}
