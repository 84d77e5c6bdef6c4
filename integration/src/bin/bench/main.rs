//! The benchmark behind `scripts/bench`: palisade and containerd-shim-runc-v2, each with each runtime, interleaved, on the same containerd and
//! image and with the same spec: the one that palisade hardened, seccomp profile and limits included.
//!
//! `measure` writes every value that it sees; `report` makes tables and a plot of what was written, so that both can be made again.

mod bare;
mod conditions;
mod cpu;
mod hierarchies;
mod life;
mod lives;
mod measure;
mod memory;
mod options;
mod page;
mod plot;
mod raw;
mod report;
mod shim_start;
mod side;
mod spec;
mod statistics;
mod steps;
mod together;
mod watching;
mod world;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use palisade_integration::Failure;

use measure::Measure;
use options::{Order, Plan, Presentation};
use raw::{Raw, Record};
use side::Side;
use world::World;

fn main() -> ExitCode {
    let done = match options::parse(std::env::args_os().skip(1)) {
        Ok(Order::Measure(plan)) => world::within(|world| measure(world, &plan)),
        Ok(Order::Report(presentation)) => report(&presentation),
        Err(error) => {
            eprintln!("bench: {error}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure(world: &World<'_>, plan: &Plan) -> Result<(), Failure> {
    let plan = &possible(plan);
    let mut record = Record::open(plan.raw.as_deref())?;
    record.head(&conditions::of(world.containerd, plan.rounds))?;
    for measure in &plan.measures {
        let rounds = measure.rounds(plan.rounds);
        eprintln!("bench: {}, {rounds} rounds", measure.name());
        match measure {
            Measure::Steps => steps::measure(world, plan, rounds, &mut record)?,
            Measure::Start => shim_start::measure(world, plan, rounds, &mut record)?,
            Measure::Lives => lives::measure(world, plan, rounds, &mut record)?,
            Measure::Memory => memory::measure(world, plan, rounds, &mut record)?,
            Measure::Watching => watching::measure(world, rounds, &mut record)?,
        }
    }
    record.flush()
}

/// The plan without the sides that cannot run here.
fn possible(plan: &Plan) -> Plan {
    let (sides, others): (Vec<Side>, Vec<Side>) = plan.sides.iter().partition(|side| side.is_possible());
    for side in others {
        eprintln!("bench: {} cannot run here and is left out", side.name());
    }
    Plan { sides, ..plan.clone() }
}

fn report(presentation: &Presentation) -> Result<(), Failure> {
    let raws = presentation.raw.iter().map(|path| read(path)).collect::<Result<Vec<Raw>, _>>()?;
    let texts: Vec<String> = raws.iter().map(report::markdown).collect();
    print!("{}", texts.join("\n"));
    if let Some(path) = &presentation.plot {
        fs::write(path, plot::svg(&raws)).map_err(Failure::io("write", path))?;
    }
    presentation.page.as_deref().map_or(Ok(()), |path| fill(path, &raws, presentation.plot.as_deref()))
}

/// Puts each run's tables where the page has the marks of its hierarchy, and the plot, which lies beside the page.
fn fill(path: &Path, raws: &[Raw], plot: Option<&Path>) -> Result<(), Failure> {
    let mut page = fs::read_to_string(path).map_err(Failure::io("read", path))?;
    for raw in raws {
        let name = raw.condition(conditions::CGROUP);
        page = page::with(&page, name, &report::sides(raw))?;
        page = page::with(&page, &format!("{name} filters"), &report::filters(raw))?;
    }
    if let Some(plot) = plot.and_then(Path::file_name) {
        let image = format!("![The medians of the tables below, as bars]({})", plot.display());
        page = page::with(&page, "plot", &image)?;
    }
    fs::write(path, page).map_err(Failure::io("write", path))
}

fn read(path: &Path) -> Result<Raw, Failure> {
    Raw::read(&fs::read_to_string(path).map_err(Failure::io("read", path))?)
}
