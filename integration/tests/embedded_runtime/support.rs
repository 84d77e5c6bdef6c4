//! A container from a bundle of its own, driven by a runtime's command line.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Programs that the image has, all of them busybox.
const APPLETS: [&str; 20] = [
    "sh", "cat", "ls", "sleep", "true", "id", "env", "grep", "mknod", "head", "kill", "readlink", "mkfifo", "mkdir",
    "tty", "wc", "dd", "echo", "stat", "cut",
];

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Which runtime is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    Embedded,
    Runc,
}

/// A container of a test. Dropping it deletes it by force and fails the test if anything is left.
pub(crate) struct Container {
    runtime: Runtime,
    pub(crate) id: String,
    directory: PathBuf,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn fails_with(self, message: &str) -> Self {
        assert_eq!(self.code, 1, "{self:?}");
        assert!(self.stderr.contains(message), "{message:?} is not in {self:?}");
        self
    }
}

impl Container {
    /// A bundle that runs a shell command, edited by the test.
    pub(crate) fn new(runtime: Runtime, command: &str, edit: impl FnOnce(&mut Value)) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "the embedded runtime's tests need root");
        let id = format!("rt-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(&id);
        let container = Self { runtime, id, directory };
        container.make_image();
        let mut spec = container.spec(command);
        edit(&mut spec);
        container.write_spec(&spec);
        container
    }

    pub(crate) fn embedded(command: &str, edit: impl FnOnce(&mut Value)) -> Self {
        Self::new(Runtime::Embedded, command, edit)
    }

    fn make_image(&self) {
        let rootfs = self.rootfs();
        for directory in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
            fs::create_dir_all(rootfs.join(directory)).unwrap();
        }
        fs::copy(busybox(), rootfs.join("bin/busybox")).expect("a static busybox can be copied");
        for applet in APPLETS {
            symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
    }

    fn spec(&self, command: &str) -> Value {
        let capabilities = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        json!({
            "ociVersion": "1.0.2",
            "root": { "path": "rootfs", "readonly": false },
            "hostname": "test",
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": ["/bin/sh", "-c", command],
                "env": ["PATH=/bin", "A=1"],
                "cwd": "/",
                "noNewPrivileges": true,
                "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666", "mode=0620"] },
            ],
            "linux": {
                "cgroupsPath": format!("/{}", self.id),
                "namespaces": [
                    { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }, { "type": "network" },
                ],
                "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
                "maskedPaths": ["/proc/keys"],
                "readonlyPaths": ["/proc/sys"],
            },
        })
    }

    pub(crate) fn write_spec(&self, spec: &Value) {
        fs::write(self.directory.join("config.json"), spec.to_string()).unwrap();
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    pub(crate) fn bundle(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn state_root(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// The state directory of the embedded runtime.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.state_root().join(&self.id)
    }

    /// The runtime with its global options.
    pub(crate) fn command(&self) -> Command {
        let mut command = match self.runtime {
            Runtime::Embedded => {
                let mut command = Command::new(shim());
                command.arg("runtime");
                command
            }
            Runtime::Runc => Command::new("runc"),
        };
        command.arg("--root").arg(self.state_root()).stdin(Stdio::null());
        command
    }

    /// Calls the runtime; the id goes behind the words.
    pub(crate) fn call<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Answer {
        Answer::of(self.command().args(words).arg(&self.id).output().unwrap())
    }

    /// `create`, with the container's output in files: a pipe would never end while the container runs.
    pub(crate) fn create(&self) -> Answer {
        self.create_with(|_| {})
    }

    pub(crate) fn create_with(&self, change: impl FnOnce(&mut Command)) -> Answer {
        let log = self.directory.join("log");
        let mut command = self.command();
        command.arg("--log").arg(&log).args(["--log-format", "json", "create", "--bundle"]).arg(&self.directory);
        command.arg("--pid-file").arg(self.directory.join("pid"));
        command.stdout(fs::File::create(self.directory.join("out")).unwrap());
        command.stderr(fs::File::create(self.directory.join("err")).unwrap());
        change(&mut command);
        let status = command.arg(&self.id).status().unwrap();
        Answer { code: status.code().unwrap_or(-1), stdout: String::new(), stderr: last_error(&log) }
    }

    /// Creates and starts it.
    pub(crate) fn run(&self) -> &Self {
        self.create().succeeds();
        self.call(["start"]).succeeds();
        self
    }

    /// Runs a shell command in it.
    pub(crate) fn exec(&self, command: &str) -> Answer {
        Answer::of(self.command().arg("exec").arg(&self.id).args(["/bin/sh", "-c", command]).output().unwrap())
    }

    pub(crate) fn kill(&self, signal: &str) -> Answer {
        Answer::of(self.command().arg("kill").arg(&self.id).arg(signal).output().unwrap())
    }

    pub(crate) fn state(&self) -> Value {
        let answer = self.call(["state"]).succeeds();
        serde_json::from_str(&answer.stdout).unwrap()
    }

    pub(crate) fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// The init process's pid from the pid file.
    pub(crate) fn pid(&self) -> i32 {
        fs::read_to_string(self.directory.join("pid")).unwrap().parse().unwrap()
    }

    /// What the container's program wrote, once it holds a text.
    #[track_caller]
    pub(crate) fn output_with(&self, text: &str) -> String {
        let read = || {
            let file = |name: &str| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
            file("out") + &file("err")
        };
        assert!(within(Duration::from_secs(10), || read().contains(text)), "{text:?} is not in {:?}", read());
        read()
    }

    #[track_caller]
    pub(crate) fn becomes(&self, status: &str) {
        assert!(within(Duration::from_secs(10), || self.status() == status), "{} is not {status}", self.status());
    }

    /// The directories of the container's cgroup that exist.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        cgroups_named(&self.id)
    }

    #[track_caller]
    pub(crate) fn leaves_nothing(&self) {
        assert_eq!(self.cgroups(), [] as [PathBuf; 0]);
        let state = fs::read_dir(self.state_root()).map(|entries| entries.count()).unwrap_or(0);
        assert_eq!(state, 0, "state is left in {}", self.state_root().display());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&self.id), "a mount of {} is left", self.id);
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let deleted = Answer::of(self.command().args(["delete", "--force"]).arg(&self.id).output().unwrap());
        if !std::thread::panicking() {
            deleted.succeeds();
            self.leaves_nothing();
        }
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// The shim's binary.
pub(crate) fn shim() -> PathBuf {
    PathBuf::from(std::env::var_os("PALISADE_SHIM").expect("PALISADE_SHIM names the shim's binary"))
}

/// Whether a condition holds within a time.
pub(crate) fn within(limit: Duration, condition: impl Fn() -> bool) -> bool {
    let until = Instant::now() + limit;
    while !condition() {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Whether the machine has cgroup v2 alone.
pub(crate) fn is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

fn cgroups_named(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).unwrap().filter_map(Result::ok).map(|entry| entry.path());
    hierarchies.chain([root.to_owned()]).map(|hierarchy| hierarchy.join(name)).filter(|path| path.is_dir()).collect()
}

/// The last error of a JSON log, as the shim reads it.
fn last_error(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a log line is JSON"));
    lines
        .rev()
        .find(|line| line["level"] == "error")
        .map_or_else(String::new, |line| line["msg"].as_str().unwrap().to_owned())
}

/// The value of a field of a `/proc/<pid>/status`.
#[track_caller]
pub(crate) fn field(status: &str, name: &str) -> String {
    let line = status.lines().find(|line| line.starts_with(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("{name} is not in {status:?}")).split_whitespace().nth(1).unwrap().to_owned()
}

/// The static busybox on the path: `scripts/test` puts the fetched one there, since a fresh machine has none.
pub(crate) fn busybox() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("busybox")).find(|file| file.is_file());
    found.expect("busybox is on PATH")
}
