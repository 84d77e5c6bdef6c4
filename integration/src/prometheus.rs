//! A real Prometheus that scrapes one address, on loopback. The tests of the command line take this file as well.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{fs, thread};

use serde_json::Value;

/// Names the folder of Debian's `prometheus` and `promtool`; `scripts/test` sets it.
const FOLDER: &str = "PALISADE_PROMETHEUS";

/// Where Prometheus and its own tool are, if that is said.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os(FOLDER).map(PathBuf::from);
    if folder.is_none() {
        println!("{FOLDER} names no folder: nothing is shown to Prometheus");
    }
    folder
}

/// It runs with the rules of `deploy/monitoring`. Dropped, it ends.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    /// Starts one that scrapes `target` every second and keeps its data in `dir`, and waits until it answers.
    ///
    /// # Errors
    /// The kernel's, or that it ended instead.
    pub fn start(folder: &Path, dir: &Path, target: &str) -> io::Result<Self> {
        let (rules, config) = (deployed("alerts.yml")?, dir.join("prometheus.yml"));
        let text = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: [{rules:?}]\nscrape_configs:\n- job_name: palisade\n  \
             static_configs:\n  - targets: [{target:?}]\n"
        );
        fs::write(&config, text)?;
        let mut command = Command::new(folder.join("prometheus"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()));
        command.arg("--web.listen-address=127.0.0.1:0").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut prometheus = Self { child: command.spawn()?, address: String::new() };
        prometheus.address = prometheus.answering()?;
        Ok(prometheus)
    }

    /// Waits until it says that it is ready; the address where it is.
    fn answering(&mut self) -> io::Result<String> {
        let stderr = self.child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut said = BufReader::new(stderr).lines();
        let mut last = String::new();
        for line in said.by_ref().map_while(Result::ok) {
            if line.contains("Server is ready to receive web requests") {
                // What it says later must not fill the pipe.
                thread::spawn(move || said.for_each(drop));
                // Older ones name the port only as it was asked for.
                return listening(self.child.id());
            }
            last = line;
        }
        Err(io::Error::other(format!("prometheus has ended: {last}")))
    }

    /// The result of a query.
    ///
    /// # Errors
    /// The kernel's, or what Prometheus has against the query.
    pub fn query(&self, query: &str) -> io::Result<Value> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let mut stream = TcpStream::connect(&self.address)?;
        // Without chunks: the body is all that follows.
        write!(stream, "GET /api/v1/query?query={encoded} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        let mut answer: Value = serde_json::from_str(body)?;
        let result = answer.pointer_mut("/data/result").map(Value::take);
        result.ok_or_else(|| io::Error::other(format!("{query}: {answer}")))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The first value of a query's result.
#[must_use]
pub fn first(result: &Value) -> Option<&str> {
    result.pointer("/0/value/1").and_then(Value::as_str)
}

/// What promtool has to say against metrics; nothing if they are as they should be.
///
/// # Errors
/// The kernel's.
pub fn lint(folder: &Path, metrics: &str) -> io::Result<String> {
    let mut command = Command::new(folder.join("promtool"));
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?.write_all(metrics.as_bytes())?;
    let output = child.wait_with_output()?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// A file of `deploy/monitoring`.
///
/// # Errors
/// There is none of that name.
pub fn deployed(name: &str) -> io::Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().find(|dir| dir.join("deploy/monitoring").is_dir()).unwrap_or(here);
    root.join("deploy/monitoring").join(name).canonicalize()
}

/// Every query of the dashboard, as Grafana asks it of all nodes over a minute.
///
/// # Errors
/// It can't be read.
pub fn dashboard_queries() -> io::Result<Vec<String>> {
    let dashboard: Value = serde_json::from_slice(&fs::read(deployed("dashboard.json")?)?)?;
    let mut found = Vec::new();
    collect(&dashboard, &mut found);
    Ok(found.iter().map(|query| query.replace("$__rate_interval", "1m").replace("$node", ".*")).collect())
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// The address on which a process listens, by its descriptors.
fn listening(pid: u32) -> io::Result<String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd"))?.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let sockets: Vec<String> =
        links.filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    let port = table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, state, _, _, _, _, _, inode, ..] = words.as_slice() else { return None };
        // 0A: TCP_LISTEN.
        let is_its_own = *state == "0A" && sockets.iter().any(|socket| socket == inode);
        is_its_own.then(|| u16::from_str_radix(local.split_once(':')?.1, 16).ok()).flatten()
    });
    port.map(|port| format!("127.0.0.1:{port}")).ok_or_else(|| io::Error::other("prometheus listens nowhere"))
}
