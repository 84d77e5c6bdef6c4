//! How a call tells what happened: one line on stderr, and one in the log file that the caller named.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::arguments::Log;
use super::clock;
use super::error::RuntimeFailure;

/// Where failures go.
#[derive(Debug, Default, Clone)]
pub(super) struct Report {
    log: Option<Log>,
}

/// One line of a runc log.
#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: String,
}

impl Report {
    pub(super) fn to(log: Option<&Log>) -> Self {
        Self { log: log.cloned() }
    }

    /// Reports a failure. What can't be written is left: the exit code still tells.
    pub(super) fn failed(&self, failure: &RuntimeFailure) -> ExitCode {
        self.tell(&one_line(failure));
        ExitCode::FAILURE
    }

    /// Makes a panic a failure like any other: one line, in the log too. Without it the shim would know of a signal only, and the
    /// container's stderr would get the backtrace.
    pub(super) fn take_panics(self) {
        std::panic::set_hook(Box::new(move |panic| self.tell(&format!("panic: {panic}").replace(['\n', '\r'], " "))));
    }

    fn tell(&self, message: &str) {
        eprintln_lossy(message);
        if let Some(log) = &self.log
            && let Err(error) = append(log, message)
        {
            eprintln_lossy(&format!("write {}: {error}", log.path.display()));
        }
    }
}

/// stderr may be the container's closed pipe, and `eprintln!` panics then.
fn eprintln_lossy(message: &str) {
    drop(io::stderr().write_all(format!("palisade-runtime: {message}\n").as_bytes()));
}

fn append(log: &Log, message: &str) -> io::Result<()> {
    let line = Line { level: "error", msg: message, time: clock::now() };
    let text = if log.json {
        serde_json::to_string(&line)?
    } else {
        format!("time={:?} level={} msg={:?}", line.time, line.level, line.msg)
    };
    open(&log.path)?.write_all(format!("{text}\n").as_bytes())
}

fn open(path: &Path) -> io::Result<std::fs::File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// An error and its causes in one line, each said once: some libraries repeat the cause in their own text.
pub(super) fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text.replace(['\n', '\r'], " ")
}

/// Tells on stderr of something that does not make the call fail.
pub(super) fn note(message: &str) {
    eprintln_lossy(message);
}

/// Writes a command's answer to stdout.
pub(super) fn print(text: &str) -> Result<(), RuntimeFailure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(RuntimeFailure::Print)
}

/// The first line in runc's form, for callers that look for `version`.
pub(super) fn version() -> String {
    format!(
        "palisade-runtime version {}\nspec: {}\nlibcontainer: 0.7\n",
        env!("CARGO_PKG_VERSION"),
        super::features::OCI_VERSION_MAX
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("create\ncontainer: {0}")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_cause_that_the_text_already_holds_is_not_repeated() {
        let error = Outer(io::Error::other("no space"));
        assert_eq!(one_line(&error), "create container: no space");
    }

    /// Run as a process of its own, since a hook is the whole process's.
    #[test]
    fn a_panic_is_one_line_in_the_log() {
        const LOG: &str = "PALISADE_TEST_PANIC_LOG";
        if let Some(path) = std::env::var_os(LOG) {
            Report::to(Some(&Log { path: path.into(), json: true })).take_panics();
            panic!("on\npurpose");
        }
        let path = std::env::temp_dir().join(format!("palisade-panic-{}", std::process::id()));
        let test = ["--exact", "runtime::embedded::report::tests::a_panic_is_one_line_in_the_log", "--nocapture"];
        let child = std::process::Command::new("/proc/self/exe").args(test).env(LOG, &path).output().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        let message = line["msg"].as_str().unwrap();
        assert!(message.starts_with("panic: panicked at ") && message.ends_with("on purpose"), "{message}");
        assert_eq!(line["level"], "error");
        let stderr = String::from_utf8(child.stderr).unwrap();
        assert_eq!(stderr.matches("on purpose").count(), 1, "{stderr}");
        assert!(!stderr.contains("on\npurpose") && !stderr.contains("RUST_BACKTRACE"), "{stderr}");
    }

    #[test]
    fn a_json_log_line_is_what_runc_writes() {
        let path = std::env::temp_dir().join(format!("palisade-report-{}", std::process::id()));
        append(&Log { path: path.clone(), json: true }, "say \"no\"").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "error");
        assert_eq!(line["msg"], "say \"no\"");
        assert!(line["time"].is_string());
    }
}
