//! Namespaces of the suite's own.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::invocation::Invocation;

/// Where containerd, kubelet and palisade keep their files: empty file systems of the enclosure's own, so that the suite uses the very
/// paths of a node.
const STATE: [&str; 3] = ["/run", "/var/lib", "/var/log"];

/// Proof that this process has mount and network namespaces of its own, with an empty `/run`, `/var/lib` and `/var/log` and a loopback
/// interface.
#[derive(Debug)]
pub struct Enclosure(());

impl Enclosure {
    /// Enters them. Threads that exist already stay outside, so this is the first thing that a program does.
    ///
    /// # Errors
    /// Not root, or a kernel without one of the namespaces.
    pub fn enter(busybox: &Path) -> Result<Self, Failure> {
        Self::enter_keeping(&[], busybox)
    }

    /// The same with some folders of `/run` as they are, such as `systemd` and `dbus`, by which its cgroup driver works.
    ///
    /// # Errors
    /// As [`Self::enter`]; or one is not there.
    pub fn enter_keeping(folders: &[&str], busybox: &Path) -> Result<Self, Failure> {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
            .map_err(Failure::system("enter mount and network namespaces (root is needed)"))?;
        let nothing = None::<&str>;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
            .map_err(Failure::system("make / private"))?;
        let [run, library, logs] = STATE;
        [library, logs].into_iter().try_for_each(empty)?;
        // Made elsewhere, so that the old one can still be seen, and then moved over it.
        let new_run = Path::new(logs).join("run");
        make(&new_run)?;
        empty(new_run.to_str().unwrap_or_default())?;
        for folder in folders {
            let (from, to) = (Path::new(run).join(folder), new_run.join(folder));
            make(&to)?;
            mount(Some(&from), &to, nothing, MsFlags::MS_BIND | MsFlags::MS_REC, nothing)
                .map_err(Failure::system("keep a folder of /run"))?;
        }
        mount(Some(&new_run), run, nothing, MsFlags::MS_MOVE, nothing).map_err(Failure::system("move /run"))?;
        fs::remove_dir(&new_run).map_err(Failure::io("remove", &new_run))?;
        Invocation::run(Command::new(busybox).args(["ip", "link", "set", "lo", "up"]), b"", 10)?.success()?;
        Ok(Self(()))
    }
}

fn make(folder: &Path) -> Result<(), Failure> {
    fs::create_dir(folder).map_err(Failure::io("make", folder))
}

fn empty(folder: &str) -> Result<(), Failure> {
    mount(Some("enclosure"), folder, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .map_err(Failure::system("mount state folders"))
}
