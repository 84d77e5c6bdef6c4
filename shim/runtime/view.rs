//! The host as the runtime sees it while it creates a container: what was judged stands at names that nobody else
//! can change.
//!
//! ```text
//! O_PATH descriptor ─▶ open_tree(CLONE) ─▶ new mount namespace ─▶ move_mount onto <bundle>/palisade-view/N
//!                                         config.json there names N ─▶ the runtime is started in it
//! ```
//!
//! A mount that is to show its files as other users' does so before it stands there, and the document that the runtime reads says nothing of it: a mount
//! can be idmapped once only, and runtimes that know nothing of mappings ignore them.
//!
//! For the embedded runtime everything else is read-only: it needs the kernel's filesystems, its own directory and the root
//! filesystem, and makes links and nodes below `<rootfs>/dev` by path, whatever a volume of the pod has put there meanwhile. A
//! program that the admin chose, or a hook, may need more.
//!
//! The namespace belongs to the runtime's process alone and ends with it, so nothing is left on the host, and the
//! `config.json` on disk keeps the real paths, and the profile where the runtime gets its program instead. A clone is a peer of the mount that it was made of, so propagation into and
//! out of volumes stays as it was. Source: open_tree(2), move_mount(2), mount_namespaces(7).

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use palisade_policy::{HardenedSpec, IdMaps, IdmappedMount, ProfilePlace};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, open};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_bind, mount_change, move_mount,
    open_tree,
};
use tokio::sync::oneshot;

use super::call::RuntimeError;
use super::choice::OciRuntime;
use crate::bundle::{CONFIG, PrivateDir};
use crate::gate::Pins;
use crate::task::{Child, Reaper};
use crate::unsafe_syscalls::{self, Depth};
use crate::user_namespace::UserNamespace;

/// Enough for a few calls and the standard library's spawn.
const STACK: usize = 256 << 10;

/// What a runtime is to see, made of what was judged.
#[derive(Debug)]
pub struct HostView {
    directory: PathBuf,
    config: PathBuf,
    document: Vec<u8>,
    files: Vec<(PathBuf, OwnedFd)>,
    /// Which of them show their files as other users'.
    idmapped: Vec<(PathBuf, IdmappedMount)>,
    /// The mount of the container's secrets, which stands nowhere else.
    secrets: Option<(PathBuf, OwnedFd)>,
    /// What the runtime may write to; `None`: whatever the host lets root write to.
    writable: Option<Vec<PathBuf>>,
}

impl HostView {
    /// The view of a container whose private directory is `private` and whose judged files are `pins`, for `runtime`, which finds the
    /// system call profile at `profile`.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::View`] when the document does not name them or there is no place for them.
    pub fn of(
        private: &PrivateDir,
        spec: &HardenedSpec,
        pins: Pins,
        runtime: &OciRuntime,
        profile: ProfilePlace,
    ) -> Result<Self, RuntimeError> {
        let directory = private.view();
        let place = |mount: usize| directory.join(mount.to_string());
        let (mut sources, source_files) = named(pins.sources, place);
        sources.extend(pins.secrets.iter().map(|(mount, _)| (*mount, place(*mount))));
        let secrets = pins.secrets.map(|(mount, made)| (place(mount), made));
        let (namespaces, namespace_files) = named(pins.namespaces, |kind| directory.join(format!("{kind:?}")));
        let document = spec.with_paths(&sources, &namespaces, profile);
        let document = document.map_err(|error| failed("name the judged files")(error.into()))?;
        DirBuilder::new().mode(0o711).create(&directory).map_err(failed("make the directory of the judged files"))?;
        let files = source_files.chain(namespace_files).collect();
        let idmapped = spec.idmapped().iter().map(|idmapped| (place(idmapped.mount), idmapped.clone())).collect();
        let needs = || ["/proc".into(), "/sys".into(), private.path().into(), spec.root().into()].into();
        let writable = (runtime.is_embedded() && !spec.has_hooks()).then(needs);
        Ok(Self { directory, config: private.path().join(CONFIG), document, files, idmapped, secrets, writable })
    }

