//! Processes whose output this process reads itself, to its end.
//!
//! `ctr run` and `ctr task exec` close their side of the fifos once containerd says that the process has ended, and lose what is still
//! in them: now and then a line of output is gone, under runc's shim as well. Here the fifos are read until the shim has closed them.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread::{self, JoinHandle};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::invocation::Invocation;
use crate::tasks::{CreateOptions, Tasks};
use crate::{Failure, poll};

/// How the status of a client looks whose call containerd refused.
const REFUSED: u32 = 1;

/// Creates the task of a container that containerd knows, and sees it through to its end.
///
/// # Errors
/// A call that has nothing to do with the process failed; a refusal is in the [`Invocation`].
pub fn run(tasks: &Tasks, id: &str, stdin: &[u8]) -> Result<Invocation, Failure> {
    let pipes = Pipes::make(id)?;
    let options = CreateOptions { stdio: pipes.uris(), ..CreateOptions::default() };
    let ended = tasks.mounts(id).and_then(|mounts| tasks.create(id, mounts, options)).and_then(|_| {
        let ended = see_through(tasks, id, "", stdin, &pipes);
        let deleted = tasks.delete(id);
        let status = ended?;
        deleted.map(|_| status)
    });
    pipes.finish(&format!("run {id}"), ended)
}

/// Runs a command in a container that runs, with the process settings of its init.
///
/// # Errors
/// As those of [`run`].
pub fn exec(tasks: &Tasks, id: &str, exec: &str, args: &[&str]) -> Result<Invocation, Failure> {
    let pipes = Pipes::make(exec)?;
    let mut process = tasks.spec(id)?.pointer("/process").cloned().unwrap_or_default();
    if let Some(own) = process.pointer_mut("/args") {
        *own = args.into();
    }
    let ended = tasks.exec_with(id, exec, &process, pipes.uris()).and_then(|()| {
        let ended = see_through(tasks, id, exec, b"", &pipes);
        let deleted = tasks.delete_exec(id, exec);
        let status = ended?;
        deleted.map(|_| status)
    });
    pipes.finish(&format!("exec {args:?} in {id}"), ended)
}

fn see_through(tasks: &Tasks, id: &str, exec: &str, stdin: &[u8], pipes: &Pipes) -> Result<u32, Failure> {
    tasks.start(id, exec)?;
    pipes.write(stdin)?;
    // The process may have ended already.
    tasks.close_stdin(id, exec).ok();
    let ended = tasks.wait(id, exec);
    if ended.is_err() {
        // It hangs. What is reported is that it did not end.
        tasks.kill(id, exec, 9).and_then(|()| tasks.wait(id, exec)).ok();
    }
    ended
}

/// The fifos of one process, and the threads that read its output.
struct Pipes {
    folder: PathBuf,
    /// Both sides of each, so that neither the shim nor a reader waits for the other to open, or sees an end before there was a beginning.
    held: [File; 3],
    readers: [JoinHandle<std::io::Result<Vec<u8>>>; 2],
}

impl Pipes {
    fn make(id: &str) -> Result<Self, Failure> {
        let folder = Path::new("/run/containerd/fifo").join(id);
        fs::create_dir_all(&folder).map_err(Failure::io("make", &folder))?;
        let [stdin, stdout, stderr] = paths(&folder);
        let held = [fifo(&stdin)?, fifo(&stdout)?, fifo(&stderr)?];
        let readers = [reader(&stdout)?, reader(&stderr)?];
        Ok(Self { folder, held, readers })
    }

    fn uris(&self) -> [String; 3] {
        paths(&self.folder).map(|path| path.display().to_string())
    }

    fn write(&self, mut bytes: &[u8]) -> Result<(), Failure> {
        let [stdin, ..] = &self.held;
        let mut stdin: &File = stdin;
        poll::eventually("a reader of standard input", 20, || {
            while !bytes.is_empty() {
                let count = stdin.write(bytes).map_err(|error| error.to_string())?;
                bytes = bytes.get(count..).unwrap_or_default();
            }
            Ok(())
        })
    }

    /// Reads what is left and removes the fifos.
    fn finish(self, command: &str, ended: Result<u32, Failure>) -> Result<Invocation, Failure> {
        drop(self.held);
        let [stdout, stderr] = self.readers.map(text);
        fs::remove_dir_all(&self.folder).map_err(Failure::io("remove", &self.folder))?;
        let (code, refusal) = match ended {
            Ok(code) => (code, String::new()),
            Err(Failure::Rpc { message, .. }) => (REFUSED, message),
            Err(other) => return Err(other),
        };
        let status = ExitStatus::from_raw(i32::from(u8::try_from(code).unwrap_or(u8::MAX)) << 8);
        Ok(Invocation { command: command.to_owned(), status, stdout: stdout?, stderr: stderr? + &refusal })
    }
}

fn paths(folder: &Path) -> [PathBuf; 3] {
    ["stdin", "stdout", "stderr"].map(|name| folder.join(name))
}

fn fifo(path: &Path) -> Result<File, Failure> {
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(Failure::system("make a fifo"))?;
    let both_sides = File::options().read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
    both_sides.map_err(Failure::io("open", path))
}

fn reader(path: &Path) -> Result<JoinHandle<std::io::Result<Vec<u8>>>, Failure> {
    let mut pipe = File::open(path).map_err(Failure::io("open", path))?;
    Ok(thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes)
    }))
}

fn text(reader: JoinHandle<std::io::Result<Vec<u8>>>) -> Result<String, Failure> {
    let read = reader.join().unwrap_or_else(|_| Err(std::io::Error::other("the reader panicked")));
    let bytes = read.map_err(|source| Failure::Io { action: "read the output".to_owned(), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
