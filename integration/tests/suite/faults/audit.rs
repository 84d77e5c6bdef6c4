//! An audit log that cannot be written: nothing new is done, and what runs goes on.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use nix::mount::{MsFlags, mount, umount};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use palisade_integration::policy::PolicyFile;

use super::fault;
use super::victim::{SLEEP, Victim};
use crate::support::{Check, World};

pub(super) fn trials(world: &'static World) -> Vec<Trial> {
    vec![
        fault(world, "the audit log's file system is full", full),
        fault(world, "the audit log is a FIFO, a directory, a device or a link", not_a_file),
        fault(world, "the audit log's directory vanishes", vanishes),
    ]
}

fn folder(world: &World) -> PathBuf {
    world.containerd.layout().base.join("audit-fault")
}

/// Fails unless a create is refused for the log.
fn expect_refusal(world: &World, log: &Path) -> Check {
    let victim = Victim::make(world, SLEEP)?;
    let answer = victim.create();
    victim.remove()?;
    expect_reason(answer, log)
}

fn expect_reason<T: std::fmt::Debug>(answer: Result<T, palisade_integration::Failure>, log: &Path) -> Check {
    let Err(failure) = answer else { return Err(format!("done without a record: {answer:?}").into()) };
    let text = failure.to_string();
    for part in ["audit log", &log.display().to_string(), "so nothing is done", "mend:"] {
        expect!(text.contains(part), "no {part:?} in {text:?}");
    }
    Ok(())
}

fn full(world: &World) -> Check {
    let folder = folder(world);
    fs::create_dir(&folder)?;
    mount(Some("audit"), &folder, Some("tmpfs"), MsFlags::empty(), Some("mode=700,size=64k"))?;
    let outcome = on_full_disk(world, &folder);
    umount(&folder)?;
    fs::remove_dir(&folder)?;
    outcome
}

fn on_full_disk(world: &World, folder: &Path) -> Check {
    let log = folder.join("audit.jsonl");
    PolicyFile::defaults().audited_at(&log).write(world.containerd.layout())?;
    let victim = Victim::running(world)?;
    let filler = fill(folder)?;
    expect_refusal(world, &log)?;
    let refused = (0..4).map(|turn| victim.exec(&format!("e{turn}"), &["true"])).find(Result::is_err);
    // The last page of the log may have room for a short record or two.
    expect_reason(refused.ok_or("four records found room")?, &log)?;
    // Half a record would spoil the next one.
    let text = fs::read_to_string(&log)?;
    let whole = text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    expect!(text.ends_with('\n') && whole, "the log: {text:?}");
    // What takes nothing from anybody is not refused.
    expect_eq!(victim.kill()?, 137, "exit status");
    victim.remove()?;
    fs::remove_file(filler)?;
    let victim = Victim::running(world)?;
    expect_eq!(victim.exec("e", &["true"])?, 0, "exit status");
    victim.remove()
}

/// Takes all blocks that are left.
fn fill(folder: &Path) -> Result<PathBuf, Failed> {
    let path = folder.join("filler");
    let mut file = File::create(&path)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    Ok(path)
}

fn not_a_file(world: &World) -> Check {
    let folder = folder(world);
    fs::create_dir(&folder)?;
    let (fifo, directory, link) = (folder.join("fifo"), folder.join("directory"), folder.join("link"));
    mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR)?;
    fs::create_dir(&directory)?;
    std::os::unix::fs::symlink(folder.join("elsewhere"), &link)?;
    let outcome =
        [fifo, directory, link, PathBuf::from("/dev/full"), PathBuf::from("/dev/null")].iter().try_for_each(|log| {
            PolicyFile::defaults().audited_at(log).write(world.containerd.layout())?;
            expect_refusal(world, log)
        });
    fs::remove_dir_all(&folder)?;
    outcome
}

fn vanishes(world: &World) -> Check {
    let folder = folder(world);
    let log = folder.join("deep/audit.jsonl");
    PolicyFile::defaults().audited_at(&log).write(world.containerd.layout())?;
    let victim = Victim::running(world)?;
    fs::remove_dir_all(&folder)?;
    // It is made again: a log that somebody has moved away is no reason to stop.
    expect_eq!(victim.exec("e", &["true"])?, 0, "exit status");
    expect!(log.exists(), "no log");
    let outcome = victim.remove();
    fs::remove_dir_all(&folder)?;
    outcome
}
