//! The demonstration behind `scripts/demo`: one image under runc and under palisade, side by side, and two containers that are refused.

mod table;

use std::process::ExitCode;

use palisade_integration::cgroup::Limits;
use palisade_integration::ctr::Run;
use palisade_integration::policy::PolicyFile;
use palisade_integration::{Assets, Containerd, Enclosure, Failure, Leftovers, Runtime, leftovers};
use palisade_probe::{Outcome, ProcessReport};

use table::Column;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("demo: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let assets = Assets::locate()?;
    let enclosure = Enclosure::enter(&assets.busybox)?;
    let containerd = Containerd::start(&enclosure, assets, &PolicyFile::defaults())?;
    let before = Leftovers::count(&containerd)?;
    let shown = show(&containerd);
    let settled = Leftovers::settle(&before, &containerd);
    if settled.is_err() {
        leftovers::sweep(&containerd)?;
    }
    containerd.stop()?;
    leftovers::remove_parent_cgroups(containerd.tag())?;
    shown.and(settled)?;
    println!("\nCleaned up: no process, mount, cgroup, socket or file is left.");
    Ok(())
}

fn show(containerd: &Containerd) -> Result<(), Failure> {
    let version = containerd.ctr(&["version"])?.success()?;
    let version = version
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Version:"))
        .next_back()
        .unwrap_or_default()
        .trim()
        .to_owned();
    println!(
        "A private containerd {version}, one locally built image (busybox, no USER), the same command under both:\n"
    );
    println!("  ctr run --rm --runtime io.containerd.runc.v2     palisade.test/workload:1 ...");
    println!("  ctr run --rm --runtime io.containerd.palisade.v1 palisade.test/workload:1 ...\n");
    let columns = [(Runtime::Runc, "runc"), (Runtime::Palisade, "palisade, default policy")];
    let columns: Vec<Column> =
        columns.into_iter().map(|(runtime, title)| observe(containerd, runtime, title)).collect::<Result<_, _>>()?;
    print!("{}", table::render(&columns));
    println!("\nRefused by palisade, run by runc:");
    for flag in ["--privileged", "--net-host"] {
        refuse(containerd, flag)?;
    }
    Ok(())
}

/// What a container is, by its own report and by the host's cgroups.
fn observe(containerd: &Containerd, runtime: Runtime, title: &'static str) -> Result<Column, Failure> {
    let report = containerd.run(&Run::new(runtime, &["/probe", "report"]))?.success()?;
    let report: ProcessReport = read(&report)?;
    let tried = containerd.run(&Run::new(runtime, &["/probe", "try"]))?.success()?;
    let outcomes = Outcome::parse_lines(&tried).map_err(|error| unreadable("`probe try`", &error))?;
    let container = containerd.detach(&Run::new(runtime, &["/probe", "sleep"]))?;
    let limits = Limits::of(container.pid()?)?;
    let exec: ProcessReport = read(&container.exec(&[], &["/probe", "report"])?.success()?)?;
    container.remove()?;
    Ok(Column { title, report, exec, limits, outcomes })
}

fn read(text: &str) -> Result<ProcessReport, Failure> {
    serde_json::from_str(text).map_err(|error| unreadable("`probe report`", &error))
}

fn unreadable(what: &str, error: &serde_json::Error) -> Failure {
    Failure::Unreadable { what: what.to_owned(), detail: error.to_string() }
}

fn refuse(containerd: &Containerd, flag: &'static str) -> Result<(), Failure> {
    let run = |runtime| containerd.run(&Run::new(runtime, &["true"]).flags(&[flag]));
    run(Runtime::Runc)?.success()?;
    let said = run(Runtime::Palisade)?.refusal()?;
    println!("\n  ctr run --rm --runtime io.containerd.palisade.v1 {flag} palisade.test/workload:1 ...");
    println!("  {}", said.trim());
    Ok(())
}