    /// Starts a program that sees the view. Only the thread that starts it enters the new namespace.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::View`]; nothing is mounted then.
    pub(super) async fn spawn(mut self, mut command: Command, reaper: Reaper) -> Result<Child, RuntimeError> {
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
    fn enter(&mut self) -> Result<(), RuntimeError> {
        // Made before the namespace changes: a clone is a peer of the host's mount, not of a copy of it.
        let clones: Vec<(PathBuf, OwnedFd)> = self
            .files
            .iter()
            .map(|(name, file)| clone(file).map(|clone| (name.clone(), clone)))
            // What stands nowhere is moved itself, so that no other mount of it is left.
            .chain(self.secrets.take().map(Ok))
            .collect::<io::Result<_>>()
            .map_err(failed("hold a judged file"))?;
        self.idmap(&clones)?;
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)
            .map_err(|errno| failed("make a mount namespace")(errno.into()))?;
        self.furnish(clones).map_err(failed("show the judged files"))
    }

    /// Done here for every runtime, on the mount of the very file that was judged, while nothing shows it yet.
    fn idmap(&self, clones: &[(PathBuf, OwnedFd)]) -> Result<(), RuntimeError> {
        // The mounts of a container have the same mappings as a rule.
        let mut made: Vec<(&IdMaps, UserNamespace)> = Vec::new();
        for (name, idmapped) in &self.idmapped {
            let Some((_, clone)) = clones.iter().find(|(of, _)| of == name) else { continue };
            if made.iter().all(|(maps, _)| **maps != idmapped.maps) {
                let namespace = UserNamespace::with(&idmapped.maps).map_err(failed("make a user namespace"))?;
                made.push((&idmapped.maps, namespace));
            }
            let depth = if idmapped.recursive { Depth::Tree } else { Depth::Alone };
            for (_, namespace) in made.iter().filter(|(maps, _)| **maps == idmapped.maps) {
                let failed = |source| RuntimeError::Idmap { mount: idmapped.mount, source };
                namespace.idmap(clone, depth).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn furnish(&self, clones: Vec<(PathBuf, OwnedFd)>) -> io::Result<()> {
        // What is mounted from here on stays here; what the host unmounts is unmounted here too.
        mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
        if let Some(writable) = &self.writable {
            read_only_but(writable)?;
        }
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        // A process in a user namespace looks its sources up itself, as nobody that the host knows.
        mount("palisade", &self.directory, "tmpfs", flags, c"mode=0711,size=8m")?;
        for (name, clone) in clones {
            place_for(&name, &clone)?;
            move_mount(&clone, "", CWD, &name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
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

/// Makes all mounts of the calling thread's namespace read-only but those at and below `writable`, which are mounted over
/// themselves as they were. Before Linux 5.12 everything stays as it is.
fn read_only_but(writable: &[PathBuf]) -> io::Result<()> {
    let opened = |path: &Path| open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let kept: Vec<(&PathBuf, OwnedFd)> =
        writable.iter().map(|path| Ok((path, clone(&opened(path)?)?))).collect::<io::Result<_>>()?;
    match unsafe_syscalls::make_tree_read_only(opened(Path::new("/"))?) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => return Ok(()),
        outcome => outcome?,
    }
    for (path, tree) in kept {
        move_mount(&tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    }
    Ok(())
}

/// A directory is mounted on a directory, everything else on a file.
fn place_for(name: &Path, source: &OwnedFd) -> io::Result<()> {
    let kind = FileType::from_raw_mode(fstat(source)?.st_mode);
    if kind == FileType::Directory { fs::create_dir(name) } else { File::create_new(name).map(drop) }
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> RuntimeError {
    move |source| RuntimeError::View { action, source }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn only_what_a_runtime_needs_can_be_written() {
        let base = std::env::temp_dir().join(format!("palisade-view-{}", std::process::id()));
        let (kept, other) = (base.join("kept"), base.join("other"));
        fs::create_dir_all(&kept).unwrap();
        fs::create_dir_all(&other).unwrap();
        let writable = [PathBuf::from("/proc"), kept.clone()];
        let in_namespace = move || {
            unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
            mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).unwrap();
            fs::write(other.join("before"), "").unwrap();
            read_only_but(&writable).unwrap();
            fs::write(kept.join("after"), "").unwrap();
            fs::write("/proc/thread-self/comm", "kept").unwrap();
            fs::write(other.join("after"), "").unwrap_err().kind()
        };
        assert_eq!(thread::spawn(in_namespace).join().unwrap(), ErrorKind::ReadOnlyFilesystem);
        // On the host nothing has changed.
        fs::write(base.join("other/host"), "").unwrap();
        fs::remove_dir_all(base).unwrap();
    }
}
