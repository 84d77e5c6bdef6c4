//! A shim's start, as containerd does it: `start` is run in a bundle, and what it answers is connected to.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use containerd_shim_protos::api::{ConnectRequest, ShutdownRequest};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use palisade_integration::ctr::unique;
use palisade_integration::shim_client::{ShimClient, context};
use palisade_integration::{Failure, Runtime, poll};
use serde_json::Value;

use crate::options::Plan;
use crate::raw::{Place, Record};
use crate::side::{Side, in_turn};
use crate::world::World;
use crate::{spec, together};

/// Names in the raw data: from the exec to a connection, and to the first answer.
pub(crate) const CONNECTED: &str = "shim_connected_ms";
pub(crate) const ANSWERED: &str = "shim_answered_ms";

/// A shim starts before it knows its runtime: one side of each shim.
pub(crate) const SIDES: [Side; 2] = [Side::Embedded, Side::Runc];

/// Longest wait for a shim's end, in seconds.
const PATIENCE: u64 = 30;

pub(crate) fn measure(world: &World<'_>, plan: &Plan, rounds: u32, record: &mut Record) -> Result<(), Failure> {
    let sides: Vec<Side> = SIDES.into_iter().filter(|side| plan.sides.contains(side)).collect();
    for round in 0..=rounds {
        for &scale in plan.at_once.iter().filter(|scale| together::is_due(**scale, round)) {
            let ids: Vec<String> = (0..scale).map(|_| unique("started")).collect();
            for side in in_turn(&sides, round) {
                let place = Place { side: side.name(), scale, round };
                let (times, _) = together::all(&ids, |id| one(world, side, id))?;
                for [connected, answered] in times {
                    record.time(place, CONNECTED, connected)?;
                    record.time(place, ANSWERED, answered)?;
                }
            }
        }
        record.flush()?;
    }
    Ok(())
}

fn one(world: &World<'_>, side: Side, id: &str) -> Result<[Duration; 2], Failure> {
    let bundle = bundle(world, id)?;
    // containerd is the reader of the shim's log.
    let log = File::options().read(true).write(true).open(bundle.join("log"));
    let log = log.map_err(Failure::io("open the log of", &bundle))?;
    let mut command = command(world, side, id, &bundle);
    let since = Instant::now();
    let output = command.output().map_err(Failure::io("start a shim in", &bundle))?;
    let socket = socket_in(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()))?;
    drop(UnixStream::connect(&socket).map_err(Failure::io("connect to", &socket))?);
    let connected = since.elapsed();
    let shim = ShimClient::at(&socket)?;
    let pid = shim.ask("Connect", async |client| client.connect(context(), &ConnectRequest::default()).await)?.shim_pid;
    let answered = since.elapsed();
    // A shim that ends may close the connection before it answers.
    shim.with(async |client| client.shutdown(context(), &ShutdownRequest { now: true, ..Default::default() }).await)
        .ok();
    poll::eventually("the end of a shim", PATIENCE, || {
        if Path::new(&format!("/proc/{pid}")).exists() { Err(pid.to_string()) } else { Ok(()) }
    })?;
    drop(log);
    remove(&socket, &bundle)?;
    Ok([connected, answered])
}

/// A bundle as containerd makes it.
fn bundle(world: &World<'_>, id: &str) -> Result<PathBuf, Failure> {
    let bundle = world.containerd.layout().bundles().join(world.containerd.tag()).join(id);
    fs::create_dir_all(&bundle).map_err(Failure::io("make", &bundle))?;
    let spec = spec::of_container(world.containerd, &world.spec, id, &["/bin/true"]);
    let config = bundle.join("config.json");
    fs::write(&config, spec.to_string()).map_err(Failure::io("write", &config))?;
    mkfifo(&bundle.join("log"), Mode::S_IRUSR | Mode::S_IWUSR).map_err(Failure::system("make a log"))?;
    Ok(bundle)
}

/// Source: containerd 2.1 `core/runtime/v2/binary.go`, `pkg/shim/util.go`.
fn command(world: &World<'_>, side: Side, id: &str, bundle: &Path) -> Command {
    let layout = world.containerd.layout();
    let bin = layout.base.join("bin");
    let program = match side.shim() {
        Runtime::Runc | Runtime::NewRunc => "containerd-shim-runc-v2",
        Runtime::Palisade | Runtime::PalisadeByPath => "containerd-shim-palisade-v1",
    };
    let socket = layout.socket().display().to_string();
    let mut command = Command::new(bin.join(program));
    command
        .args(["-namespace", world.containerd.tag(), "-address", &socket, "-publish-binary"])
        .arg(bin.join("containerd"))
        .args(["-id", id, "start"])
        .current_dir(bundle)
        .env_clear()
        .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display()))
        .env("PALISADE_CONFIG", layout.policy())
        .env("TTRPC_ADDRESS", format!("{socket}.ttrpc"))
        .env("GRPC_ADDRESS", &socket)
        .env("NAMESPACE", world.containerd.tag())
        .env("MAX_SHIM_VERSION", "2")
        .env("GOMAXPROCS", "2")
        .stdin(Stdio::null());
    command
}

/// The address in what a shim has answered, which is it or holds it.
fn socket_in(said: &str) -> Result<PathBuf, Failure> {
    let parsed: Option<Value> = serde_json::from_str(said).ok();
    let address = parsed.as_ref().and_then(|reply| reply.get("address")?.as_str()).unwrap_or_else(|| said.trim());
    address.strip_prefix("unix://").map(PathBuf::from).ok_or_else(|| Failure::unreadable("a shim's answer", &said))
}

fn remove(socket: &Path, bundle: &Path) -> Result<(), Failure> {
    if socket.exists() {
        fs::remove_file(socket).map_err(Failure::io("remove", socket))?;
    }
    fs::remove_dir_all(bundle).map_err(Failure::io("remove", bundle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_answer_names_its_socket() {
        let socket = PathBuf::from("/run/s/0a");
        for said in [
            "unix:///run/s/0a",
            "unix:///run/s/0a\n",
            r#"{"version":3,"address":"unix:///run/s/0a","protocol":"ttrpc"}"#,
        ] {
            assert_eq!(socket_in(said).unwrap(), socket, "{said}");
        }
        assert!(socket_in("no such runtime").is_err());
    }
}
