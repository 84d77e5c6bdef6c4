//! `palisade monitor` beside real containers. `PALISADE_CLI` names the program; `scripts/test` builds it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use libtest_mimic::{Failed, Trial};
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use palisade_integration::poll;
use palisade_integration::prometheus::{self, Prometheus, dashboard_queries};
use palisade_integration::tasks::Tasks;
use serde_json::{Value, json};

use crate::limits::Sleeper;
use crate::support::{Check, World, trial};

const SECONDS: u64 = 20;

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    if program().is_none() {
        println!("PALISADE_CLI names no program: the monitor is not run beside containers");
        return Vec::new();
    }
    let mut trials =
        vec![trial(world, "monitor: what containers do is counted, and stays counted when they are gone", counted)];
    if prometheus::folder().is_some() {
        trials.push(trial(world, "monitor: Prometheus answers the dashboard with what containers did", scraped));
    }
    trials
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

/// A container that soon meets its limits of tasks and CPU time.
fn limited<'a>(world: &World, tasks: &'a Tasks) -> Result<Sleeper<'a>, Failed> {
    let limits = json!({ "pids": { "limit": 40 }, "cpu": { "quota": 10_000, "period": 100_000 } });
    Sleeper::start(world, tasks, Runtime::Palisade, &limits)
}

/// One container is refused, one is out of memory, and the sleeper meets its limits in two execs.
fn meet_limits(world: &World, sleeper: &Sleeper<'_>) -> Check {
    let privileged = Run::new(Runtime::Palisade, &["true"]).flags(&["--privileged"]);
    world.containerd.run(&privileged)?.refusal()?;
    let hog = Run::new(Runtime::Palisade, &["sh", "-c", "/probe hold 200 & wait $!; echo ended $?"]);
    world.containerd.run(&hog.flags(&["--memory-limit", "33554432"]))?.success()?;
    world.containerd.exec(&sleeper.id, &["/probe", "forks", "100"])?.success()?;
    world.containerd.exec(&sleeper.id, &["/probe", "burn", "1"])?.success()?;
    Ok(())
}

/// A metric whose query on the dashboard must have a value that `meet_limits` causes, and the series where it is.
const ON_THE_DASHBOARD: &[(&str, &str, &str)] = &[
    ("palisade_decisions_total{instance=~\".*\"}", "decision", "deny"),
    ("palisade_rule_findings_total{instance=~\".*\",action=\"denied\"}", "rule", "priv.heuristic"),
    ("palisade_rule_findings_total{instance=~\".*\",action=\"mutated\"}", "rule", "res.pids"),
    ("palisade_oom_kills_total", "profile", "restricted"),
    ("palisade_pids_max_hits_total", "profile", "restricted"),
    ("palisade_cpu_throttled_periods_total", "profile", "restricted"),
];

fn scraped(world: &World) -> Check {
    let folder = prometheus::folder().ok_or("no Prometheus")?;
    let monitor = Monitor::start(world)?;
    let dir = world.containerd.layout().base.join("prometheus");
    std::fs::create_dir_all(&dir)?;
    let prometheus = Prometheus::start(&folder, &dir, &monitor.address)?;
    let tasks = world.tasks()?;
    let sleeper = limited(world, &tasks)?;
    until_scraped(&prometheus, "sum(palisade_containers{instance=~\".*\"}) or vector(0)", |value| value == 1.0)?;
    until_scraped(&prometheus, "up{job=\"palisade\"}", |value| value == 1.0)?;
    // The rate of a counter is told once it has grown from one scrape to another.
    meet_limits(world, &sleeper)?;
    for series in ["palisade_oom_kills_total", "palisade_pids_max_hits_total", "palisade_cpu_throttled_periods_total"] {
        until_scraped(&prometheus, &format!("{series}{{profile=\"restricted\"}}"), |value| value > 0.0)?;
    }
    meet_limits(world, &sleeper)?;
    let queries = dashboard_queries()?;
    for query in &queries {
        prometheus.query(query)?;
    }
    for (metric, label, value) in ON_THE_DASHBOARD {
        let query = queries.iter().find(|query| query.contains(metric) && query.contains(label));
        grows(&prometheus, query.ok_or_else(|| format!("no query of {metric}"))?, label, value)?;
    }
    until_scraped(&prometheus, "palisade_decision_duration_seconds_count{operation=\"exec\"}", |value| value >= 4.0)?;
    let metrics = monitor.metrics()?;
    let (_, text) = metrics.split_once("\r\n\r\n").ok_or("no body")?;
    expect_eq!(prometheus::lint(&folder, text)?, "", "what promtool has against what was scraped");
    sleeper.end()
}

/// Asks until the first value of a query is as it should be.
fn until_scraped(prometheus: &Prometheus, query: &str, is: impl Fn(f64) -> bool) -> Check {
    asked(prometheus, query, |result| prometheus::first(result).and_then(|value| value.parse().ok()).is_some_and(&is))
}

/// Asks until a query has a series with that label whose value is above zero.
fn grows(prometheus: &Prometheus, query: &str, label: &str, name: &str) -> Check {
    asked(prometheus, query, |result| {
        let series = result.as_array().into_iter().flatten().find(|series| series["metric"][label] == name);
        let value = series.and_then(|series| series["value"][1].as_str()?.parse::<f64>().ok());
        value.is_some_and(|value| value > 0.0)
    })
}

fn asked(prometheus: &Prometheus, query: &str, is: impl Fn(&Value) -> bool) -> Check {
    let answered = poll::eventually(query, SECONDS, || match prometheus.query(query) {
        Ok(result) if is(&result) => Ok(()),
        Ok(result) => Err(result.to_string()),
        Err(error) => Err(error.to_string()),
    });
    Ok(answered?)
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

    let tasks = world.tasks()?;
    let sleeper = limited(world, &tasks)?;
    meet_limits(world, &sleeper)?;

    monitor.until(denied, |value| value == denials + 1.0)?;
    monitor.until(execs, |value| value == ran + 2.0)?;
    monitor.until(kills, |value| value >= killed + 1.0)?;
    monitor.until(forks, |value| value > refused)?;
    monitor.until(stopped, |value| value > 0.3)?;
    monitor.until(containers, |value| value == 1.0)?;
    monitor.until("palisade_shims", |value| value == 1.0)?;
    monitor.until("palisade_create_duration_seconds_count{profile=\"restricted\"}", |value| value >= 1.0)?;
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
