//! Why nothing was installed. Whatever had been changed by then is as it was before, unless the text says otherwise.

use std::io;

use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum InstallError {
    #[error("{0}")]
    Look(String),
    #[error("{action} {path}")]
    File {
        action: &'static str,
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("{path} is no file; move it away")]
    NoFile { path: String },
    #[error("{path} is a link that leads nowhere; remove it, or make what it names")]
    Dangling { path: String },
    #[error(
        "{directory} is not root's alone ({fault}), and root will run what is put there; chown root:root and chmod go-w, or choose another --bin-dir"
    )]
    NotRootsAlone { directory: String, fault: String },
    #[error("{path} is not there; build it with scripts/build, or name the directory that has it with --from")]
    NoBinary { path: String },
    #[error(
        "{path} can't be installed: {why}; --from must name a directory with shim and tool of this version ({own}) and processor"
    )]
    WrongBinary { path: String, why: String, own: &'static str },
    #[error(
        "{0:?} is no name for a handler: up to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit, and not runc"
    )]
    HandlerName(String),
    #[error(
        "containerd has a handler {name} already that is not palisade's ({kind}); choose another name with --handler, or remove it"
    )]
    HandlerTaken { name: String, kind: String },
    #[error(
        "no containerd was found below {root}; where it can't be run from here, say its version with --containerd-version"
    )]
    NoContainerd { root: String },
    #[error("{text:?} is no version of containerd; give one like 2.1.9")]
    Version { text: String },
    #[error("containerd {0} is too old: palisade runs with 1.7 and later")]
    TooOld(String),
    #[error(
        "{path} has no `version = 2` or 3: containerd takes it for a version 1 file; run `containerd config migrate` and put what it prints in its place"
    )]
    OldFormat { path: String },
    #[error("{path} is of version {format}, which containerd {containerd} or palisade does not know")]
    UnknownFormat { path: String, format: i64, containerd: String },
    #[error(
        "containerd reads a drop-in of {directory} only if {path} imports it. Add to its top the line\n{line}\nor let `palisade install --edit-config` add it, which keeps the file byte for byte otherwise"
    )]
    NotImported { path: String, directory: String, line: String },
    #[error(
        "containerd {version} would take a drop-in for the whole section of CRI, and lose what {path} has in it, now or after a later edit. Add to the end of {path}\n{lines}or let `palisade install --edit-config` add it, which keeps the file byte for byte otherwise"
    )]
    NoDropIn { version: String, path: String, lines: String },
    #[error(
        "{path} is written by {by} at each of its starts, and imports no directory that a drop-in could be put into. {mend}:\n{lines}"
    )]
    Generated { path: String, by: &'static str, mend: String, lines: String },
    #[error("{path} can't be added to: {why}. Add to it by hand\n{lines}")]
    NotEdited { path: String, why: String, lines: String },
    #[error(
        "{path} is there, and not as an earlier `palisade install` left it; look at it, and move it away or restore it"
    )]
    Foreign { path: String },
    #[error("containerd can't read its configuration {path} as it is, so nothing was changed; mend that first: {said}")]
    BadBefore { path: String, said: String },
    #[error("containerd would not read the new configuration, so everything is as it was before: {said}")]
    BadAfter { said: String },
    #[error(
        "the new configuration would also change {settings}, so everything is as it was before; add the handler by hand"
    )]
    OtherSettings { settings: String },
    #[error("{command} failed, so everything is as it was before{again}: {said}")]
    Restart { command: String, said: String, again: &'static str },
    #[error(
        "containerd did not {what} within {seconds} s of its restart, so everything is as it was before{again}: {last}"
    )]
    NoAnswer { what: String, seconds: u64, last: String, again: &'static str },
    #[error("no unit of systemd's for {0} was found; give the command with --restart-command")]
    NoUnit(&'static str),
    #[error("run {command}: {why}")]
    Run { command: String, why: String },
    #[error("the policy that would be written is wrong: {0}")]
    Policy(String),
    #[error(
        "{path} can't be read, so what was there before is not known: {why}; restore it, or move {directory} away and remove palisade's files by hand"
    )]
    Record { path: String, directory: String, why: String },
    #[error("nothing was installed here: no {path}")]
    NotInstalled { path: String },
    #[error(
        "there is no version to go back to: this is the first one that was installed here; `palisade uninstall` takes it away"
    )]
    NoPrevious,
    #[error(
        "under palisade are {running}, which containerd can't go on with without its shim: {which}; end them first, or use --force, which takes the handler away from them, with exec by CRI, and leaves the programs until they have ended"
    )]
    InUse { running: String, which: String },
    #[error(
        "handler {names} is palisade's as well and was not made by `palisade install`; remove it from containerd's configuration first, or use --force"
    )]
    OtherHandlers { names: String },
    #[error(
        "{path} was changed by somebody else while palisade was about to, so everything else is as it was before; run it again"
    )]
    Changed { path: String },
    #[error("apart from {paths}, which somebody else has changed meanwhile and which is left like that")]
    Left {
        paths: String,
        #[source]
        error: Box<InstallError>,
    },
    #[error("another `palisade install` or `uninstall` is under way on this node (it holds {path}); wait for it")]
    Busy { path: String },
}

impl InstallError {
    pub(super) fn file(action: &'static str, path: &str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
