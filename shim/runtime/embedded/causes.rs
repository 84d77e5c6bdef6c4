//! Why libcontainer failed.
//!
//! Its errors lose their causes on the way from the container's process to this one: a mount that fails arrives as
//! `failed to prepare rootfs`. The cause is only in its log. So the log's errors are kept in a file in memory that the
//! processes share, which is read when a call fails and costs one system call when it does not.

use std::fmt::{Debug, Write as _};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use libcontainer::error::LibcontainerError;
use rustix::fs::MemfdFlags;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::error::RuntimeFailure;

/// Most bytes of the log that are looked at.
const MAX_LOG: u64 = 16 << 10;

/// What libcontainer puts around a message on its way through its processes.
const WRAPPINGS: [&str; 5] = [
    "failed to create container: ",
    "exec process failed with error ",
    "error in executing process : ",
    "intermediate process error ",
    "failed to initialize container process: ",
];

/// Every failure of a container's process begins with these words, as with runc; kubelet shows them.
const PREFIX: &str = "unable to start container process: ";

/// The errors that libcontainer has logged in this process and in those that it has cloned.
#[derive(Debug)]
pub(super) struct Causes(Option<File>);

impl Causes {
    /// Starts keeping them. Without memory for the file there are no causes, and calls fail as they would anyway.
    pub(super) fn keep() -> Self {
        let file = rustix::fs::memfd_create("libcontainer.log", MemfdFlags::CLOEXEC).ok().map(File::from);
        let writer = file.as_ref().and_then(|file| file.try_clone().ok());
        if let Some(file) = writer
            && tracing::subscriber::set_global_default(ErrorLog { file }).is_err()
        {
            return Self(None);
        }
        Self(file)
    }

    /// A libcontainer error with its cause.
    pub(super) fn of(self, error: &LibcontainerError) -> RuntimeFailure {
        let mut reason = unwrapped(&super::report::one_line(error));
        if let Some(first) = self.first()
            && !reason.contains(&first)
        {
            reason.push_str(": ");
            reason.push_str(&first);
        }
        if !reason.starts_with(PREFIX) {
            reason.insert_str(0, PREFIX);
        }
        RuntimeFailure::Libcontainer { reason }
    }

    /// The innermost error: it was logged first.
    fn first(self) -> Option<String> {
        let mut file = self.0?;
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(0)).ok()?;
        file.take(MAX_LOG).read_to_end(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text);
        text.lines().next().map(unwrapped)
    }
}

fn unwrapped(text: &str) -> String {
    WRAPPINGS.iter().fold(text.to_owned(), |text, wrapping| text.replace(wrapping, ""))
}

/// Writes errors, one a line. Everything below an error costs one comparison.
struct ErrorLog {
    file: File,
}

impl Subscriber for ErrorLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() == Level::ERROR
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::ERROR)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = format!("{}{}", line.message, line.fields).replace('\n', " ");
        drop((&self.file).write_all(format!("{text}\n").as_bytes()));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "err" | "error" => write!(self.fields, ": {value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        // Writing to a String does not fail.
        written.unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappings_are_taken_off() {
        let text =
            "failed to create container: exec process failed with error error in executing process : no such file";
        assert_eq!(unwrapped(text), "no such file");
    }

    #[test]
    fn the_first_error_is_the_cause() {
        let causes = Causes(rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).ok().map(File::from));
        let log = ErrorLog { file: causes.0.as_ref().unwrap().try_clone().unwrap() };
        tracing::subscriber::with_default(log, || {
            tracing::warn!("not an error");
            tracing::error!(path = "/x", err = "ENOENT", "mount");
            tracing::error!("outer");
        });
        let failure = causes.of(&LibcontainerError::Other("failed to prepare rootfs".into()));
        let expected = "unable to start container process: failed to prepare rootfs: mount path=\"/x\": \"ENOENT\"";
        assert_eq!(failure.to_string(), expected);
    }
}
