//! The soak behind `scripts/soak`: thousands of execs and containers in one shim and many pods at once, palisade with its embedded runtime
//! and containerd-shim-runc-v2 with runc beside it.

mod report;

use std::process::ExitCode;

use palisade_integration::footprint::{Footprint, expect_flat, quarters};
use palisade_integration::policy::PolicyFile;
use palisade_integration::soak::{self, Crowd};
use palisade_integration::{Assets, Containerd, Enclosure, Failure, Leftovers, Runtime, leftovers};

/// How much is run.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    lifecycles: usize,
    execs: usize,
    pods: usize,
}

/// Of what palisade does, runc's shim does this part: enough to compare memory, and its calls take longer.
const COMPARED: usize = 10;

/// What one side did.
pub(crate) struct Side {
    runtime: Runtime,
    scale: Scale,
    execs: Vec<Footprint>,
    lifecycles: Vec<Footprint>,
    crowd: Crowd,
}

fn main() -> ExitCode {
    let words: Vec<Option<usize>> =
        std::env::args().skip(1).map(|word| word.parse().ok().filter(|count| *count > 0)).collect();
    let scale = match words.as_slice() {
        [] => Scale { lifecycles: 2000, execs: 10_000, pods: 100 },
        [Some(lifecycles), Some(execs), Some(pods)] => Scale { lifecycles: *lifecycles, execs: *execs, pods: *pods },
        _ => {
            eprintln!("usage: soak [LIFECYCLES EXECS PODS]");
            return ExitCode::from(2);
        }
    };
    match run(scale) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("soak: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(scale: Scale) -> Result<String, Failure> {
    let assets = Assets::locate()?;
    let enclosure = Enclosure::enter(&assets.busybox)?;
    let containerd = Containerd::start(&enclosure, assets, &PolicyFile::defaults())?;
    let before = Leftovers::count(&containerd)?;
    let soaked = both(&containerd, scale);
    let settled = Leftovers::settle(&before, &containerd);
    if settled.is_err() {
        leftovers::sweep(&containerd)?;
    }
    containerd.stop()?;
    leftovers::remove_parent_cgroups(containerd.tag())?;
    settled.and(soaked)
}

fn both(containerd: &Containerd, scale: Scale) -> Result<String, Failure> {
    let palisade = side(containerd, Runtime::Palisade, scale)?;
    let part = |count: usize| count.div_ceil(COMPARED);
    let compared = Scale { lifecycles: part(scale.lifecycles), execs: part(scale.execs), pods: scale.pods };
    let runc = side(containerd, Runtime::Runc, compared)?;
    let text = report::markdown(&[palisade, runc]);
    Ok(text)
}

fn side(containerd: &Containerd, runtime: Runtime, scale: Scale) -> Result<Side, Failure> {
    let name = runtime.handler();
    eprintln!("{name}: {} execs", scale.execs);
    let execs = soak::execs(containerd, runtime, scale.execs)?;
    eprintln!("{name}: {:?}", quarters(&execs));
    eprintln!("{name}: {} containers", scale.lifecycles);
    let lifecycles = soak::lifecycles(containerd, runtime, scale.lifecycles)?;
    eprintln!("{name}: {:?}", quarters(&lifecycles));
    eprintln!("{name}: {} pods", scale.pods);
    let crowd = soak::pods(containerd, runtime, scale.pods)?;
    eprintln!("{name}: started in {:?}, removed in {:?}", crowd.started, crowd.removed);
    if runtime == Runtime::Palisade {
        expect_flat("the shim over the execs", &execs)?;
        expect_flat("the shim over the containers", &lifecycles)?;
    }
    Ok(Side { runtime, scale, execs, lifecycles, crowd })
}
