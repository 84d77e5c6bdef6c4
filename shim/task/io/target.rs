//! Where a stream of a process goes, by its URI.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::StdioError;
use super::copy::Sink;
use super::fifo;
use super::logger::LoggerCommand;

/// A parsed stdio URI.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Empty: `/dev/null`.
    Null,
    /// A path without a scheme, or `fifo://`.
    Fifo(PathBuf),
    /// `file://`: appended to.
    File(PathBuf),
    /// `binary://`: a program that takes the output.
    Logger(LoggerCommand),
}

impl Target {
    /// Which paths and programs are allowed, the gate has said.
    pub(super) fn parse(uri: &str) -> Result<Self, StdioError> {
        if uri.is_empty() {
            return Ok(Self::Null);
        }
        let (scheme, path) = uri.split_once("://").unwrap_or(("fifo", uri));
        if !path.starts_with('/') {
            return Err(StdioError::Relative(uri.into()));
        }
        match scheme {
            "fifo" => Ok(Self::Fifo(path.into())),
            "file" => Ok(Self::File(path.into())),
            "binary" => Ok(Self::Logger(LoggerCommand::parse(path))),
            other => Err(StdioError::Scheme { uri: uri.into(), scheme: other.into() }),
        }
    }

    /// Opens it for output; `None` for nowhere. A program is started for both outputs together, by whoever has both.
    pub(super) fn open_sink(&self) -> Result<Option<Sink>, StdioError> {
        match self {
            Self::Null | Self::Logger(_) => Ok(None),
            Self::Fifo(path) => Sink::pipe(fifo::open_output(path)?).map(Some),
            Self::File(path) => open_file(path).map(|file| Some(Sink::File(file))),
        }
    }
}

/// Modes as containerd's own shim has them.
fn open_file(path: &Path) -> Result<File, StdioError> {
    let failed = |action| move |source| StdioError::Io { action, path: path.into(), source };
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed("create the directory of"))?;
    }
    let no_follow = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(no_follow.bits()).unwrap_or(0);
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .custom_flags(flags)
        .open(path)
        .map_err(failed("open"))?;
    let is_file = file.metadata().map_err(failed("stat"))?.is_file();
    if is_file { Ok(file) } else { Err(StdioError::WrongKind { path: path.into(), expected: "regular file" }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes() {
        assert_eq!(Target::parse("").unwrap(), Target::Null);
        assert_eq!(Target::parse("/run/a").unwrap(), Target::Fifo("/run/a".into()));
        assert_eq!(Target::parse("fifo:///run/a").unwrap(), Target::Fifo("/run/a".into()));
        assert_eq!(Target::parse("file:///var/log/a").unwrap(), Target::File("/var/log/a".into()));
        assert!(matches!(Target::parse("binary:///bin/log?x=y").unwrap(), Target::Logger(_)));
        assert!(
            matches!(Target::parse("binary-v2:///bin/sh"), Err(StdioError::Scheme { scheme, .. }) if scheme == "binary-v2")
        );
        assert!(matches!(Target::parse("a/b"), Err(StdioError::Relative(_))));
    }

    #[test]
    fn a_link_is_not_written_through() {
        let dir = std::env::temp_dir().join(format!("palisade-target-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("victim"), "").unwrap();
        std::os::unix::fs::symlink(dir.join("victim"), dir.join("link")).unwrap();
        assert!(matches!(open_file(&dir.join("link")), Err(StdioError::Io { .. })));
        assert!(open_file(&dir.join("new/log")).is_ok());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
