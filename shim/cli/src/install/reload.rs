//! containerd is started anew, and has to answer with the handlers that it was given. Containers go on: their shims are no part of it.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::cri::{self, Answer};
use super::error::InstallError;
use super::node::Node;
use super::programs;
use crate::arguments::InstallPlace;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);
/// One question.
const ONE: Duration = Duration::from_secs(5);

/// The command that starts containerd anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Restart {
    pub(super) words: Vec<String>,
}

impl Restart {
    /// The one that was given, or systemd's. None where nobody wants one.
    pub(super) fn of(node: &Node, place: &InstallPlace) -> Result<Option<Self>, InstallError> {
        if let Some(command) = &place.restart_command {
            return Ok(Some(Self { words: command.split_whitespace().map(str::to_owned).collect() }));
        }
        if !place.restart {
            return Ok(None);
        }
        let unit = node.unit().filter(|_| node.systemd);
        let unit = unit.ok_or(InstallError::NoUnit(node.distribution.name))?;
        Ok(Some(Self { words: ["systemctl", "restart", unit].map(str::to_owned).to_vec() }))
    }

    /// What an admin would type.
    pub(super) fn shown(node: &Node) -> String {
        format!("systemctl restart {}", node.unit().unwrap_or("containerd.service"))
    }

    pub(super) fn command(&self) -> String {
        self.words.join(" ")
    }

    /// Does it, and waits until the handler is there, or no longer is.
    pub(super) fn run(&self, node: &Node, handler: &str, wanted: bool, seconds: u64) -> Result<Answer, InstallError> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let patience = Duration::from_secs(seconds.max(1));
        let deadline = Instant::now() + patience;
        let failed = |said| InstallError::Restart { command: self.command(), said, again: "" };
        let ran = programs::run(&node.root, &words, patience).map_err(|error| failed(error.to_string()))?;
        if !ran.status.success() {
            let said = ran.said();
            // systemd's socket is not trusted by a process that does not see systemd. Source: systemd src/basic/socket-util.c, getpeercred.
            let hint = if said.contains("connect to bus") { "; from a pod it needs hostPID: true" } else { "" };
            return Err(failed(format!("{said}{hint}")));
        }
        loop {
            let answer = ask(node);
            let last = match answer {
                Ok(Answer::Handlers(names)) if names.iter().any(|name| name == handler) == wanted => {
                    return Ok(Answer::Handlers(names));
                }
                Ok(Answer::NoCri) if node.is_without_cri() => return Ok(Answer::NoCri),
                // A plugin that does not like its settings is left out, and containerd answers without it.
                Ok(Answer::NoCri) => "CRI was not loaded; containerd's log says why".to_owned(),
                Ok(Answer::Handlers(names)) => format!("it has {}", names.join(", ")),
                Err(why) => why,
            };
            if Instant::now() >= deadline {
                let what = if wanted { format!("show the handler {handler}") } else { "answer".to_owned() };
                return Err(InstallError::NoAnswer { what, seconds, last, again: "" });
            }
            thread::sleep(PAUSE);
        }
    }
}

fn ask(node: &Node) -> Result<Answer, String> {
    let socket = node.socket();
    let (_open, by) = reach(node, &socket)?;
    cri::handlers(&by, ONE)
}

/// A path by which the socket can be reached from here, within the node's tree.
fn reach(node: &Node, socket: &str) -> Result<(OwnedFd, String), String> {
    let opened = node.tree.open_path(Path::new(socket)).map_err(|error| format!("{socket}: {error}"))?;
    let by = format!("/proc/self/fd/{}", opened.as_raw_fd());
    Ok((opened, by))
}
