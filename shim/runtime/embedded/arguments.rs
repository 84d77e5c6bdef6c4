//! The command line: runc's, as far as containerd and the OCI conformance suites use it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt as _};
use thiserror::Error;

use super::id::{ContainerId, InvalidId};
use super::signal::{self, UnknownSignal};
use crate::runtime::{FilterFile, Listening};

/// Where state is kept when `--root` is not given.
const DEFAULT_ROOT: &str = "/run/palisade";
/// Longest time for a call when `--deadline` is not given. Below the shim's own limit of 60 s, so that the
/// runtime can still take back what it half made.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(45);

/// What `--help` prints.
pub(super) const USAGE: &str = "\
usage: palisade-runtime [--root DIR] [--log FILE] [--log-format text|json] [--systemd-cgroup] [--deadline SECONDS] COMMAND

  create --bundle DIR [--pid-file FILE] [--console-socket SOCKET] [--report-refusals SOCKET | --record-calls SOCKET]
         [--seccomp-program FILE] ID
  start ID
  exec (--process FILE | ID ARGS...) [--pid-file FILE] [--console-socket SOCKET] [--detach] [--tty]
       [--cwd DIR] [--env K=V] [--user UID[:GID]] [--report-refusals SOCKET | --record-calls SOCKET] ID
  kill [--all] ID [SIGNAL]
  delete [--force] ID
  state ID
  update --resources FILE|- ID
  pause ID | resume ID
  ps [--format table|json] ID
  features
";

/// Why a command line was refused.
#[derive(Debug, Error)]
pub(super) enum ArgumentError {
    /// The words do not form a command.
    #[error("{0}")]
    Syntax(#[from] lexopt::Error),
    /// The first word is no command.
    #[error("no such command: {0:?}")]
    UnknownCommand(OsString),
    /// A required word is missing.
    #[error("{command} needs {what}")]
    Missing {
        /// The command.
        command: &'static str,
        /// The missing word.
        what: &'static str,
    },
    /// An option that would weaken the container.
    #[error("{option} is refused: {reason}")]
    Refused {
        /// The option.
        option: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A value out of range.
    #[error("{option}: {value:?} is none of {allowed}")]
    Value {
        /// The option.
        option: &'static str,
        /// What was given.
        value: OsString,
        /// What could be.
        allowed: &'static str,
    },
    /// The id.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// The signal.
    #[error(transparent)]
    Signal(#[from] UnknownSignal),
}

/// Where errors are written besides stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Log {
    /// The file, opened for appending.
    pub(super) path: PathBuf,
    /// JSON lines instead of logfmt.
    pub(super) json: bool,
}

/// `create`.
#[derive(Debug)]
pub(super) struct CreateRequest {
    pub(super) id: ContainerId,
    pub(super) bundle: PathBuf,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) console_socket: Option<PathBuf>,
    pub(super) listening: Option<Listening>,
    /// The compiled filter, for a spec that has no profile.
    pub(super) filter: Option<PathBuf>,
}

/// What an exec runs.
#[derive(Debug)]
pub(super) enum ExecProcess {
    /// A file with an OCI `process` object.
    File(PathBuf),
    /// The container's own process with other arguments.
    Arguments { args: Vec<String>, cwd: Option<PathBuf>, env: Vec<String>, user: Option<(u32, u32)> },
}

/// `exec`.
#[derive(Debug)]
pub(super) struct ExecRequest {
    pub(super) id: ContainerId,
    pub(super) process: ExecProcess,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) console_socket: Option<PathBuf>,
    pub(super) listening: Option<Listening>,
    pub(super) detach: bool,
    pub(super) tty: bool,
}

/// `kill`.
#[derive(Debug)]
pub(super) struct KillRequest {
    pub(super) id: ContainerId,
    pub(super) signal: i32,
    pub(super) all: bool,
}

/// How `ps` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PsFormat {
    /// Pid and name.
    Table,
    /// A JSON list of pids.
    Json,
}

/// One command.
#[derive(Debug)]
pub(super) enum Command {
    Create(CreateRequest),
    Start(ContainerId),
    Exec(ExecRequest),
    Kill(KillRequest),
    Delete { id: ContainerId, force: bool },
    State(ContainerId),
    Update { id: ContainerId, resources: PathBuf },
    Pause(ContainerId),
    Resume(ContainerId),
    Ps { id: ContainerId, format: PsFormat },
    Features,
    Version,
    Help,
}

