//! A runtime that stops at one of its calls until the test lets it go on, so that a fault comes at a known step.
//!
//! It is a shell script around the embedded runtime, which the policy names as a binary. What it is to stop at stands in a file, and
//! the stop is two FIFOs: nobody sleeps and guesses.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;

use libtest_mimic::Failed;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use palisade_integration::policy::PolicyFile;
use palisade_integration::poll;

use crate::support::{Check, World};

/// Before the runtime does its work, or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

impl Moment {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// The runtime, in force for as long as this lives.
pub(super) struct Engine {
    folder: PathBuf,
    /// Open in both directions, so that nobody waits for an open.
    reached: File,
}

const SCRIPT: &str = r#"#!/bin/sh
for word; do
    case $word in create | start | exec | delete) verb=$word; break ;; esac
done
stop() {
    [ "$(cat FOLDER/armed 2>/dev/null)" = "$verb $1" ] || return 0
    rm FOLDER/armed
    echo $$ >FOLDER/reached
    read -r word <FOLDER/go
}
[ -e FOLDER/hang ] && exec sleep 1000
stop before
SHIM runtime "$@"
code=$?
stop after
exit $code
"#;

impl Engine {
    /// Puts it in force, with more lines for the policy's `[runtime]` table.
    pub(super) fn install(world: &World, settings: &str) -> Result<Self, Failed> {
        let layout = world.containerd.layout();
        let folder = layout.base.join(palisade_integration::ctr::unique("engine"));
        fs::create_dir(&folder)?;
        for name in ["reached", "go"] {
            mkfifo(&folder.join(name), Mode::S_IRUSR | Mode::S_IWUSR)?;
        }
        let reached =
            File::options().read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(folder.join("reached"))?;
        let script = SCRIPT
            .replace("FOLDER", &folder.display().to_string())
            .replace("SHIM", &layout.shim().display().to_string());
        let program = folder.join("runtime");
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        PolicyFile::of(&format!("[runtime]\nbinary = \"{}\"\n{settings}", program.display())).write(layout)?;
        Ok(Self { folder, reached })
    }

    /// The next call of this verb stops.
    pub(super) fn arm(&self, verb: &str, moment: Moment) -> Check {
        Ok(fs::write(self.folder.join("armed"), format!("{verb} {}\n", moment.word()))?)
    }

    /// Every call hangs from now on.
    pub(super) fn hang(&self) -> Check {
        Ok(fs::write(self.folder.join("hang"), "")?)
    }

    /// Waits until a call has stopped; its process id.
    pub(super) fn reached(&mut self) -> Result<u32, Failed> {
        let reached = &mut self.reached;
        let mut text = String::new();
        let pid = poll::eventually("a call of the runtime at its step", 20, || {
            // What was read before there was no more stays in the text.
            reached.read_to_string(&mut text).ok();
            if text.ends_with('\n') { Ok(text.trim().to_owned()) } else { Err(format!("{text:?}")) }
        })?;
        Ok(pid.parse()?)
    }

    /// Lets the call go on, if it is still there.
    pub(super) fn release(&self) {
        let go = File::options().write(true).custom_flags(nix::libc::O_NONBLOCK).open(self.folder.join("go"));
        // Without a reader the open is refused: the process that stood there is gone.
        if let Ok(mut go) = go {
            go.write_all(b"go\n").ok();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.release();
        fs::remove_dir_all(&self.folder).ok();
    }
}
