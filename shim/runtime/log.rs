//! The log of one call, whose last error says why the call failed.
//!
//! It is a file in memory, which the runtime opens by its place in the shim's `/proc`: a full disk is what a runtime has to be able to
//! tell of.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, memfd_create};
use serde::Deserialize;

/// Most bytes of a log that are looked at, from its beginning; a runtime writes a few lines.
const MAX_LOG: u64 = 1 << 20;

/// The file, for as long as the call takes.
#[derive(Debug)]
pub(super) struct CallLog {
    /// `None` where the kernel gives none; the call then fails by itself, or has nothing to say.
    file: Option<File>,
}

#[derive(Deserialize)]
struct Line {
    level: String,
    msg: String,
}

impl CallLog {
    /// An empty log.
    pub(super) fn new() -> Self {
        let made = memfd_create("runtime.log", MemfdFlags::CLOEXEC);
        let file = made.inspect_err(|errno| crate::warn!("a file for the runtime's log: {errno}")).ok();
        Self { file: file.map(File::from) }
    }

    /// Where a process that may look at the shim finds it.
    pub(super) fn path(&self) -> PathBuf {
        match &self.file {
            Some(file) => format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into(),
            None => "/dev/null".into(),
        }
    }

    /// What the runtime said last; without a word of it, its exit status.
    pub(super) fn last_error(mut self, status: u32) -> String {
        let mut text = Vec::new();
        if let Some(file) = self.file.take()
            && let Err(error) = file.take(MAX_LOG).read_to_end(&mut text)
        {
            crate::warn!("read the runtime's log: {error}");
        }
        last_error(&text).unwrap_or_else(|| format!("exit status {status}"))
    }
}

/// runc, crun and the embedded runtime write JSON lines.
fn last_error(text: &[u8]) -> Option<String> {
    String::from_utf8_lossy(text)
        .lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok())
        .find(|line| line.level == "error" || line.level == "fatal")
        .map(|line| line.msg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::Write as _;

    #[test]
    fn the_last_error_of_the_log_is_the_message() {
        let lines = [
            r#"{"level":"error","msg":"first","time":"t"}"#,
            r#"{"level":"error","msg":"the reason","time":"t"}"#,
            r#"{"level":"info","msg":"later","time":"t"}"#,
            "not json",
        ];
        assert_eq!(last_error(lines.join("\n").as_bytes()).unwrap(), "the reason");
        assert_eq!(last_error(b""), None);
    }

    #[test]
    fn what_is_written_by_the_path_is_read() {
        let log = CallLog::new();
        // As runtimes open theirs.
        let mut file = OpenOptions::new().append(true).create(true).open(log.path()).unwrap();
        file.write_all(b"{\"level\":\"error\",\"msg\":\"no space\"}\n").unwrap();
        assert_eq!(log.last_error(1), "no space");
        assert_eq!(CallLog::new().last_error(3), "exit status 3");
    }
}
