//! Fifos for a container's streams, as containerd's clients make them.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::{Failure, poll};

/// Standard input and output, open on both sides so that nobody waits for the other to open.
#[derive(Debug)]
pub struct Streams {
    folder: PathBuf,
    stdin: Option<File>,
    stdout: File,
    /// Held open for the shim; what is written there is not looked at.
    _stderr: File,
    seen: String,
}

impl Streams {
    /// Makes them where containerd's clients make theirs.
    ///
    /// # Errors
    /// A fifo cannot be made or opened.
    pub fn make(id: &str) -> Result<Self, Failure> {
        let folder = Path::new("/run/containerd/fifo").join(id);
        fs::create_dir_all(&folder).map_err(Failure::io("make", &folder))?;
        Ok(Self {
            stdin: Some(fifo(&folder.join("stdin"))?),
            stdout: fifo(&folder.join("stdout"))?,
            _stderr: fifo(&folder.join("stderr"))?,
            seen: String::new(),
            folder,
        })
    }

    /// Standard input, output and error.
    #[must_use]
    pub fn uris(&self) -> [String; 3] {
        ["stdin", "stdout", "stderr"].map(|name| self.folder.join(name).display().to_string())
    }

    /// Writes to standard input, waiting where the fifo is full.
    ///
    /// # Errors
    /// Nobody reads for twenty seconds, or it has been closed.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        let stdin = self.stdin.as_mut().ok_or_else(|| Failure::unreadable("standard input", &"closed"))?;
        poll::eventually("a reader of standard input", 20, || {
            while !bytes.is_empty() {
                let count = stdin.write(bytes).map_err(|error| error.to_string())?;
                bytes = bytes.get(count..).unwrap_or_default();
            }
            Ok(())
        })
    }

    /// Closes this side of standard input; the shim still holds its own until it is asked to close it.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits until standard output has had these words.
    ///
    /// # Errors
    /// They do not come within twenty seconds.
    pub fn expect(&mut self, wanted: &str) -> Result<(), Failure> {
        let (stdout, seen) = (&mut self.stdout, &mut self.seen);
        poll::eventually(&format!("{wanted:?} on standard output"), 20, || {
            let mut bytes = [0; 4096];
            if let Ok(count) = stdout.read(&mut bytes) {
                seen.push_str(&String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()));
            }
            if seen.contains(wanted) { Ok(()) } else { Err(seen.clone()) }
        })
    }

    /// What is on standard output, after the shim has drained it and the task is deleted.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn rest(&mut self) -> Result<String, Failure> {
        let mut bytes = [0; 65_536];
        loop {
            match self.stdout.read(&mut bytes) {
                Ok(count) => self.seen.push_str(&String::from_utf8_lossy(bytes.get(..count).unwrap_or_default())),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Ok(std::mem::take(&mut self.seen));
                }
                Err(source) => return Err(Failure::Io { action: "read standard output".to_owned(), source }),
            }
        }
    }

    /// Removes the fifos.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub fn remove(self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.folder).map_err(Failure::io("remove", &self.folder))
    }
}

fn fifo(path: &Path) -> Result<File, Failure> {
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(Failure::system("make a fifo"))?;
    File::options()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(Failure::io("open", path))
}
