//! No room for the files of a container: its create is refused, and the bundle is as empty as before.

use std::fs;
use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount, umount2};
use palisade_integration::poll;

use super::fault;
use super::victim::{SLEEP, Victim};
use crate::support::{Check, World};

pub(super) fn trials(world: &'static World) -> Vec<Trial> {
    vec![
        fault(world, "the file system of the bundles is full, at any step", no_room),
        fault(world, "the file system of the bundles is full under a running container", full_while_running),
    ]
}

/// A file system of its own under the bundles of this run's containerd namespace.
struct Bundles {
    folder: PathBuf,
}

impl Bundles {
    fn mount(world: &World, options: &str) -> Result<Self, Failed> {
        let folder = world.containerd.layout().bundles().join(world.containerd.tag());
        fs::create_dir_all(&folder)?;
        mount(Some("bundles"), &folder, Some("tmpfs"), MsFlags::empty(), Some(format!("mode=711,{options}").as_str()))?;
        Ok(Self { folder })
    }

    /// Unmounts it; fails if something uses it.
    fn end(self) -> Check {
        poll::eventually("an end of all that uses the bundles", 60, || {
            match umount(&self.folder) {
                // containerd unmounts what it finds of bundles when it comes back.
                Ok(()) | Err(Errno::EINVAL) => Ok(()),
                Err(errno) => Err(errno.to_string()),
            }
        })?;
        Ok(())
    }

    /// Fails unless nothing is in it.
    fn is_empty(&self) -> Check {
        let left: Vec<_> =
            fs::read_dir(&self.folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        expect!(left.is_empty(), "left in the bundles: {left:?}");
        Ok(())
    }
}

impl Drop for Bundles {
    /// For a test that failed: what uses it must not keep the tests that follow.
    fn drop(&mut self) {
        umount2(&self.folder, MntFlags::MNT_DETACH).ok();
    }
}

fn no_room(world: &World) -> Check {
    // A spec alone takes 8 KiB; a container takes less than 256 KiB.
    let sizes =
        [4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 256].map(|kibibytes| format!("size={kibibytes}k"));
    let inodes = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 64]
        .map(|inodes| format!("nr_inodes={inodes}"));
    let mut used = sweep(world, &sizes)?;
    used.extend(sweep(world, &inodes)?);
    // Where containerd itself found no room after it had a shim, it left that shim alone, and connected.
    world.containerd.restart()?;
    used.into_iter().rev().try_for_each(Bundles::end)
}

/// A container on each of these file systems, of which the first has no room and the last has. Each lies over the one before.
fn sweep(world: &World, sizes: &[String]) -> Result<Vec<Bundles>, Failed> {
    let (mut refused, mut made, mut used) = (0, 0, Vec::new());
    for size in sizes {
        let bundles = Bundles::mount(world, size)?;
        let victim = Victim::make(world, SLEEP)?;
        let outcome = victim.create().and_then(|_| victim.tasks.start(&victim.id, ""));
        match outcome {
            Ok(_) => made += 1,
            Err(failure) => {
                refused += 1;
                let text = failure.to_string().to_lowercase();
                expect!(text.contains("no space left"), "with {size}: {failure}");
            }
        }
        victim.remove().map_err(|failed| format!("with {size}: {}", failed.message().unwrap_or_default()))?;
        bundles.is_empty()?;
        used.push(bundles);
    }
    expect!(refused > 3 && made > 0, "{refused} refused and {made} made");
    Ok(used)
}

fn full_while_running(world: &World) -> Check {
    let bundles = Bundles::mount(world, "size=512k")?;
    let victim = Victim::running(world)?;
    let filler = bundles.folder.join("filler");
    fs::write(&filler, vec![0_u8; 1 << 20]).err().ok_or("the file system has room for more than its size")?;
    let Err(failure) = victim.exec("full", &["true"]) else { return Err("an exec without room for its files".into()) };
    expect!(failure.to_string().to_lowercase().contains("no space left"), "{failure}");
    victim.kill()?;
    victim.remove()?;
    fs::remove_file(&filler)?;
    bundles.is_empty()?;
    bundles.end()
}
