//! What a filter costs, in microseconds (median of 200): `cargo run --release --features compile --example cost`.
//!
//! Loading is done in a thread of its own each time. `per call` is in nanoseconds and compares a thread with and
//! without the filter.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use oci_spec::runtime::{Capabilities, LinuxSeccomp};
use palisade_seccomp::{BuiltinProfile, CompiledFilter, Instruction, compile, profile_for, tighten};

const ROUNDS: usize = 200;
const CALLS: u32 = 50_000;

fn median(mut measure: impl FnMut() -> Duration) -> f64 {
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| measure()).collect();
    times.sort_unstable();
    times.get(ROUNDS / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

fn load(filter: &CompiledFilter) -> Result<(), seccompiler::Error> {
    let step = |step: &Instruction| seccompiler::sock_filter { code: step.code, jt: step.jt, jf: step.jf, k: step.k };
    seccompiler::apply_filter(&filter.program().iter().map(step).collect::<Vec<_>>())
}

fn load_time(filter: &CompiledFilter) -> Duration {
    std::thread::scope(|scope| scope.spawn(|| timed(|| load(filter).is_ok())).join()).unwrap_or_default()
}

/// Nanoseconds for a call, the least of five runs.
fn call_time(filter: Option<&CompiledFilter>, work: fn()) -> f64 {
    let run = || {
        let loaded = filter.is_none_or(|filter| load(filter).is_ok());
        assert!(loaded, "the filter does not load");
        let times = (0..5).map(|_| timed(|| (0..CALLS).for_each(|_| work())));
        times.min().map_or(0.0, |time| time.as_secs_f64() * 1e9 / f64::from(CALLS))
    };
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_default()
}

fn report(profile: BuiltinProfile, own: &LinuxSeccomp) -> Result<(), Box<dyn Error>> {
    let none = Capabilities::new();
    // The file is read once a process.
    let first = timed(|| profile_for(profile, &none));
    let resolved = profile_for(profile, &none)?;
    let filter = compile(&resolved)?;
    let size = filter.program().len();
    let json = serde_json::to_vec(&resolved)?;
    println!(
        "{profile}: {size} instructions, {} bytes compiled, {} bytes of JSON",
        filter.to_bytes().len(),
        json.len()
    );
    println!("  first   {:8.0}", first.as_secs_f64() * 1e6);
    println!("  resolve {:8.0}", median(|| timed(|| profile_for(profile, &none))));
    println!("  tighten {:8.0}", median(|| timed(|| tighten(&resolved, own))));
    println!("  compile {:8.0}", median(|| timed(|| compile(&resolved))));
    let bytes = filter.to_bytes();
    println!("  decode  {:8.0}", median(|| timed(|| CompiledFilter::from_bytes(&bytes))));
    println!("  load    {:8.0}", median(|| load_time(&filter)));
    let calls: [(&str, fn()); 3] = [
        ("getppid", || {
            black_box(std::os::unix::process::parent_id());
        }),
        ("openat+close", || drop(black_box(std::fs::File::open("/dev/null")))),
        ("socket+close", || drop(black_box(std::os::unix::net::UnixDatagram::unbound()))),
    ];
    for (name, work) in calls {
        println!(
            "  per call {name:12} {:6.0} ns, unfiltered {:6.0} ns",
            call_time(Some(&filter), work),
            call_time(None, work)
        );
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    for profile in BuiltinProfile::ALL {
        let own = profile_for(BuiltinProfile::RuntimeDefault, &Capabilities::new())?;
        report(profile, &own)?;
    }
    Ok(())
}
