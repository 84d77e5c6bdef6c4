//! What the three processes of an exec tell each other: three pipes, all closed at an execve.
//!
//! Reads end with EINTR when the call's deadline comes, and are not begun again then.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use rustix::pipe::{PipeFlags, pipe_with};

/// Most bytes of a failure that are read: it is one line.
const MAX_FAILURE: u64 = 4 << 10;

struct Pipe {
    read: File,
    write: File,
}

impl Pipe {
    fn open() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self { read: read.into(), write: write.into() })
    }
}

/// All ends, before the fork.
pub(super) struct Channels {
    pid: Pipe,
    go: Pipe,
    failure: Pipe,
}

/// The ends of the process that waits.
pub(super) struct ParentEnds {
    pid: File,
    go: File,
    failure: File,
}

/// The ends of the guide, and of the newcomer after it.
pub(super) struct ChildEnds {
    pid: File,
    go: File,
    failure: File,
}

impl Channels {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { pid: Pipe::open()?, go: Pipe::open()?, failure: Pipe::open()? })
    }

    pub(super) fn in_parent(self) -> ParentEnds {
        ParentEnds { pid: self.pid.read, go: self.go.write, failure: self.failure.read }
    }

    pub(super) fn in_child(self) -> ChildEnds {
        ChildEnds { pid: self.pid.write, go: self.go.read, failure: self.failure.write }
    }
}

impl ParentEnds {
    /// The newcomer's pid, as the guide tells it.
    pub(super) fn pid(&mut self) -> io::Result<i32> {
        let mut bytes = [0; 4];
        // One read: the guide writes it in one piece.
        if self.pid.read(&mut bytes)? != bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(i32::from_ne_bytes(bytes))
    }

    /// Lets the newcomer begin.
    pub(super) fn go(&mut self) -> io::Result<()> {
        self.go.write_all(b"g")
    }

    /// What went wrong; empty once the program runs.
    pub(super) fn failure(&mut self) -> io::Result<String> {
        read_failure(&mut self.failure)
    }

    /// What went wrong in an exec that does not go on. A newcomer whose pid nobody was told waits until it is let go or left alone.
    pub(super) fn give_up(self) -> String {
        let Self { pid: _, go, mut failure } = self;
        drop(go);
        read_failure(&mut failure).unwrap_or_default()
    }
}

fn read_failure(pipe: &mut File) -> io::Result<String> {
    let mut text = Vec::new();
    let mut buffer = [0; 512];
    while (text.len() as u64) < MAX_FAILURE {
        match pipe.read(&mut buffer)? {
            0 => break,
            count => text.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

impl ChildEnds {
    /// Tells the newcomer's pid.
    pub(super) fn tell_pid(mut self, pid: i32) -> io::Result<()> {
        self.pid.write_all(&pid.to_ne_bytes())
    }

    /// Waits until the newcomer may begin. An end without a word means that nobody waits for it any more.
    pub(super) fn wait_for_go(&mut self) -> io::Result<()> {
        self.go.read_exact(&mut [0; 1])
    }

    /// Tells what went wrong. Who can't even do that ends without a word, which is a failure as well.
    pub(super) fn tell_failure(&mut self, text: &str) {
        drop(self.failure.write_all(text.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_go_and_failure_arrive() {
        let channels = Channels::open().unwrap();
        let Channels { pid, go, failure } = channels;
        let mut parent = ParentEnds { pid: pid.read, go: go.write, failure: failure.read };
        let mut child = ChildEnds { pid: pid.write, go: go.read, failure: failure.write };
        parent.go().unwrap();
        child.wait_for_go().unwrap();
        child.tell_failure("no such file");
        child.tell_pid(4242).unwrap();
        assert_eq!(parent.pid().unwrap(), 4242);
        assert_eq!(parent.failure().unwrap(), "no such file");
    }

    /// As where the kernel kills the guide for its memory just after the fork.
    #[test]
    fn a_newcomer_whose_guide_said_nothing_is_not_waited_for() {
        let Channels { pid, go, failure } = Channels::open().unwrap();
        let parent = ParentEnds { pid: pid.read, go: go.write, failure: failure.read };
        let mut child = ChildEnds { pid: pid.write, go: go.read, failure: failure.write };
        let newcomer = std::thread::spawn(move || {
            child.wait_for_go().unwrap_err();
            child.tell_failure("nobody waits");
        });
        assert_eq!(parent.give_up(), "nobody waits");
        newcomer.join().unwrap();
    }

    #[test]
    fn an_end_without_a_word_is_no_pid() {
        let channels = Channels::open().unwrap();
        let mut parent = channels.in_parent();
        assert!(parent.pid().is_err());
        assert_eq!(parent.failure().unwrap(), "", "as at an execve");
    }
}