impl Command {
    /// Whether a process of this binary goes into the container's namespaces.
    pub(super) fn enters_container(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Exec(_))
    }
}

/// A whole command line.
#[derive(Debug)]
pub(super) struct Invocation {
    root: PathBuf,
    log: Option<Log>,
    deadline: Duration,
    command: Command,
}

impl Invocation {
    /// Reads a command line.
    ///
    /// `--systemd-cgroup` is accepted and has no effect: the form of `linux.cgroupsPath` tells.
    pub(super) fn parse(args: &[OsString]) -> Result<Self, ArgumentError> {
        let mut parser = Parser::from_args(args);
        let mut root = PathBuf::from(DEFAULT_ROOT);
        let (mut log, mut json) = (None, false);
        let mut deadline = DEFAULT_DEADLINE;
        let command = loop {
            match parser.next()? {
                Some(Arg::Long("root")) => root = parser.value()?.into(),
                Some(Arg::Long("log")) => log = Some(PathBuf::from(parser.value()?)),
                Some(Arg::Long("log-format")) => json = log_format(&parser.value()?)?,
                Some(Arg::Long("deadline")) => {
                    deadline = Duration::from_secs(parser.value()?.parse::<u32>()?.max(1).into())
                }
                Some(Arg::Long("systemd-cgroup" | "debug")) => {}
                Some(Arg::Long("version") | Arg::Short('v')) => break Command::Version,
                Some(Arg::Long("help") | Arg::Short('h')) | None => break Command::Help,
                Some(Arg::Value(verb)) => break command(&verb, parser)?,
                Some(other) => return Err(other.unexpected().into()),
            }
        };
        let log = log.filter(|path| !path.as_os_str().is_empty()).map(|path| Log { path, json });
        Ok(Self { root, log, deadline, command })
    }

    pub(super) fn command(&self) -> &Command {
        &self.command
    }

    pub(super) fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(super) fn into_parts(self) -> (PathBuf, Command) {
        (self.root, self.command)
    }
}

fn log_format(value: &OsStr) -> Result<bool, ArgumentError> {
    match value.to_str() {
        Some("json") => Ok(true),
        Some("text") => Ok(false),
        _ => Err(ArgumentError::Value { option: "--log-format", value: value.into(), allowed: "text, json" }),
    }
}

fn command(verb: &OsStr, parser: Parser) -> Result<Command, ArgumentError> {
    let id_only = |verb| Words::read(parser.clone(), verb, 1)?.id();
    match verb.to_str().unwrap_or_default() {
        "create" => create(parser),
        "start" => id_only("start").map(Command::Start),
        "exec" => exec(parser),
        "kill" => kill(parser),
        "delete" => delete(parser),
        "state" => id_only("state").map(Command::State),
        "update" => update(parser),
        "pause" => id_only("pause").map(Command::Pause),
        "resume" => id_only("resume").map(Command::Resume),
        "ps" => ps(parser),
        "features" => Ok(Command::Features),
        _ => Err(ArgumentError::UnknownCommand(verb.into())),
    }
}

/// The words of a command that has no options, or is past them.
struct Words {
    command: &'static str,
    words: Vec<OsString>,
}

impl Words {
    fn read(mut parser: Parser, command: &'static str, most: usize) -> Result<Self, ArgumentError> {
        let mut words = Vec::new();
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Value(word) if words.len() < most => words.push(word),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Self { command, words })
    }

    fn id(self) -> Result<ContainerId, ArgumentError> {
        id(self.command, self.words.first())
    }
}

fn id(command: &'static str, word: Option<&OsString>) -> Result<ContainerId, ArgumentError> {
    let word = word.ok_or(ArgumentError::Missing { command, what: "a container id" })?;
    Ok(ContainerId::new(&word.to_string_lossy())?)
}

