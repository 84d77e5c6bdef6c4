//! Namespaces of the suite's own.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
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
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
            .map_err(Failure::system("enter mount and network namespaces (root is needed)"))?;
        let nothing = None::<&str>;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
            .map_err(Failure::system("make / private"))?;
        for folder in STATE {
            mount(Some("enclosure"), folder, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
                .map_err(Failure::system("mount state folders"))?;
        }
        Invocation::run(Command::new(busybox).args(["ip", "link", "set", "lo", "up"]), b"", 10)?.success()?;
        Ok(Self(()))
    }
}
