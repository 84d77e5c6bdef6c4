//! What a look at a container costs: `attest_cost CONFIG.JSON PID created|again|begun [TIMES]` prints medians in microseconds.
//!
//! The process is one that waits for start, made of that document by any runtime; `runc create` will do.

use std::error::Error;
use std::time::{Duration, Instant};

use palisade::attest::{Baseline, Expected, Identities, ProcDir, Seen, Stage, attest};
use palisade::cgroup::Cgroup;

const USAGE: &str = "usage: attest_cost CONFIG.JSON PID created|again|begun [TIMES]";

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(document), Some(pid)) = (args.next(), args.next()) else {
        return Err(USAGE.into());
    };
    let stage = match args.next().as_deref() {
        Some("created") => Stage::Created { embedded: true, before: None },
        // As right before start: nothing was mounted since.
        Some("again") => {
            let expected = Expected::of_document(
                &serde_json::from_slice(&std::fs::read(&document)?)?,
                &Identities::default(),
                Baseline::own()?,
            )?;
            let seen =
                Seen::of(&ProcDir::open(pid.parse()?)?, &expected, Stage::Created { embedded: true, before: None });
            Stage::Created { embedded: true, before: seen.table() }
        }
        Some("begun") => Stage::Begun,
        _ => return Err(USAGE.into()),
    };
    let (bytes, pid) = (std::fs::read(document)?, pid.parse()?);
    let times = args.next().map_or(Ok(200), |times| times.parse())?;
    let (mut decided, mut looked, mut compared) = (Vec::new(), Vec::new(), Vec::new());
    let mut told = String::new();
    // The shim holds it since the container was made.
    let cgroup = Cgroup::of_process(pid)?;
    for _ in 0..times {
        let begun = Instant::now();
        let expected =
            Expected::of_document(&serde_json::from_slice(&bytes)?, &Identities::default(), Baseline::own()?)?;
        decided.push(begun.elapsed());
        let begun = Instant::now();
        let process = ProcDir::open(pid)?;
        let seen = Seen::since(&process, process.status(), &expected, stage, &cgroup);
        looked.push(begun.elapsed());
        let begun = Instant::now();
        let outcome = attest(&expected, &seen, stage);
        compared.push(begun.elapsed());
        told = outcome.map_or_else(|found| found.to_string(), |_| "as decided".into());
    }
    println!("{told}");
    println!(
        "what was decided {} µs, reading {} µs, comparing {} µs",
        median(decided),
        median(looked),
        median(compared)
    );
    Ok(())
}

fn median(mut times: Vec<Duration>) -> u128 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0, Duration::as_micros)
}