fn create(mut parser: Parser) -> Result<Command, ArgumentError> {
    let (mut bundle, mut pid_file, mut console_socket) = (None, None, None);
    let (mut listening, mut filter, mut name) = (None, None, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("bundle") | Arg::Short('b') => bundle = Some(PathBuf::from(parser.value()?)),
            Arg::Long("pid-file") => pid_file = Some(PathBuf::from(parser.value()?)),
            Arg::Long("console-socket") => console_socket = Some(PathBuf::from(parser.value()?)),
            Arg::Long(Listening::REFUSALS) => listening = Some(Listening::Refusals(parser.value()?.into())),
            Arg::Long(Listening::CALLS) => listening = Some(Listening::Calls(parser.value()?.into())),
            Arg::Long(FilterFile::OPTION) => filter = Some(PathBuf::from(parser.value()?)),
            Arg::Long("no-pivot") => return Err(refused("--no-pivot", "a chroot can be left again")),
            Arg::Long("no-new-keyring") => {
                return Err(refused("--no-new-keyring", "the session keyring of the host would be shared"));
            }
            Arg::Long("preserve-fds") => none_preserved(&parser.value()?)?,
            Arg::Value(word) if name.is_none() => name = Some(word),
            other => return Err(other.unexpected().into()),
        }
    }
    let id = id("create", name.as_ref())?;
    let bundle = bundle.unwrap_or_else(|| PathBuf::from("."));
    Ok(Command::Create(CreateRequest { id, bundle, pid_file, console_socket, listening, filter }))
}

fn refused(option: &'static str, reason: &'static str) -> ArgumentError {
    ArgumentError::Refused { option, reason }
}

fn none_preserved(value: &OsStr) -> Result<(), ArgumentError> {
    if value == "0" {
        Ok(())
    } else {
        Err(refused("--preserve-fds", "no descriptor of the host goes into a container"))
    }
}

fn exec(mut parser: Parser) -> Result<Command, ArgumentError> {
    let (mut file, mut pid_file, mut console_socket, mut cwd, mut user) = (None, None, None, None, None);
    let (mut listening, mut detach, mut tty) = (None, false, false);
    let (mut env, mut words) = (Vec::new(), Vec::new());
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("process") | Arg::Short('p') => file = Some(PathBuf::from(parser.value()?)),
            Arg::Long("pid-file") => pid_file = Some(PathBuf::from(parser.value()?)),
            Arg::Long("console-socket") => console_socket = Some(PathBuf::from(parser.value()?)),
            Arg::Long(Listening::REFUSALS) => listening = Some(Listening::Refusals(parser.value()?.into())),
            Arg::Long(Listening::CALLS) => listening = Some(Listening::Calls(parser.value()?.into())),
            Arg::Long("detach") | Arg::Short('d') => detach = true,
            Arg::Long("tty") | Arg::Short('t') => tty = true,
            Arg::Long("cwd") => cwd = Some(PathBuf::from(parser.value()?)),
            Arg::Long("env") | Arg::Short('e') => env.push(parser.value()?.string()?),
            Arg::Long("user") | Arg::Short('u') => user = Some(uid_gid(&parser.value()?)?),
            Arg::Long("preserve-fds") => none_preserved(&parser.value()?)?,
            Arg::Value(word) => {
                words.push(word);
                // Everything behind the id is the container's, options too.
                if file.is_none() {
                    words.extend(parser.raw_args()?);
                }
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let id = id("exec", words.first())?;
    let args = words.into_iter().skip(1).map(|word| word.string()).collect::<Result<Vec<_>, _>>()?;
    let process = match file {
        Some(file) => ExecProcess::File(file),
        None if args.is_empty() => {
            return Err(ArgumentError::Missing { command: "exec", what: "--process or arguments" });
        }
        None => ExecProcess::Arguments { args, cwd, env, user },
    };
    Ok(Command::Exec(ExecRequest { id, process, pid_file, console_socket, listening, detach, tty }))
}

/// `UID` or `UID:GID`; the group of a bare uid is 0, as runc has it.
fn uid_gid(value: &OsStr) -> Result<(u32, u32), ArgumentError> {
    let text = value.to_str().unwrap_or_default();
    let (uid, gid) = text.split_once(':').unwrap_or((text, "0"));
    match (uid.parse(), gid.parse()) {
        (Ok(uid), Ok(gid)) => Ok((uid, gid)),
        _ => Err(ArgumentError::Value { option: "--user", value: value.into(), allowed: "UID, UID:GID" }),
    }
}

fn kill(mut parser: Parser) -> Result<Command, ArgumentError> {
    let mut all = false;
    let mut words = Vec::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("all") | Arg::Short('a') => all = true,
            Arg::Value(word) if words.len() < 2 => words.push(word),
            other => return Err(other.unexpected().into()),
        }
    }
    let id = id("kill", words.first())?;
    let signal = match words.get(1) {
        Some(word) => signal::parse(&word.to_string_lossy())?,
        None => libc::SIGTERM,
    };
    Ok(Command::Kill(KillRequest { id, signal, all }))
}

