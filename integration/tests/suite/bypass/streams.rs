//! Where a caller of containerd has a container's streams go (contract §6.17).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use libtest_mimic::Failed;
use nix::sys::stat::Mode;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::unique;
use palisade_integration::tasks::CreateOptions;

use super::container::Container;
use super::ways::Meeting;
use super::ways::Way::Test;
use super::{Bypass, Met, powerless, refused};
use crate::support::World;

const STREAM: &str = "create, with a stream that tells where it went";

pub(super) const ENTRIES: &[Bypass] = &[
    refused(
        "stream-program",
        "§6.17, CVE-2026-53488",
        "a program of the host as log",
        Test(STREAM, stream_program),
        "task.stdio",
    ),
    refused("stream-file", "§6.17", "a file of the host as log", Test(STREAM, stream_file), "task.stdio"),
    refused(
        "stream-plain-file",
        "§6.17",
        "a file of the host where a fifo belongs",
        Test(STREAM, stream_plain),
        "task.stdio",
    ),
    refused("stream-fifo", "§6.17", "a fifo of another program's", Test(STREAM, stream_fifo), "task.stdio"),
    powerless(
        "stream-link",
        "§6.17, CVE-2026-53489",
        "a link among containerd's fifos to a file of the host",
        Test(STREAM, stream_link),
        "streams are opened without following links, and are fifos",
    ),
];

/// Runs a container that says a word on these streams. The inner value is the answer to create and start.
fn speak(world: &World, runtime: Runtime, stream: &str) -> Result<Option<palisade_integration::Failure>, Failed> {
    let container = Container::make(world, runtime, &["echo", "word"], |_| ())?;
    let stdio = [String::new(), stream.to_owned(), stream.to_owned()];
    match container.start(CreateOptions { stdio, ..Default::default() }) {
        Err(failure) => Ok(Some(failure)),
        Ok(_) => {
            container.tasks.wait(&container.id, "")?;
            container.tasks.delete(&container.id)?;
            Ok(None)
        }
    }
}

/// What became of a file of the host: through where the container's word, or a program's work, is there.
fn into(canary: &Path, failure: Option<palisade_integration::Failure>, before: &str) -> Meeting {
    let now = fs::read_to_string(canary).unwrap_or_else(|_| "nothing".to_owned());
    Ok(match failure {
        _ if now != before => Met::Through,
        Some(failure) => Met::Refused(failure),
        None => Met::Powerless(format!("the file has {now:?}")),
    })
}

fn canary(world: &World) -> std::path::PathBuf {
    world.containerd.layout().base.join(unique("canary"))
}

/// The program makes the file that it is named as an argument; that it is no logger comes later.
fn stream_program(world: &World, runtime: Runtime) -> Meeting {
    let canary = canary(world);
    let failure = speak(world, runtime, &format!("binary:///usr/bin/touch?{}", canary.display()))?;
    into(&canary, failure, "nothing")
}

fn stream_file(world: &World, runtime: Runtime) -> Meeting {
    let canary = canary(world);
    let failure = speak(world, runtime, &format!("file://{}", canary.display()))?;
    into(&canary, failure, "nothing")
}

fn stream_plain(world: &World, runtime: Runtime) -> Meeting {
    let canary = canary(world);
    fs::write(&canary, "before")?;
    let failure = speak(world, runtime, &canary.display().to_string())?;
    into(&canary, failure, "before")
}

fn stream_fifo(world: &World, runtime: Runtime) -> Meeting {
    let fifo = canary(world);
    nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let mut reader = fs::File::options().read(true).write(true).open(&fifo)?;
    let failure = speak(world, runtime, &fifo.display().to_string())?;
    match failure {
        Some(failure) => Ok(Met::Refused(failure)),
        None => {
            let mut word = [0; 4];
            std::io::Read::read_exact(&mut reader, &mut word)?;
            Ok(Met::Through)
        }
    }
}

fn stream_link(world: &World, runtime: Runtime) -> Meeting {
    let canary = canary(world);
    fs::write(&canary, "before")?;
    let folder = Path::new("/run/containerd/fifo").join(unique("link"));
    fs::create_dir_all(&folder)?;
    symlink(&canary, folder.join("stdout"))?;
    let failure = speak(world, runtime, &folder.join("stdout").display().to_string());
    fs::remove_dir_all(&folder)?;
    let failure = failure?;
    match into(&canary, failure, "before")? {
        Met::Refused(failure) => Ok(Met::Powerless(failure.to_string())),
        met => Ok(met),
    }
}
