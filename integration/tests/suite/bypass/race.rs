//! The entry that needs a second thread: a directory that is another when it is mounted than when it was looked at.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libtest_mimic::Failed;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use palisade_integration::containerd::Runtime;
use palisade_integration::cri::{self, Cri, Pod};
use palisade_integration::ctr::unique;

use super::Met;
use super::ways::Meeting;
use crate::pods::{kubelet_volume, mount};
use crate::support::World;

const TRIES: usize = 20;
const WORD: &str = "of the host";
const OWN: &str = "of the pod";

/// `turning` in the pod's own volume is a directory and a link to a directory of the host, in turn.
pub(super) fn exchanged(world: &World, runtime: Runtime) -> Meeting {
    let cri = world.cri()?;
    let config = cri.pod_config();
    let volume = PathBuf::from(kubelet_volume(&config, "empty-dir")?);
    let host = world.containerd.layout().base.join(unique("host"));
    for folder in [&volume.join("turning"), &host] {
        fs::create_dir(folder)?;
    }
    fs::write(volume.join("turning/word"), OWN)?;
    fs::write(host.join("word"), WORD)?;
    symlink(&host, volume.join("link"))?;
    let pod = cri.run_pod(runtime, config)?;
    let stop = AtomicBool::new(false);
    let met = std::thread::scope(|scope| {
        scope.spawn(|| turn(&volume, &stop));
        let met = tries(&cri, &pod, &volume);
        stop.store(true, Ordering::Relaxed);
        met
    });
    pod.remove()?;
    met
}

fn turn(volume: &Path, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let (one, other) = (volume.join("turning"), volume.join("link"));
        // Both are there, so this fails only where the kernel cannot exchange; then the control does not get through.
        renameat2(AT_FDCWD, &one, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE).ok();
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn tries(cri: &Cri, pod: &Pod<'_>, volume: &Path) -> Result<Met, Failed> {
    let source = volume.join("turning").display().to_string();
    let (mut own, mut refused) = (0, 0);
    for _ in 0..TRIES {
        let mut config = cri::sleeper();
        mount(&mut config, &source);
        let Ok(container) = cri.start(pod, config) else {
            refused += 1;
            continue;
        };
        let word = cri.exec(&container, &["cat", "/mnt/volume/word"])?.stdout;
        cri.stop(&container, 0)?;
        cri.remove(&container)?;
        match word.as_str() {
            WORD => return Ok(Met::Through),
            OWN => own += 1,
            other => return Err(format!("the volume has {other:?}").into()),
        }
    }
    expect!(own > 0, "refused {refused} times and never run, which shows nothing");
    Ok(Met::Powerless(format!("{own} with its own directory, {refused} refused")))
}