fn delete(mut parser: Parser) -> Result<Command, ArgumentError> {
    let (mut force, mut name) = (false, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("force") | Arg::Short('f') => force = true,
            Arg::Value(word) if name.is_none() => name = Some(word),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Delete { id: id("delete", name.as_ref())?, force })
}

fn update(mut parser: Parser) -> Result<Command, ArgumentError> {
    let (mut resources, mut name) = (None, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("resources") | Arg::Short('r') => resources = Some(PathBuf::from(parser.value()?)),
            Arg::Value(word) if name.is_none() => name = Some(word),
            other => return Err(other.unexpected().into()),
        }
    }
    let resources = resources.ok_or(ArgumentError::Missing { command: "update", what: "--resources FILE" })?;
    Ok(Command::Update { id: id("update", name.as_ref())?, resources })
}

fn ps(mut parser: Parser) -> Result<Command, ArgumentError> {
    let (mut format, mut name) = (PsFormat::Table, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("format") | Arg::Short('f') => format = ps_format(&parser.value()?)?,
            Arg::Value(word) if name.is_none() => name = Some(word),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Ps { id: id("ps", name.as_ref())?, format })
}

fn ps_format(value: &OsStr) -> Result<PsFormat, ArgumentError> {
    match value.to_str() {
        Some("json") => Ok(PsFormat::Json),
        Some("table") => Ok(PsFormat::Table),
        _ => Err(ArgumentError::Value { option: "--format", value: value.into(), allowed: "table, json" }),
    }
}

/// Whether a path option means standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Invocation, ArgumentError> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Invocation::parse(&args)
    }

    #[test]
    fn containerds_create_line_is_understood() {
        let line = "--root /r --log /l --log-format json --systemd-cgroup create --bundle /b --pid-file /p c1";
        let invocation = parse(line).unwrap();
        assert_eq!(invocation.log(), Some(&Log { path: "/l".into(), json: true }));
        let (root, Command::Create(request)) = invocation.into_parts() else { panic!("not a create") };
        assert_eq!((root.as_path(), request.bundle.as_path()), (Path::new("/r"), Path::new("/b")));
        assert_eq!(request.pid_file.as_deref(), Some(Path::new("/p")));
        assert_eq!(request.id.as_str(), "c1");
    }

    #[test]
    fn everything_behind_the_id_of_exec_belongs_to_the_container() {
        let (_, Command::Exec(request)) = parse("exec --cwd /x c1 ls --detach -l").unwrap().into_parts() else {
            panic!("not an exec")
        };
        let ExecProcess::Arguments { args, cwd, .. } = request.process else { panic!("no arguments") };
        assert_eq!(args, ["ls", "--detach", "-l"]);
        assert_eq!(cwd.as_deref(), Some(Path::new("/x")));
        assert!(!request.detach);
        let (_, Command::Exec(request)) = parse("exec --process /p --detach c1").unwrap().into_parts() else {
            panic!("not an exec")
        };
        assert!(request.detach && matches!(request.process, ExecProcess::File(_)));
    }

    #[test]
    fn what_would_weaken_a_container_is_refused_with_a_reason() {
        for line in ["create --no-pivot c", "create --no-new-keyring c", "exec --preserve-fds 1 c ls", "create ../c"] {
            assert!(parse(line).is_err(), "{line}");
        }
        let error = parse("create --no-pivot c").unwrap_err().to_string();
        assert_eq!(error, "--no-pivot is refused: a chroot can be left again");
    }

    #[test]
    fn incomplete_lines_say_what_is_missing() {
        for (line, message) in [
            ("start", "start needs a container id"),
            ("update c", "update needs --resources FILE"),
            ("exec c", "exec needs --process or arguments"),
            ("frobnicate", "no such command: \"frobnicate\""),
            ("start a b", "unexpected argument \"b\""),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), message, "{line}");
        }
    }

    #[test]
    fn kill_takes_names_and_numbers() {
        for (line, expected) in [("kill c", 15), ("kill c SIGKILL", 9), ("kill --all c 37", 37), ("kill c RTMIN+3", 37)]
        {
            let (_, Command::Kill(request)) = parse(line).unwrap().into_parts() else { panic!("not a kill") };
            assert_eq!(request.signal, expected, "{line}");
        }
    }
}
