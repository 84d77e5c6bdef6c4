//! systemd's journald, in the enclosure's own `/run` and under nobody's control but this program's.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::invocation::Invocation;
use crate::{Failure, poll};

const PROGRAM: &str = "/lib/systemd/systemd-journald";
const CONFIG: &str = "/run/systemd/journald.conf.d";
const SOCKET: &str = "/run/systemd/journal/socket";
const STORAGE: &str = "/run/log/journal";
const SECONDS: u64 = 20;

/// A journal in memory that takes no more than what is sent to it: neither the kernel's log nor its audit.
const SETTINGS: &str =
    "[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\nForwardToSyslog=no\nRateLimitIntervalSec=0\n";

/// A journald that runs. Dropped, it ends.
#[derive(Debug)]
pub struct Journald(Child);

impl Journald {
    /// Starts it and waits for its socket. To be called in an [`Enclosure`](crate::Enclosure), whose `/run` is no other journald's.
    ///
    /// # Errors
    /// It is not installed, or does not come up.
    pub fn start() -> Result<Self, Failure> {
        if !Path::new(PROGRAM).exists() {
            return Err(Failure::Missing { what: PROGRAM.to_owned(), mend: "apt-get install systemd".to_owned() });
        }
        for folder in [CONFIG, STORAGE] {
            fs::create_dir_all(folder).map_err(Failure::io("make", Path::new(folder)))?;
        }
        let config = Path::new(CONFIG).join("suite.conf");
        fs::write(&config, SETTINGS).map_err(Failure::io("write", &config))?;
        let spawned = Command::new(PROGRAM).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let journald = Self(spawned.map_err(Failure::io("start", Path::new(PROGRAM)))?);
        poll::eventually("journald's socket", SECONDS, || {
            if Path::new(SOCKET).exists() { Ok(()) } else { Err("it is not there".to_owned()) }
        })?;
        Ok(journald)
    }

    /// The messages of a sender, oldest first, once `enough` says that all are there.
    ///
    /// # Errors
    /// journalctl can't be run, or they never are.
    pub fn messages(&self, sender: &str, enough: impl Fn(&[String]) -> bool) -> Result<Vec<String>, Failure> {
        poll::eventually("the journal's messages", SECONDS, || {
            let mut command = Command::new("journalctl");
            command.args(["-D", STORAGE, "--no-pager", "-o", "cat", "-t", sender]);
            let text = Invocation::run(&mut command, b"", SECONDS).and_then(Invocation::success);
            let text = text.map_err(|failure| failure.to_string())?;
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            if enough(&lines) { Ok(lines) } else { Err(format!("{} messages", lines.len())) }
        })
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        // Killed already, or gone by itself.
        drop(self.0.kill());
        drop(self.0.wait());
        for folder in ["/run/systemd", "/run/log"] {
            drop(fs::remove_dir_all(folder));
        }
    }
}
