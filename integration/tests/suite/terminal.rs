//! Standard input and a terminal through containerd's API, in place of a command line that wants a terminal itself.

use libtest_mimic::{Failed, Trial};
use palisade_integration::bundle_spec;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::unique;
use palisade_integration::streams::Streams;
use palisade_integration::tasks::{CreateOptions, Tasks};
use serde_json::json;

use crate::support::{Check, RuntimeTest, World, trial_under};

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    let tests: [(&str, RuntimeTest); 2] = [
        ("passes standard input on and closes it", standard_input),
        ("gives a terminal, resizes it and hangs up", terminal),
    ];
    [Runtime::Runc, Runtime::Palisade]
        .into_iter()
        .flat_map(|runtime| tests.map(|(name, test)| trial_under(world, runtime, name, test)))
        .collect()
}

/// A container that waits for its streams.
struct Attached {
    tasks: Tasks,
    id: String,
    streams: Streams,
}

impl Attached {
    fn start(world: &World, runtime: Runtime, args: &[&str], terminal: bool) -> Result<Self, Failed> {
        let tasks = world.tasks()?;
        let id = unique("attached");
        let streams = Streams::make(&id)?;
        let mut spec = bundle_spec::spec(world.containerd.tag(), &id, args);
        spec["process"]["terminal"] = json!(terminal);
        let mounts = tasks.make_container(&id, &world.containerd.runtime_name(runtime), &spec)?;
        tasks.create(&id, mounts, CreateOptions { stdio: streams.uris(), terminal, ..Default::default() })?;
        tasks.start(&id, "")?;
        Ok(Self { tasks, id, streams })
    }

    fn end(self, status: u32) -> Check {
        expect_eq!(self.tasks.wait(&self.id, "")?, status, "exit status");
        self.tasks.delete(&self.id)?;
        self.tasks.remove_container(&self.id)?;
        Ok(self.streams.remove()?)
    }
}

fn standard_input(world: &World, runtime: Runtime) -> Check {
    let mut container = Attached::start(world, runtime, &["sh", "-c", "wc -c; exit 4"], false)?;
    container.streams.write(&[b'x'; 200_000])?;
    container.streams.close_stdin();
    container.tasks.close_stdin(&container.id, "")?;
    container.streams.expect("200000\n")?;
    container.end(4)
}

fn terminal(world: &World, runtime: Runtime) -> Check {
    let mut container = Attached::start(world, runtime, &["sh"], true)?;
    container.streams.write(b"tty\n")?;
    container.streams.expect("/dev/pts/")?;
    container.tasks.resize(&container.id, 132, 43)?;
    container.streams.write(b"stty size\n")?;
    container.streams.expect("43 132")?;
    container.streams.write(b"exit 3\n")?;
    container.end(3)
}
