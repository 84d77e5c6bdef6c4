//! The shim's log: logfmt lines on stderr, which containerd reads from the bundle's `log` FIFO.
//!
//! containerd may be down while the shim lives on, so a failed write is the one result that is dropped
//! on purpose: there is nowhere left to report it.

use std::fmt::Arguments;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Severity, as containerd's log names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something that an admin may want to know later.
    Info,
    /// Something failed that the shim can go on without.
    Warn,
    /// A request or a duty of the shim failed.
    Error,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warning",
            Self::Error => "error",
        }
    }
}

/// Writes one line. The message is quoted, so no text of a container can forge a second line.
pub fn write(level: Level, message: Arguments<'_>) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let line = format!("time={seconds} level={} msg={:?}\n", level.as_str(), message.to_string());
    drop(std::io::stderr().write_all(line.as_bytes()));
}

/// An error and all its causes, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Sends panics to the log before the process ends, so that a dead shim has left its reason.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| write(Level::Error, format_args!("panic: {panic}"))));
}

/// Logs at [`Level::Warn`].
#[macro_export]
macro_rules! warn {
    ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Warn, format_args!($($arg)*)) };
}

/// Logs at [`Level::Info`].
#[macro_export]
macro_rules! info {
    ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Info, format_args!($($arg)*)) };
}

#[cfg(test)]
mod tests {
    use super::chain;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::num::ParseIntError);

    /// Run as a process of its own, since a hook is the whole process's.
    #[test]
    fn a_panic_is_one_line_of_the_log() {
        const CHILD: &str = "PALISADE_TEST_PANIC";
        if std::env::var_os(CHILD).is_some() {
            super::log_panics();
            panic!("on\npurpose");
        }
        let test = ["--exact", "log::tests::a_panic_is_one_line_of_the_log", "--nocapture"];
        let child = std::process::Command::new("/proc/self/exe").args(test).env(CHILD, "").output().unwrap();
        let stderr = String::from_utf8(child.stderr).unwrap();
        let lines: Vec<&str> = stderr.lines().filter(|line| line.contains("purpose")).collect();
        assert_eq!(lines.len(), 1, "{stderr}");
        assert!(
            lines[0].starts_with("time=") && lines[0].contains("level=error msg=\"panic: panicked at "),
            "{stderr}"
        );
        assert!(lines[0].contains("on\\npurpose"), "{stderr}");
    }

    #[test]
    fn chain_names_every_cause() {
        let inner = "x".parse::<u8>().unwrap_err();
        assert_eq!(chain(&Outer(inner)), "outer: invalid digit found in string");
    }
}
