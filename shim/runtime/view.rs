//! The host as the runtime sees it while it creates a container: what was judged stands at names that nobody else
//! can change.
//!
//! ```text
//! O_PATH descriptor ─▶ open_tree(CLONE) ─▶ new mount namespace ─▶ move_mount onto <bundle>/palisade-view/N
//!                                         config.json there names N ─▶ the runtime is started in it
//! ```
//!
//! The namespace belongs to the runtime's process alone and ends with it, so nothing is left on the host, and the
//! `config.json` on disk keeps the real paths. A clone is a peer of the mount that it was made of, so propagation into and
//! out of volumes stays as it was. Source: open_tree(2), move_mount(2), mount_namespaces(7).

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use palisade_policy::HardenedSpec;
use rustix::fs::{CWD, FileType, fstat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_bind, mount_change, move_mount,
    open_tree,
};
use tokio::sync::oneshot;

use super::call::RuntimeError;
use crate::bundle::{CONFIG, PrivateDir};
use crate::gate::Pins;
use crate::task::{Child, Reaper};

/// Enough for a few calls and the standard library's spawn.
const STACK: usize = 256 << 10;

/// What a runtime is to see, made of what was judged.
#[derive(Debug)]
pub struct HostView {
    directory: PathBuf,
    config: PathBuf,
    document: Vec<u8>,
    files: Vec<(PathBuf, OwnedFd)>,
}

impl HostView {
    /// The view of a container whose private directory is `private` and whose judged files are `pins`.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::View`] when the document does not name them or there is no place for them.
    pub fn of(private: &PrivateDir, spec: &HardenedSpec, pins: Pins) -> Result<Self, RuntimeError> {
        let directory = private.view();
        let (sources, source_files) = named(pins.sources, |mount| directory.join(mount.to_string()));
        let (namespaces, namespace_files) = named(pins.namespaces, |kind| directory.join(format!("{kind:?}")));
        let document =
            spec.with_paths(&sources, &namespaces).map_err(|error| failed("name the judged files")(error.into()))?;
        DirBuilder::new().mode(0o711).create(&directory).map_err(failed("make the directory of the judged files"))?;
        let files = source_files.chain(namespace_files).collect();
        Ok(Self { directory, config: private.path().join(CONFIG), document, files })
    }

    /// Starts a program that sees the view. Only the thread that starts it enters the new namespace.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::View`]; nothing is mounted then.
    pub(super) async fn spawn(self, mut command: Command, reaper: Reaper) -> Result<Child, RuntimeError> {
        let (sender, done) = oneshot::channel();
        let work = move || {
            let spawned = self.enter().and_then(|()| reaper.spawn(&mut command).map_err(failed("start a program")));
            // The pipes' ends that the command holds are closed before anybody waits for their other side.
            drop(command);
            // Whoever asked may have gone away; the child's end is collected all the same.
            drop(sender.send(spawned));
        };
        drop(thread::Builder::new().stack_size(STACK).spawn(work).map_err(failed("start a thread"))?);
        done.await.map_err(|_| failed("wait for a thread")(io::ErrorKind::BrokenPipe.into()))?
    }

    /// Puts the calling thread into a mount namespace of its own in which the sources stand.
    fn enter(&self) -> Result<(), RuntimeError> {
        // Made before the namespace changes: a clone is a peer of the host's mount, not of a copy of it.
        let clones: Vec<(&Path, OwnedFd)> = self
            .files
            .iter()
            .map(|(name, file)| clone(file).map(|clone| (name.as_path(), clone)))
            .collect::<io::Result<_>>()
            .map_err(failed("hold a judged file"))?;
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)
            .map_err(|errno| failed("make a mount namespace")(errno.into()))?;
        self.furnish(clones).map_err(failed("show the judged files"))
    }

    fn furnish(&self, clones: Vec<(&Path, OwnedFd)>) -> io::Result<()> {
        // What is mounted from here on stays here; what the host unmounts is unmounted here too.
        mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        // A process in a user namespace looks its sources up itself, as nobody that the host knows.
        mount("palisade", &self.directory, "tmpfs", flags, c"mode=0711,size=8m")?;
        for (name, clone) in clones {
            place_for(name, &clone)?;
            move_mount(&clone, "", CWD, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        }
        let document = self.directory.join(CONFIG);
        fs::write(&document, &self.document)?;
        Ok(mount_bind(&document, &self.config)?)
    }
}

type Named<T> = Vec<(T, PathBuf)>;

/// The names that the files of a list get: for the document, and with the files.
fn named<T: Copy>(
    files: Vec<(T, OwnedFd)>,
    name: impl Fn(T) -> PathBuf,
) -> (Named<T>, impl Iterator<Item = (PathBuf, OwnedFd)>) {
    let names: Named<T> = files.iter().map(|(of, _)| (*of, name(*of))).collect();
    let placed: Vec<_> =
        names.iter().map(|(_, name)| name.clone()).zip(files.into_iter().map(|(_, file)| file)).collect();
    (names, placed.into_iter())
}

/// The mount at a descriptor with everything mounted below it, detached.
fn clone(file: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(file, "", flags)?)
}

/// A directory is mounted on a directory, everything else on a file.
fn place_for(name: &Path, source: &OwnedFd) -> io::Result<()> {
    let kind = FileType::from_raw_mode(fstat(source)?.st_mode);
    if kind == FileType::Directory { fs::create_dir(name) } else { File::create_new(name).map(drop) }
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> RuntimeError {
    move |source| RuntimeError::View { action, source }
}
