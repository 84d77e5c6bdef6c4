//! What a filter costs, in microseconds (median of 200): `cargo run --release --features compile --example cost`.
//!
//! Loading is done in a thread of its own each time. `per call` is in nanoseconds: a thread without a filter, one with libseccomp's program of the same
//! profile and one with ours take turns. `kept` is what looking for a kept program would cost in place of compiling.

#[path = "../tests/libseccomp/mod.rs"]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, dead_code, reason = "shared with the tests")]
mod libseccomp;

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::Read as _;
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use oci_spec::runtime::{Capabilities, LinuxSeccomp};
use palisade_seccomp::{Architecture, BuiltinProfile, CompiledFilter, Instruction, compile, profile_for, tighten};
use sha2::{Digest as _, Sha256};

use libseccomp::Libseccomp;

const ROUNDS: usize = 200;
const CALLS: u32 = 10_000;
/// How often each filter has its turn.
const TURNS: usize = 41;

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

/// A call that is measured.
type Work = fn();

/// Makes its calls on a thread with a filter of its own, whenever it is asked to.
struct Worker {
    ask: Sender<Work>,
    took: Receiver<Duration>,
}

impl Worker {
    fn start(filter: Option<CompiledFilter>) -> Self {
        let ((ask, asked), (tell, took)) = (channel::<Work>(), channel());
        std::thread::spawn(move || {
            let loaded = filter.is_none_or(|filter| load(&filter).is_ok());
            assert!(loaded, "the filter does not load");
            for work in asked {
                if tell.send(timed(|| (0..CALLS).for_each(|_| work()))).is_err() {
                    return;
                }
            }
        });
        Self { ask, took }
    }

    fn run(&self, work: Work) -> Option<Duration> {
        self.ask.send(work).ok()?;
        self.took.recv().ok()
    }
}

/// Nanoseconds of a call under each filter, median of the rounds. They take turns, so that what else the machine does falls on all of them.
fn call_times<const N: usize>(workers: &[Worker; N], work: Work) -> [f64; N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..TURNS {
        for (worker, times) in workers.iter().zip(&mut times) {
            times.extend(worker.run(work));
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e9 / f64::from(CALLS))
    })
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
    kept(&resolved, &bytes)?;
    by_libseccomp(&resolved, filter)
}

/// What it would cost to look for a kept program: the profile's hash, its file, and the check of what is in it.
fn kept(profile: &LinuxSeccomp, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let path = std::env::temp_dir().join(format!("palisade-cost-{}", std::process::id()));
    let written = [Sha256::digest(bytes).as_slice(), bytes].concat();
    std::fs::write(&path, written)?;
    let took = median(|| {
        timed(|| {
            let name = serde_json::to_vec(profile).map(Sha256::digest);
            let read = std::fs::read(&path).unwrap_or_default();
            let checked = read.split_at_checked(32).filter(|(sum, rest)| Sha256::digest(rest).as_slice() == *sum);
            (name, checked.and_then(|(_, rest)| CompiledFilter::from_bytes(rest).ok()))
        })
    });
    println!("  kept    {took:8.0} (hash of the profile, read, hash and decoding of the program)");
    Ok(std::fs::remove_file(path)?)
}

/// Compiling, loading and calls with libseccomp's program of the same profile beside it.
fn by_libseccomp(profile: &LinuxSeccomp, ours: CompiledFilter) -> Result<(), Box<dyn Error>> {
    let library = Libseccomp::open();
    let native = Architecture::native()?;
    let theirs = CompiledFilter::from_bytes(&bytes_of(&library.compile(profile, native)))?;
    println!(
        "  libseccomp: {} instructions, compile {:8.0}, load {:8.0}",
        theirs.program().len(),
        median(|| timed(|| library.compile(profile, native))),
        median(|| load_time(&theirs)),
    );
    let workers = [None, Some(theirs), Some(ours)].map(Worker::start);
    let calls: [(&str, Work); 4] = [
        ("getppid", || {
            black_box(std::os::unix::process::parent_id());
        }),
        ("read of a byte", || {
            static ZERO: LazyLock<Option<File>> = LazyLock::new(|| File::open("/dev/zero").ok());
            black_box(ZERO.as_ref().map(|mut zero| zero.read(&mut [0]).is_ok()));
        }),
        ("openat+close", || drop(black_box(File::open("/dev/null")))),
        ("socket+close", || drop(black_box(std::os::unix::net::UnixDatagram::unbound()))),
    ];
    for (name, work) in calls {
        let [none, theirs, ours] = call_times(&workers, work);
        println!("  per call {name:14} ns: unfiltered {none:6.0}, libseccomp's {theirs:6.0}, ours {ours:6.0}");
    }
    Ok(())
}

/// A program as [`CompiledFilter::from_bytes`] reads it.
fn bytes_of(program: &[Instruction]) -> Vec<u8> {
    let arch = std::env::consts::ARCH;
    let length = |count: usize| u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
    let step = |step: &Instruction| {
        let code = step.code.to_le_bytes().into_iter();
        code.chain([step.jt, step.jf]).chain(step.k.to_le_bytes()).collect::<Vec<u8>>()
    };
    let steps = program.iter().flat_map(step).collect::<Vec<u8>>();
    [b"PALISC\0\x02", length(arch.len()).as_slice(), arch.as_bytes(), &[0; 4], &length(program.len()), &steps].concat()
}

fn main() -> Result<(), Box<dyn Error>> {
    for profile in BuiltinProfile::ALL {
        let own = profile_for(BuiltinProfile::RuntimeDefault, &Capabilities::new())?;
        report(profile, &own)?;
    }
    Ok(())
}
