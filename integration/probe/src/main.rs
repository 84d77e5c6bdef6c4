//! `probe`: the workload of the integration suite. See the library's header.

mod attempt;
mod attempts;
mod bare;
mod calls;
mod flood;
mod made;
mod netlink;
mod syscalls;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use palisade_probe::ProcessReport;

const USAGE: &str = "usage: probe try [NAME...] | list | report | forks COUNT | refused THREADS COUNT | allowed COUNT | calls LIST | listen | hold MIB | burn SECONDS | sleep | bare";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(words: &[&str]) -> io::Result<()> {
    match words {
        ["try", names @ ..] => try_all(names),
        ["list"] => attempts::ATTEMPTS.iter().try_for_each(|attempt| writeln!(io::stdout(), "{}", attempt.name)),
        ["report"] => print(&ProcessReport::of_self()?),
        ["forks", count] => print(&attempt::count_forks(count.parse().map_err(io::Error::other)?)?),
        ["refused", threads, count] => {
            let number = |word: &str| word.parse::<u32>().map_err(io::Error::other);
            print(&flood::run(number(threads)? as usize, number(count)?.into())?)
        }
        ["calls", list] => print(&made::run(list)?),
        ["allowed", count] => print(&flood::allowed(count.parse().map_err(io::Error::other)?)?),
        ["listen"] => print(&flood::listen()),
        ["hold", mebibytes] => hold(mebibytes.parse().map_err(io::Error::other)?),
        ["burn", seconds] => {
            burn(Duration::from_secs(seconds.parse().map_err(io::Error::other)?));
            Ok(())
        }
        ["bare"] => print(&bare::run(&serde_json::from_reader(io::stdin()).map_err(io::Error::other)?)?),
        ["sleep"] => syscalls::sleep_until_signalled(),
        _ => Err(io::Error::other(USAGE)),
    }
}

fn try_all(names: &[&str]) -> io::Result<()> {
    if let Some(unknown) = names.iter().find(|name| attempts::ATTEMPTS.iter().all(|attempt| attempt.name != **name)) {
        return Err(io::Error::other(format!("no attempt named {unknown}; `probe list` names them")));
    }
    let chosen = attempts::ATTEMPTS.iter().filter(|attempt| names.is_empty() || names.contains(&attempt.name));
    for attempt in chosen {
        print(&attempt::run(attempt)?)?;
    }
    Ok(())
}

fn print(value: &impl serde::Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Touches that much memory, says so, and keeps it until a signal ends the process.
fn hold(mebibytes: usize) -> io::Result<()> {
    let mut memory = vec![0_u8; mebibytes << 20];
    for page in memory.chunks_mut(4096) {
        page.fill(1);
    }
    writeln!(io::stdout(), "holding {mebibytes} MiB")?;
    syscalls::sleep_until_signalled()?;
    drop(std::hint::black_box(memory));
    Ok(())
}

/// Uses all CPU time that one thread is given, for that long at most.
fn burn(longest: Duration) {
    let end = Instant::now() + longest;
    while Instant::now() < end {
        for turn in 0..1_000_000_u32 {
            std::hint::black_box(turn);
        }
    }
}
