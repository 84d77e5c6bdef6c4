//! Which image a container is made of: asked of containerd by the `palisade` program, as a child that ends with its answer.
//!
//! gRPC stays out of the shim. The program is the admin's, as the policy is: it is opened without following links, must be root's with all
//! directories above it, and what was opened is what runs. Its answer is bounded in time and size, and whatever is wrong with it, the image
//! is unknown.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::time::Duration;

use palisade_policy::{ImageAnswer, ImageFacts, ImageSettings};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::Interest;
use tokio::net::unix::pipe;

use crate::gate::{CONFIG_VARIABLE, PolicyFileError, open_program};
use crate::task::Reaper;

/// Longest answer, in bytes: labels and findings are cut by whoever answers.
const MAX_ANSWER: usize = 1 << 20;
/// Longest wait for the end of a program that was killed.
const KILLED: Duration = Duration::from_secs(5);
/// The version of the answer.
pub const ANSWER_VERSION: u32 = 1;

/// What the program prints. Fields are only ever added to a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// [`ANSWER_VERSION`].
    pub version: u32,
    /// What it found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Box<ImageFacts>>,
    /// Why it found nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Why nothing is known.
#[derive(Debug, Error)]
enum LookupError {
    #[error(transparent)]
    Program(PolicyFileError),
    #[error("{action} the resolver")]
    Run {
        action: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("no answer within {} s ([images] deadline)", .0.as_secs())]
    Deadline(Duration),
    #[error("the resolver's answer has more than {MAX_ANSWER} bytes")]
    TooLong,
    #[error("the resolver's answer is not understood")]
    Answer(#[source] serde_json::Error),
    #[error("the resolver's answer is of version {0}")]
    Version(u32),
    #[error("{0}")]
    Told(String),
    #[error("the resolver has given no answer (exit status {0})")]
    Silent(u32),
    #[error("containerd has not said where it is reached")]
    NoAddress,
}

/// A question about one container.
#[derive(Debug, Clone)]
pub struct ImageQuestion {
    /// containerd's namespace.
    pub namespace: String,
    /// The container.
    pub id: String,
    /// The program.
    pub resolver: PathBuf,
    /// Longest time for the answer.
    pub deadline: Duration,
}

impl ImageQuestion {
    /// The question that the policy's settings lead to.
    #[must_use]
    pub fn new(settings: &ImageSettings, namespace: &str, id: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            resolver: settings.resolver.clone(),
            deadline: settings.deadline,
        }
    }

    /// Asks the containerd at `address`, a path of its gRPC socket. There is always an answer, and within the deadline.
    pub async fn ask(self, address: &str, reaper: &Reaper) -> ImageAnswer {
        match self.attempt(address, reaper).await {
            Ok(facts) => ImageAnswer::Known(facts),
            Err(error) => {
                let why = crate::log::chain(&error);
                crate::warn!("image of {}: {why}", self.id);
                ImageAnswer::Unknown(why)
            }
        }
    }

    async fn attempt(&self, address: &str, reaper: &Reaper) -> Result<Box<ImageFacts>, LookupError> {
        if address.is_empty() {
            return Err(LookupError::NoAddress);
        }
        let failed = |action| move |source| LookupError::Run { action, source };
        let program = open_program(&self.resolver).map_err(|error| match error {
            PolicyFileError::Read { source, .. } => failed("open")(source),
            other => LookupError::Program(other),
        })?;
        let (reading, writing) = io::pipe().map_err(failed("make a pipe for"))?;
        let receiver = pipe::Receiver::from_owned_fd(OwnedFd::from(reading)).map_err(failed("read from"))?;
        let mut command = self.command(&program, address, writing.into());
        let child = reaper.spawn(&mut command).map_err(failed("start"))?;
        // It holds the end of the pipe that the program writes to.
        drop(command);
        drop(program);
        let pid = child.pid();
        let mut exit = pin!(child.exit());
        let answered = async {
            let answer = read(&receiver).await?;
            Ok((answer, (&mut exit).await))
        };
        let answered = tokio::time::timeout(self.deadline, answered).await;
        let error = match answered {
            Ok(Ok((answer, exit))) => return understood(&answer, exit.status()),
            Ok(Err(error)) => error,
            Err(_) => LookupError::Deadline(self.deadline),
        };
        kill_group(pid);
        if tokio::time::timeout(KILLED, exit).await.is_err() {
            crate::warn!("the resolver of images, {pid}, was killed and does not end");
        }
        Err(error)
    }

    /// It runs as what was opened, whatever stands at the path by then, and with nothing of the shim's but the way to the policy.
    fn command(&self, program: &OwnedFd, address: &str, stdout: OwnedFd) -> Command {
        let mut command = Command::new(Path::new("/proc/self/fd").join(program.as_raw_fd().to_string()));
        command
            .arg0("palisade")
            .args(["image", "facts", "--address", address, "--namespace", &self.namespace, "--container", &self.id])
            .env_clear()
            .envs(std::env::var_os(CONFIG_VARIABLE).map(|path| (CONFIG_VARIABLE, path)))
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null());
        command
    }
}

/// Everything up to the end, or an error as soon as it is too much.
async fn read(receiver: &pipe::Receiver) -> Result<Vec<u8>, LookupError> {
    let failed = |source| LookupError::Run { action: "read from", source };
    let mut answer = Vec::new();
    let mut part = [0; 16 << 10];
    loop {
        receiver.ready(Interest::READABLE).await.map_err(failed)?;
        match receiver.try_read(&mut part) {
            Ok(0) => return Ok(answer),
            Ok(count) => answer.extend_from_slice(part.get(..count).unwrap_or_default()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(failed(error)),
        }
        if answer.len() > MAX_ANSWER {
            return Err(LookupError::TooLong);
        }
    }
}

fn understood(answer: &[u8], status: u32) -> Result<Box<ImageFacts>, LookupError> {
    if answer.is_empty() {
        return Err(LookupError::Silent(status));
    }
    let answer: Answer = serde_json::from_slice(answer).map_err(LookupError::Answer)?;
    match answer {
        Answer { version, .. } if version != ANSWER_VERSION => Err(LookupError::Version(version)),
        Answer { error: Some(why), .. } => Err(LookupError::Told(why)),
        Answer { image: Some(facts), .. } if status == 0 => Ok(facts),
        Answer { .. } => Err(LookupError::Silent(status)),
    }
}

fn kill_group(pid: u32) {
    let group = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group
        && let Err(error) = rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
    {
        crate::warn!("kill the process group of the resolver of images: {error}");
    }
}
