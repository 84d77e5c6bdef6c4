//! What a container's life takes, counted and held against `integration/budget.toml`: a slow change is noticed on a machine of any speed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use libtest_mimic::Trial;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use palisade_integration::footprint::Footprint;
use palisade_integration::poll::eventually;
use palisade_integration::work::{Work, instructions};
use serde::Deserialize;

use crate::support::{Check, World, trial};

/// Numbers that may not be exceeded, and that are not far above what there is: a budget that nobody can exceed guards nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    life: Work,
    instructions: Instructions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Instructions {
    start: u64,
    judge: u64,
}

const BUDGET: &str = include_str!("../../budget.toml");

/// A budget is at most so many times what is measured.
const SLACK: u64 = 2;

/// Lives are traced so often, and the middle one counts: how often a loop is woken is chance.
const LIVES: usize = 3;

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    vec![
        trial(world, "budget: system calls, programs and processes of a life", life),
        trial(world, "budget: instructions of a start and of a judgement", start_and_judgement),
        trial(world, "budget: a shim with nothing to do holds a third, and works on", at_rest),
    ]
}

fn budget() -> Result<Budget, libtest_mimic::Failed> {
    Ok(toml::from_str(BUDGET)?)
}

fn expect_within(what: &str, measured: u64, budget: u64) -> Check {
    println!("{what}: {measured} of {budget}");
    expect!(measured <= budget, "{what}: {measured}, and the budget (integration/budget.toml) is {budget}");
    expect!(measured.saturating_mul(SLACK) >= budget, "{what}: {measured}; the budget of {budget} guards nothing");
    Ok(())
}

fn life(world: &World) -> Check {
    let budget = budget()?.life;
    let traced = Traced::put_in_place(world)?;
    let mut lives = (0..LIVES).map(|_| traced.live(world)).collect::<Result<Vec<_>, _>>()?;
    drop(traced);
    lives.sort_unstable_by_key(|work| work.system_calls);
    let middle = lives.get(LIVES / 2).ok_or("no life")?;
    middle
        .named()
        .iter()
        .zip(budget.named())
        .try_for_each(|((what, measured), (_, most))| expect_within(what, *measured, most))
}

fn start_and_judgement(world: &World) -> Check {
    let budget = budget()?.instructions;
    let start = instructions(&world.containerd.layout().shim(), &["-v"])?;
    expect_within("instructions of a start", start, budget.start)?;
    let Some(program) = std::env::var_os("PALISADE_CLI").map(PathBuf::from) else {
        println!("PALISADE_CLI names no program: no judgement is counted");
        return Ok(());
    };
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/ctr-default/config.json");
    let spec = spec.to_str().ok_or("a path without UTF-8")?;
    expect_within("instructions of a judgement", instructions(&program, &["check", spec])?, budget.judge)
}

fn at_rest(world: &World) -> Check {
    let container = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]))?;
    let shim = Footprint::shim_of(container.pid()?)?;
    let begun = Footprint::of(shim)?.rss;
    let rests = eventually("a shim at rest", 15, || match Footprint::of(shim).map(|now| now.rss) {
        Ok(now) if now * 3 <= begun => Ok(now),
        Ok(now) => Err(format!("{now} KiB of {begun}")),
        Err(error) => Err(error.to_string()),
    })?;
    println!("resident: {begun} KiB, at rest {rests}");
    container.exec(&[], &["true"])?.success()?;
    Ok(container.remove()?)
}

/// The shim under strace, in its own place until this is dropped.
struct Traced {
    place: PathBuf,
    kept: PathBuf,
    /// A folder with a file for each process or thread.
    traces: PathBuf,
}

impl Traced {
    fn put_in_place(world: &World) -> Result<Self, libtest_mimic::Failed> {
        let place = world.containerd.layout().shim();
        let (kept, traces) = (place.with_extension("traced"), place.with_extension("traces"));
        fs::rename(&place, &kept)?;
        let traced = Self { place, kept, traces };
        // The tracer is no parent of the shim's, and holds none of its streams: what `start` answers ends with `start`.
        let script = format!(
            "#!/bin/sh\nexec strace --daemonize=session --follow-forks --output-separately --quiet=attach,personality,thread-execve \
             --string-limit=0 --output={}/trace {} \"$@\" 2>/dev/null\n",
            traced.traces.display(),
            traced.kept.display()
        );
        fs::write(&traced.place, script)?;
        fs::set_permissions(&traced.place, fs::Permissions::from_mode(0o755))?;
        Ok(traced)
    }

    /// Create, start, exec, end and delete of one container, from `shim start` to the end of the shim and of `shim delete`.
    fn live(&self, world: &World) -> Result<Work, libtest_mimic::Failed> {
        self.forget()?;
        fs::create_dir(&self.traces)?;
        let container = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]))?;
        container.exec(&[], &["true"])?.success()?;
        container.remove()?;
        Ok(eventually("the shim's end under strace", 30, || {
            Work::count(&self.read().map_err(|error| error.to_string())?)
        })?)
    }

    fn read(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.traces)?.map(|entry| fs::read_to_string(entry?.path())).collect()
    }

    fn forget(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.traces) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if let Err(error) = fs::rename(&self.kept, &self.place).and_then(|()| self.forget()) {
            println!("the shim is not back in its place: {error}");
        }
    }
}
