//! The kernel's work for a container, without a runtime, a shim or containerd: what all sides have in common.
//!
//! The same overlay, namespaces, mounts, hidden paths, cgroups and limits as of the specification that they run, made by a small static
//! program that is told what to do (`probe bare`). It counts its own time: from its first call to its last.

mod order;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use palisade_integration::Failure;
use palisade_probe::{KernelWork, WorkDone};

use crate::life::{Hand, Prepared};
use crate::lives::{CPU, WHOLE};
use crate::raw::{Place, Record};
use crate::side::Side;
use crate::world::World;

/// Its name in the raw data.
pub(crate) const NAME: &str = "kernel";

/// One life for each hand, all at once.
pub(crate) fn batch(
    world: &World<'_>,
    hands: &[Hand<'_>],
    record: &mut Record,
    place: Place<'_>,
) -> Result<(), Failure> {
    // Only their snapshots are used.
    let prepared = hands
        .iter()
        .map(|hand| hand.prepare(Side::Runc, &world.spec, &["/bin/true"]))
        .collect::<Result<Vec<_>, _>>()?;
    let orders = prepared.iter().map(|one| order(world, one)).collect::<Result<Vec<_>, _>>()?;
    let mut programs = orders.iter().map(|_| spawn(world)).collect::<Result<Vec<_>, _>>()?;
    for (program, order) in programs.iter_mut().zip(&orders) {
        tell(program, order)?;
    }
    for program in programs {
        let done = result(program)?;
        record.add(place, WHOLE, thousandth(done.nanoseconds) / 1000.0)?;
        record.add(place, CPU, thousandth(done.cpu_microseconds))?;
    }
    for (one, hand) in prepared.iter().zip(hands) {
        hand.remove(one)?;
    }
    Ok(())
}

fn order(world: &World<'_>, prepared: &Prepared) -> Result<KernelWork, Failure> {
    let folder = world.containerd.layout().base.join("kernel");
    fs::create_dir_all(&folder).map_err(Failure::io("make", &folder))?;
    let overlay = prepared.mounts.first().map(|mount| mount.options.join(",")).unwrap_or_default();
    Ok(KernelWork {
        rootfs: folder.join(&prepared.id).display().to_string(),
        overlay,
        args: vec!["/bin/true".to_owned()],
        ..order::of(&world.spec, world.containerd.tag(), &prepared.id)
    })
}

fn spawn(world: &World<'_>) -> Result<Child, Failure> {
    Command::new(program(world))
        .arg("bare")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed("start the probe"))
}

fn program(world: &World<'_>) -> PathBuf {
    world.containerd.assets().probe.join("probe")
}

/// It begins when it has read to the end.
fn tell(program: &mut Child, order: &KernelWork) -> Result<(), Failure> {
    let text = serde_json::to_vec(order).map_err(|error| unread(&error))?;
    let mut stdin = program.stdin.take().ok_or_else(|| unread(&"no input"))?;
    stdin.write_all(&text).map_err(failed("tell the probe"))
}

fn result(mut program: Child) -> Result<WorkDone, Failure> {
    let mut said = String::new();
    let mut stdout = program.stdout.take().ok_or_else(|| unread(&"no output"))?;
    stdout.read_to_string(&mut said).map_err(failed("read from the probe"))?;
    program.wait().map_err(failed("wait for the probe"))?;
    serde_json::from_str(&said).map_err(|error| unread(&format!("{error}: {said}")))
}

#[allow(clippy::cast_precision_loss, reason = "a life is far shorter than 2^52 of any unit")]
fn thousandth(number: u64) -> f64 {
    number as f64 / 1000.0
}

fn failed(action: &str) -> impl FnOnce(std::io::Error) -> Failure {
    let action = action.to_owned();
    move |source| Failure::Io { action, source }
}

fn unread(detail: &impl ToString) -> Failure {
    Failure::unreadable("`probe bare`", detail)
}
