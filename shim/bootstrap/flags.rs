//! The command line: flags in the style of Go's `flag` package, then an action.
//!
//! Source: containerd `docs/runtime-v2.md`, "Commands" and "Command line flags".

use std::ffi::OsString;
use std::path::PathBuf;

use thiserror::Error;

/// What containerd asks the binary to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// No action: be the daemon that `start` left behind.
    Daemon,
    /// `start`: make a daemon and print its address.
    Start,
    /// `delete`: clean up after a daemon that is gone.
    Delete,
    /// `-info`: print name, version and features of the runtime.
    Info,
    /// `-v`, `-version`.
    Version,
}

/// Why a command line is not understood.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FlagsError {
    /// A flag that no containerd version passes.
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    /// A flag that needs a value is the last word.
    #[error("flag needs an argument: -{0}")]
    NoValue(String),
    /// An action that the shim doesn't have.
    #[error("unknown action {0:?}; known: start, delete")]
    UnknownAction(String),
    /// An argument is not UTF-8.
    #[error("argument {0:?} is not UTF-8")]
    NotUtf8(OsString),
    /// A namespace or id is missing or not one that containerd makes.
    #[error("-{flag} {value:?} is not a containerd identifier")]
    Identifier {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
    },
}

/// The parsed command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flags {
    namespace: String,
    id: String,
    address: String,
    bundle: PathBuf,
    debug: bool,
    action: Action,
}

/// Flags without a value; Go also takes `-debug=true`.
const SWITCHES: [&str; 4] = ["debug", "v", "version", "info"];

impl Flags {
    /// Parses the arguments after the program name.
    ///
    /// # Errors
    ///
    /// [`FlagsError`]; nothing is guessed.
    pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Self, FlagsError> {
        let mut flags = Self {
            namespace: String::new(),
            id: String::new(),
            address: String::new(),
            bundle: PathBuf::new(),
            debug: false,
            action: Action::Daemon,
        };
        let mut args = args.map(|arg| arg.into_string().map_err(FlagsError::NotUtf8));
        while let Some(arg) = args.next() {
            let arg = arg?;
            let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
                flags.set_action(&arg)?;
                continue;
            };
            let (name, inline) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if SWITCHES.contains(&name) {
                flags.switch(name, inline.as_deref() != Some("false"));
                continue;
            }
            let value = match inline {
                Some(value) => value,
                None => args.next().ok_or_else(|| FlagsError::NoValue(name.into()))??,
            };
            flags.set(name, value)?;
        }
        flags.validated()
    }

    fn set_action(&mut self, action: &str) -> Result<(), FlagsError> {
        self.action = match action {
            "start" => Action::Start,
            "delete" => Action::Delete,
            other => return Err(FlagsError::UnknownAction(other.into())),
        };
        Ok(())
    }

    fn switch(&mut self, name: &str, on: bool) {
        match (name, on) {
            ("debug", on) => self.debug = on,
            ("info", true) => self.action = Action::Info,
            (_, true) => self.action = Action::Version,
            (_, false) => {}
        }
    }

    /// `-socket`, `-debug-socket` and `-publish-binary` are accepted and unused: the socket's place is
    /// computed, and events go over ttrpc.
    fn set(&mut self, name: &str, value: String) -> Result<(), FlagsError> {
        match name {
            "namespace" => self.namespace = value,
            "id" => self.id = value,
            "address" => self.address = value,
            "bundle" => self.bundle = PathBuf::from(value),
            "socket" | "debug-socket" | "publish-binary" => {}
            other => return Err(FlagsError::Unknown(other.into())),
        }
        Ok(())
    }

    fn validated(self) -> Result<Self, FlagsError> {
        if matches!(self.action, Action::Info | Action::Version) {
            return Ok(self);
        }
        for (flag, value) in [("namespace", &self.namespace), ("id", &self.id)] {
            if !is_identifier(value) {
                return Err(FlagsError::Identifier { flag, value: value.clone() });
            }
        }
        Ok(self)
    }

    /// What to do.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    /// containerd's namespace, `k8s.io` for CRI.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The container that the call is for.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// containerd's gRPC address; empty where it was not passed.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The bundle, given to `delete` only.
    #[must_use]
    pub fn bundle(&self) -> &PathBuf {
        &self.bundle
    }

    /// Whether containerd logs at debug level.
    #[must_use]
    pub fn debug(&self) -> bool {
        self.debug
    }
}

/// containerd's `identifiers.Validate`: up to 76 characters of `[A-Za-z0-9_.-]`, beginning and ending with
/// an alphanumeric. Such a name is one path component and can't climb out of a directory.
#[must_use]
pub fn is_identifier(value: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 76
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, FlagsError> {
        Flags::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn reads_what_containerd_passes_to_start() {
        let flags =
            parse("-namespace k8s.io -address /run/c.sock -publish-binary /usr/bin/containerd -id abc -debug start")
                .unwrap();
        assert_eq!(flags.action(), Action::Start);
        assert_eq!((flags.namespace(), flags.id(), flags.address()), ("k8s.io", "abc", "/run/c.sock"));
        assert!(flags.debug());
    }

    #[test]
    fn reads_double_dashes_and_inline_values() {
        let flags = parse("--namespace=default --id c1 --debug=false -bundle /b delete").unwrap();
        assert_eq!((flags.action(), flags.bundle().to_str()), (Action::Delete, Some("/b")));
        assert!(!flags.debug());
    }

    #[test]
    fn info_and_version_need_nothing_else() {
        assert_eq!(parse("-info").unwrap().action(), Action::Info);
        assert_eq!(parse("-v").unwrap().action(), Action::Version);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert_eq!(parse("-nope x start"), Err(FlagsError::Unknown("nope".into())));
        assert_eq!(parse("-id"), Err(FlagsError::NoValue("id".into())));
        assert_eq!(parse("-namespace a -id b restart"), Err(FlagsError::UnknownAction("restart".into())));
    }

    #[test]
    fn refuses_ids_that_are_paths() {
        for id in ["../x", "a/b", ".", "-a", "a-", ""] {
            let line = ["-namespace", "ns", "-id", id, "start"].map(OsString::from);
            assert!(matches!(Flags::parse(line.into_iter()), Err(FlagsError::Identifier { flag: "id", .. })), "{id:?}");
        }
    }
}
