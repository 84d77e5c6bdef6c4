//! The benchmark behind `scripts/bench`: palisade with its embedded runtime against containerd-shim-runc-v2 with runc, interleaved, on the
//! same containerd and image and with the same spec: the one that palisade hardened, seccomp profile included.

mod memory;
mod report;
mod steps;
mod watching;

use std::process::ExitCode;

use palisade_integration::policy::PolicyFile;
use palisade_integration::tasks::Tasks;
use palisade_integration::{Assets, Containerd, Enclosure, Failure, Leftovers, Runtime, leftovers};

/// Whom the columns of the tables are for.
const SIDES: [Runtime; 2] = [Runtime::Runc, Runtime::Palisade];

fn main() -> ExitCode {
    let rounds = std::env::args().nth(1).map_or(Ok(40), |word| word.parse::<u32>());
    let Ok(rounds) = rounds else {
        eprintln!("usage: bench [ROUNDS]");
        return ExitCode::from(2);
    };
    match run(rounds) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(rounds: u32) -> Result<String, Failure> {
    let assets = Assets::locate()?;
    let enclosure = Enclosure::enter(&assets.busybox)?;
    let containerd = Containerd::start(&enclosure, assets, &PolicyFile::defaults())?;
    let before = Leftovers::count(&containerd)?;
    let measured = measure(&containerd, rounds);
    let settled = Leftovers::settle(&before, &containerd);
    if settled.is_err() {
        leftovers::sweep(&containerd)?;
    }
    containerd.stop()?;
    leftovers::remove_parent_cgroups(containerd.tag())?;
    settled.and(measured)
}

fn measure(containerd: &Containerd, rounds: u32) -> Result<String, Failure> {
    let tasks = Tasks::connect(containerd)?;
    let spec = steps::hardened_spec(containerd, &tasks)?;
    let times = steps::interleaved(containerd, &tasks, &spec, rounds)?;
    let memory = memory::of_five_each(containerd, &tasks, &spec)?;
    let watching = watching::markdown(containerd, &tasks, &spec, rounds)?;
    Ok(report::markdown(containerd, rounds, &times, &memory) + &watching)
}
