//! `palisade monitor` beside real containers. `PALISADE_CLI` names the program; `scripts/test` builds it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use libtest_mimic::{Failed, Trial};
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use palisade_integration::poll;
use serde_json::json;

use crate::limits::Sleeper;
use crate::support::{Check, World, trial};

const SECONDS: u64 = 20;

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    if program().is_none() {
        println!("PALISADE_CLI names no program: the monitor is not run beside containers");
        return Vec::new();
    }
    vec![trial(world, "monitor: what containers do is counted, and stays counted when they are gone", counted)]
}

fn program() -> Option<PathBuf> {
    std::env::var_os("PALISADE_CLI").map(PathBuf::from)
}

/// A monitor that runs. Dropped, it ends.
struct Monitor {
    child: Child,
    address: String,
}

impl Monitor {
    fn start(world: &World) -> Result<Self, Failed> {
        let base = &world.containerd.layout().base;
        let mut command = Command::new(program().ok_or("no program")?);
        command.args(["monitor", "--listen", "127.0.0.1:0", "--state", "/run/containerd"]);
        command.arg("--kept").arg(base.join("monitor/counters.json"));
        command.env("PALISADE_CONFIG", world.containerd.layout().policy());
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut said = String::new();
        BufReader::new(child.stderr.take().ok_or("no output")?).read_line(&mut said)?;
        let address =
            said.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
        let monitor = Self { child, address };
        expect!(!monitor.address.is_empty(), "{said}");
        Ok(monitor)
    }

    fn metrics(&self) -> Result<String, Failed> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: monitor\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        expect!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        Ok(answer)
    }

    /// The value of a series, 0 where there is none.
    fn value(&self, series: &str) -> Result<f64, Failed> {
        let text = self.metrics()?;
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        Ok(found.unwrap_or_default())
    }

    /// What is gathered at most once a second is there in the end.
    fn until(&self, series: &str, is: impl Fn(f64) -> bool) -> Check {
        let asked = poll::eventually(series, SECONDS, || match self.value(series) {
            Ok(value) if is(value) => Ok(()),
            Ok(value) => Err(value.to_string()),
            Err(failed) => Err(failed.message().unwrap_or_default().to_owned()),
        });
        Ok(asked?)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn counted(world: &World) -> Check {
    let monitor = Monitor::start(world)?;
    let before = |series: &str| monitor.value(series);
    let denied = "palisade_rule_findings_total{rule=\"priv.heuristic\",action=\"denied\",profile=\"restricted\"}";
    let execs = "palisade_execs_total{terminal=\"false\"}";
    let kills = "palisade_oom_kills_total{profile=\"restricted\"}";
    let forks = "palisade_pids_max_hits_total{profile=\"restricted\"}";
    let stopped = "palisade_cpu_throttled_seconds_total{profile=\"restricted\"}";
    let containers = "palisade_containers{profile=\"restricted\"}";
    let was = [denied, execs, kills, forks].map(before);
    let [denials, ran, killed, refused] = was;
    let (denials, ran, killed, refused) = (denials?, ran?, killed?, refused?);

    let privileged = Run::new(Runtime::Palisade, &["true"]).flags(&["--privileged"]);
    world.containerd.run(&privileged)?.refusal()?;
    let hog = Run::new(Runtime::Palisade, &["sh", "-c", "/probe hold 200 & wait $!; echo ended $?"]);
    world.containerd.run(&hog.flags(&["--memory-limit", "33554432"]))?.success()?;
    let tasks = world.tasks()?;
    let limits = json!({ "pids": { "limit": 40 }, "cpu": { "quota": 10_000, "period": 100_000 } });
    let sleeper = Sleeper::start(world, &tasks, Runtime::Palisade, &limits)?;
    world.containerd.exec(&sleeper.id, &["/probe", "forks", "100"])?.success()?;
    world.containerd.exec(&sleeper.id, &["/probe", "burn", "1"])?.success()?;

    monitor.until(denied, |value| value == denials + 1.0)?;
    monitor.until(execs, |value| value == ran + 2.0)?;
    monitor.until(kills, |value| value >= killed + 1.0)?;
    monitor.until(forks, |value| value > refused)?;
    monitor.until(stopped, |value| value > 0.3)?;
    monitor.until(containers, |value| value == 1.0)?;
    monitor.until("palisade_shims", |value| value == 1.0)?;
    monitor.until("palisade_shim_resident_memory_bytes", |value| (1e6..2e7).contains(&value))?;
    let at_last = monitor.value(forks)?;
    sleeper.end()?;
    monitor.until("palisade_shims", |value| value == 0.0)?;
    monitor.until(containers, |value| value == 0.0)?;
    drop(monitor);
    let again = Monitor::start(world)?;
    expect_eq!(again.value(forks)?, at_last, "forks refused, after a restart");
    expect_eq!(again.value(denied)?, denials + 1.0, "refusals, after a restart");
    Ok(())
}
